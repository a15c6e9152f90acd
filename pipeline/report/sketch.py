"""Distributions in one pass and little memory, the same whatever the order rows come in.

A value falls into a bucket named by its sign, exponent and leading mantissa bits (as in HDR histograms), so buckets
are a fixed relative width of 2^-10 and integers up to 1,024 have one each. Counting buckets is exact, order-free and
mergeable; the display bins, which need the whole distribution to choose their range, are summed from them at the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_DROPPED_BITS = 52 - 10
_TAIL = 0.005


@dataclass(frozen=True)
class Histogram:
    """Display bins: `edges` [n + 1] and, for every series, `counts` [n]; what lies beyond the edges is in the end
    bins. `log` says that the edges are spaced evenly in log(value)."""

    edges: list[float]
    counts: dict[str, list[int]]
    log: bool


class Sketch:
    """Counts of the values of some series ("kept", "rejected") of one quantity."""

    def __init__(self, integral: bool = False) -> None:
        self.integral = integral
        self.series: dict[str, dict[int, int]] = {}

    def add(self, series: str, values: np.ndarray) -> None:
        """Adds values; NaN and infinities are not part of a distribution and are left out."""
        values = values[np.isfinite(values)].astype(np.float64)
        keys, counts = np.unique(_keys(values), return_counts=True)
        into = self.series.setdefault(series, {})
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            into[key] = into.get(key, 0) + count

    def total(self, series: str) -> int:
        """How many values a series has."""
        return sum(self.series.get(series, {}).values())

    def quantile(self, share: float, *series: str) -> float:
        """The value below which `share` of the given series (default: all) lies; NaN when there is none."""
        values, counts = self._merged(series or tuple(self.series))
        if not len(values):
            return math.nan
        at = int(np.searchsorted(np.cumsum(counts), share * counts.sum(), side="left"))
        return float(values[min(at, len(values) - 1)])

    def separation(self, first: str, second: str) -> float:
        """Kolmogorov-Smirnov distance of two series, in [0, 1]; 0 when one is empty."""
        if not self.total(first) or not self.total(second):
            return 0.0
        values, _ = self._merged((first, second))
        steps = [np.cumsum([self.series[s].get(k, 0) for k in _keys(values).tolist()]) for s in (first, second)]
        return float(np.max(np.abs(steps[0] / steps[0][-1] - steps[1] / steps[1][-1])))

    def histogram(self, num_bins: int = 40) -> Histogram:
        """Bins over the middle 99 % of all values, with the tails in the end bins; log-spaced for a long tail."""
        low, high = self.quantile(_TAIL), self.quantile(1 - _TAIL)
        log = high > 1 and low >= 0 and (high > 10 * self.quantile(0.5) or high > 100 * max(low, 1.0))
        edges = self._log_edges(low, high, num_bins) if log else self._edges(low, high, num_bins)
        counts = {}
        for name in self.series:
            values, weights = self._merged((name,))
            place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
            counts[name] = np.bincount(place, weights=weights, minlength=len(edges) - 1).astype(int).tolist()
        return Histogram([float(edge) for edge in edges], counts, log)

    def _edges(self, low: float, high: float, num_bins: int) -> np.ndarray:
        if math.isnan(low):
            return np.array([0.0, 1.0])
        if self.integral:
            step = max(1, math.ceil((high - low + 1) / num_bins))
            return np.arange(math.floor(low), high + step + 1, step, dtype=float)
        if low >= 0 and high <= 1 and high - low > 0.5:
            low, high = 0.0, 1.0
        if high <= low:
            margin = abs(low) * 0.05 or 0.5
            low, high = low - margin, high + margin
        return np.linspace(low, high, num_bins + 1)

    def _log_edges(self, low: float, high: float, num_bins: int) -> np.ndarray:
        floor = 1.0 if self.integral else high * 1e-4
        return np.geomspace(max(low, floor), high, num_bins + 1)

    def _merged(self, series: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Bucket values in ascending order [n] and their counts [n]."""
        merged: dict[int, int] = {}
        for name in series:
            for key, count in self.series.get(name, {}).items():
                merged[key] = merged.get(key, 0) + count
        keys = np.array(sorted(merged), np.int64)
        return _values(keys), np.array([merged[key] for key in keys.tolist()], np.int64)


def _keys(values: np.ndarray) -> np.ndarray:
    magnitude = np.abs(values).view(np.int64) >> _DROPPED_BITS
    return np.where(np.signbit(values), -magnitude, magnitude)


def _values(keys: np.ndarray) -> np.ndarray:
    return np.copysign((np.abs(keys) << _DROPPED_BITS).view(np.float64), np.where(keys < 0, -1.0, 1.0))
