"""Sums and differences that keep what rounding takes away.

TwoSum and TwoDiff: Knuth, The Art of Computer Programming, vol. 2, section 4.2.2.
"""

import numpy as np


def two_sum(a, b):
    """a + b exactly, as the rounded sum and its rounding error."""
    total = a + b
    b_part = total - a
    return total, (a - (total - b_part)) + (b - b_part)


def two_diff(a, b):
    """a - b exactly, as the rounded difference and its rounding error."""
    return two_sum(a, -b)


def row_sums(terms):
    """Σ_j terms[:, j] to about one rounding."""
    return row_sums_in_two(terms)[0]


def row_sums_in_two(terms):
    """Σ_j terms[:, j] as the rounded sum and its rounding error, the sum itself where not finite.

    A tree of TwoSums, which sums their rounding errors too.
    """
    total, error = terms, np.zeros_like(terms)
    while total.shape[1] > 1:
        if total.shape[1] % 2:
            total, error = (np.pad(part, ((0, 0), (0, 1))) for part in (total, error))
        total, lost = two_sum(total[:, ::2], total[:, 1::2])
        error = error[:, ::2] + error[:, 1::2] + lost
    total, error = total.sum(axis=1), error.sum(axis=1)  # one column, or none: no terms give 0
    return two_sum(total, np.where(np.isfinite(total), error, 0.0))


def inverse_cube(total, error):
    """1 / (total + error)³ = (1 + x) / cube, with an exact cube and a small x.

    The first 14 bits of the total (Veltkamp's splitting) have a cube of 42 bits, and that times the
    number of classes fits into 53 too: dividing by it costs one rounding instead of four.
    """
    shifted = total * (2.0**39 + 1)
    head = shifted - (shifted - total)
    rest = ((total - head) + error) / head
    return head**3, -rest * (3 + rest * (3 + rest)) / (1 + rest) ** 3


def running_sums(terms):
    """Sums of the columns before each column: out[:, j] = Σ_{i<j} terms[:, i], compensated."""
    total, error = np.zeros(len(terms)), np.zeros(len(terms))
    out = np.empty(terms.shape)
    for j in range(terms.shape[1]):
        out[:, j] = total + error
        total, lost = two_sum(total, terms[:, j])
        error = error + lost
    return out
