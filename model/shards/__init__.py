"""Rows that no process holds all of: those of MPI ranks (`ranks`), the chunks of Dask arrays
(`chunks`). `over` computes on all of them, which is why it stays below what trains.
"""
