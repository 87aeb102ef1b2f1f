"""Vectors: the vector type, the register tiles, and the functions and layouts built on them."""
