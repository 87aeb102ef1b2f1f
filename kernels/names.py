"""The choices by name that signatures have, for type checkers; tests hold them to the tables."""

from typing import Literal

Loss = Literal["mse", "cross_entropy", "gce"]
Backend = Literal["auto", "numpy", "numba", "cupy"]
