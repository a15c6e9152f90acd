"""How well a score tells good rows from others: ROC AUC, precision and recall, and which threshold keeps how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: scores at which precision and recall are reported; the first is DCLM's (Li et al. 2024: the top 10 % of its data)
THRESHOLDS = (0.018112, 0.1, 0.25, 0.5, 0.75, 0.9)
#: shares of the negatives for which a threshold is given, in percent
KEPT_PERCENT = (1, 2, 5, 10, 20, 30, 50)


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """Of rows with score >= `threshold`: how many are positive, and how many of the positives they are."""

    threshold: float
    precision: float | None
    recall: float


@dataclass(frozen=True, slots=True)
class Report:
    """What held-out rows say of a classifier; `keep_percent`: a share of the negatives -> the lowest score in it."""

    num_positive: int
    num_negative: int
    auc: float
    at: tuple[AtThreshold, ...]
    keep_percent: dict[int, float]


def roc_auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """The chance that a positive row scores above a negative one; a tie counts one half (Mann and Whitney 1947)."""
    _, inverse, counts = np.unique(np.concatenate([positive, negative]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse[: len(positive)]]
    above = ranks.sum() - len(positive) * (len(positive) + 1) / 2
    return float(above / (len(positive) * len(negative)))


def report(positive: np.ndarray, negative: np.ndarray) -> Report:
    """The report of two arrays of scores, neither empty."""
    at = []
    for threshold in THRESHOLDS:
        hits, others = int((positive >= threshold).sum()), int((negative >= threshold).sum())
        at.append(AtThreshold(threshold, hits / (hits + others) if hits + others else None, hits / len(positive)))
    falling = np.sort(negative)[::-1]
    keep = {percent: float(falling[max(1, round(len(falling) * percent / 100)) - 1]) for percent in KEPT_PERCENT}
    return Report(len(positive), len(negative), roc_auc(positive, negative), tuple(at), keep)
