"""SciPy."""

from scipy import special


def softmax(V):
    return lambda: (special.softmax(V, axis=1),)
