"""Threads: a pool that shares the work of one call, and the workers that wait for the next."""
