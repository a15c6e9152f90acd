"""Confidence intervals: of a share (Wilson), of a mean over few runs (Student), and the bootstrap's percentiles.

Everything here is numpy and closed forms, so that evaluation needs no statistics package.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A closed range [low, high] of values."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether all of it lies on one side of 0."""
        return self.low > 0 or self.high < 0


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """The score interval of a share (Wilson 1927): inside [0, 1], and sound for few trials and for shares near 0 or 1.

    Raises ValueError without a trial.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a share")
    z2 = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
    share = successes / trials
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = math.sqrt(z2 * (share * (1 - share) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    # at the ends the score interval touches them; rounding must not carry it over
    return Interval(0.0 if successes == 0 else middle - half, 1.0 if successes == trials else middle + half)


def student_probability(t: float, freedom: int) -> float:
    """P(|T| <= t) of Student's distribution with `freedom` degrees (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine2 = math.cos(angle) ** 2
    odd = freedom % 2
    term, total = 1.0, 0.0
    for k in range((freedom - odd) // 2):
        if k:
            term *= cosine2 * (2 * k / (2 * k + 1) if odd else (2 * k - 1) / (2 * k))
        total += term
    if not odd:
        return math.sin(angle) * total
    return 2 / math.pi * (angle + math.sin(angle) * math.cos(angle) * total)


def student_quantile(freedom: int, confidence: float = CONFIDENCE) -> float:
    """The t with P(|T| <= t) = `confidence`, by bisection. Raises ValueError without a degree of freedom."""
    if freedom < 1:
        raise ValueError("Student's distribution needs at least one degree of freedom")
    low, high = 0.0, 1.0
    while student_probability(high, freedom) < confidence:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_probability(middle, freedom) < confidence else (low, middle)
    return high


def student(values: Sequence[float] | np.ndarray, confidence: float = CONFIDENCE) -> Interval | None:
    """The interval of the mean of independent values; None of a single one, which says nothing of its spread."""
    found = np.asarray(values, np.float64)
    if len(found) < 2:
        return None
    half = student_quantile(len(found) - 1, confidence) * found.std(ddof=1) / math.sqrt(len(found))
    return Interval(float(found.mean() - half), float(found.mean() + half))


def percentiles(values: np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """The bootstrap's percentile interval (Efron 1979) of replicates [r]."""
    low, high = np.quantile(values, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(float(low), float(high))
