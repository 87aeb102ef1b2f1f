"""Between Numba and the kernels: what is compiled once only, and where machine code is kept."""
