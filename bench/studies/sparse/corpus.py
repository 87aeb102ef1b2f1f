"""Rows like those of a text collection: words by Zipf's law, some of them by topic, as tf-idf."""

from typing import Any

import numpy as np

TOPICAL = 0.15  # of the words of a text are drawn from those of its topic


def corpus(n: int, d: int, classes: int, words: int, seed: int = 0) -> tuple[Any, Any]:
    """Texts of `words` words each: X, a csr_array (n, d) of float32, whose rows have length 1, and
    their topics y (n,). A word that comes twice is stored once."""
    from scipy.sparse import csr_array

    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    frequency = np.cumsum(1 / (np.arange(d) + 10.0))
    ranks = np.searchsorted(frequency / frequency[-1], rng.random((n, words)))
    topics = np.stack([rng.permutation(d) for _ in range(classes)])
    found = np.where(rng.random((n, words)) < TOPICAL, topics[y[:, None], ranks], ranks)
    indptr = np.arange(0, n * words + 1, words, dtype=np.int32)
    indices = found.ravel().astype(np.int32)
    X = csr_array((np.ones(n * words, np.float32), indices, indptr), (n, d))
    X.sum_duplicates()
    idf = np.log((1 + n) / (1 + np.bincount(X.indices, minlength=d))) + 1
    X.data = ((1 + np.log(X.data)) * idf[X.indices]).astype(np.float32)
    rows = np.repeat(np.arange(n), np.diff(X.indptr))
    X.data /= np.sqrt(np.bincount(rows, X.data.astype(float) ** 2, n))[rows].astype(np.float32)
    return X, y
