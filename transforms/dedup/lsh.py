"""Locality-sensitive hashing of MinHash signatures in bands: which pairs become candidates, and how to choose bands.

Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, section 3.4.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def candidate_probability(jaccard: float | np.ndarray, bands: int, rows_per_band: int) -> float | np.ndarray:
    """S(s) = 1 - (1 - s^r)^b: how likely two sets of Jaccard similarity s agree in all r rows of one of b bands."""
    return 1 - (1 - jaccard**rows_per_band) ** bands


@lru_cache(maxsize=64)
def optimal_bands(
    jaccard: float, num_permutations: int, false_positive_weight: float, false_negative_weight: float
) -> tuple[int, int]:
    """(bands, rows per band) of at most `num_permutations` rows in all that go wrong least about a threshold t.

    The smallest false_positive_weight * integral of S from 0 to t + false_negative_weight * integral of 1 - S from t
    to 1, as datasketch's `_optimal_param` (and Data-Juicer's, text-dedup's and RedPajama v2's) has it; the first such
    by bands, then rows. S is a polynomial of degree b * r, which Gauss-Legendre quadrature integrates exactly.
    """
    nodes, weights = np.polynomial.legendre.leggauss(num_permutations // 2 + 1)
    nodes = (nodes + 1) / 2
    below, above = jaccard * nodes, jaccard + (1 - jaccard) * nodes
    best: float = np.inf
    found = (0, 0)
    for bands in range(1, num_permutations + 1):
        for rows in range(1, num_permutations // bands + 1):
            false_positives = weights @ candidate_probability(below, bands, rows) * jaccard / 2
            false_negatives = weights @ (1 - candidate_probability(above, bands, rows)) * (1 - jaccard) / 2
            error = float(false_positive_weight * false_positives + false_negative_weight * false_negatives)
            if error < best:
                best, found = error, (bands, rows)
    return found
