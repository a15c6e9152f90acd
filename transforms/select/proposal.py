"""Which metric tells two corpora apart, and where to cut it: FineWeb's way of finding filters.

Penedo et al. 2024 (arXiv 2406.17557, section 3.6) compute many metrics of the documents of a good and of a bad corpus,
rank them by the Wasserstein distance of their two histograms, and cut where most of what goes is bad. Here the
histogram of a metric has a bin for each value, or at most MAX_BINS with equal shares of all documents; a document
without a value (null) is never removed. Legend: G good documents, B bad ones, R resamples, K bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from transforms.dedup.shingles import mix

MAX_BINS = 1024
#: of the pooled values; the distance is measured on a scale where these lie at 0 and 1, so that metrics compare
_CLIP = (0.01, 0.99)
_INTERVAL = (0.025, 0.975)
_RESAMPLES_AT_ONCE = 16
#: P(Poisson(1) <= k) for k = 0, 1, …: how often a resample draws a document
_POISSON = np.cumsum([np.exp(-1.0) / f for f in (1, 1, 2, 6, 24, 120, 720, 5040, 40320, 362880, 3628800)])


@dataclass(frozen=True, slots=True)
class Proposal:
    """A cut of one metric: documents below `threshold` go (`bound` min), or those above it (max).

    Shares are of all documents of a corpus. `intervals` holds 95 % bootstrap intervals of distance, threshold,
    good_removed and bad_removed.
    """

    metric: str
    bound: Literal["min", "max"]
    threshold: float
    distance: float
    good_removed: float
    bad_removed: float
    good_missing: float
    bad_missing: float
    intervals: dict[str, tuple[float, float]]

    def removes(self, values: np.ndarray) -> np.ndarray:
        """Mask of the values that the cut removes."""
        return values < self.threshold if self.bound == "min" else values > self.threshold


@dataclass(frozen=True, slots=True)
class _Histogram:
    """`tops` [K]: the largest value of each bin; `above` [K]: the next value in the data, inf after the last;
    `width` [K]: the step of the clipped scale to the next top, 0 at the last; `good` [G] and `bad` [B]: the bin of each
    document, K where it has no value."""

    tops: np.ndarray
    above: np.ndarray
    width: np.ndarray
    good: np.ndarray
    bad: np.ndarray


@dataclass(frozen=True, slots=True)
class _Below:
    """Of each resample, `counts` [R, K]: documents at or below the top of each bin, and `total` [R, 1]: all."""

    counts: np.ndarray
    total: np.ndarray


def propose(
    metric: str,
    good: np.ndarray,
    bad: np.ndarray,
    weights: tuple[np.ndarray, np.ndarray],
    max_good_loss: float | None = None,
) -> Proposal | None:
    """The best cut of a metric, `good` [G] and `bad` [B] float64, NaN where there is no value; None when no cut helps.

    The cut has the largest Youden index (share of the bad removed less share of the good removed), or, with
    `max_good_loss`, removes the most of the bad while at most that share of the good goes. `weights`: uint8 [R, G] and
    [R, B], from `resamples`.
    """
    histogram = _histogram(good, bad)
    if histogram is None:
        return None
    ones = np.ones((1, len(good)), np.uint8), np.ones((1, len(bad)), np.uint8)
    good_below, bad_below = (
        _below(w, b, histogram) for w, b in zip(ones, (histogram.good, histogram.bad), strict=True)
    )
    best: tuple[float, str, int] | None = None
    for bound in ("min", "max"):
        lost, gone = _removed(good_below, bound)[0], _removed(bad_below, bound)[0]
        at = _best_cut(lost[None], gone[None], max_good_loss)[0]
        score = gone[at] - lost[at]
        if (
            score > 0
            and lost[at] <= (1.0 if max_good_loss is None else max_good_loss)
            and (not best or score > best[0])
        ):
            best = (float(score), bound, int(at))
    if best is None:
        return None
    _, bound, cut = best
    found: dict[str, list[np.ndarray]] = {"distance": [], "threshold": [], "good_removed": [], "bad_removed": []}
    for start in range(0, len(weights[0]), _RESAMPLES_AT_ONCE):
        g, b = (
            _below(w[start : start + _RESAMPLES_AT_ONCE], bins, histogram)
            for w, bins in zip(weights, (histogram.good, histogram.bad), strict=True)
        )
        lost, gone = _removed(g, bound), _removed(b, bound)
        cuts = _best_cut(lost, gone, max_good_loss)
        found["distance"].append(_distance(g, b, histogram))
        found["threshold"].append(np.array([_threshold(histogram, at, bound) for at in cuts]))
        found["good_removed"].append(lost[:, cut])
        found["bad_removed"].append(gone[:, cut])
    intervals = {name: _interval(np.concatenate(parts)) for name, parts in found.items() if parts}
    return Proposal(
        metric,
        bound,  # type: ignore[arg-type]
        _threshold(histogram, cut, bound),
        float(_distance(good_below, bad_below, histogram)[0]),
        float(_removed(good_below, bound)[0, cut]),
        float(_removed(bad_below, bound)[0, cut]),
        float(np.isnan(good).mean()),
        float(np.isnan(bad).mean()),
        intervals,
    )


def resamples(keys: np.ndarray, count: int, seed: int) -> np.ndarray:
    """How often each of `count` bootstrap resamples draws each document, uint8 [count, documents].

    Poisson(1), from a hash of the document's key (uint64), the resample's number and the seed: neither the order of the
    documents nor how they were read matters.
    """
    drawn = np.empty((count, len(keys)), np.uint8)
    with np.errstate(over="ignore"):
        streams = mix(np.arange(count, dtype=np.uint64) + mix(np.array([seed % 2**64], np.uint64)))
        for at, stream in enumerate(streams):
            uniform = (mix(keys ^ stream) >> np.uint64(11)) * 2.0**-53
            drawn[at] = np.searchsorted(_POISSON, uniform, side="right")
    return drawn


def _histogram(good: np.ndarray, bad: np.ndarray) -> _Histogram | None:
    pooled = np.concatenate([good, bad])
    pooled = np.sort(pooled[np.isfinite(pooled)])
    distinct = np.unique(pooled)
    if len(distinct) < 2:
        return None
    tops = distinct
    if len(distinct) > MAX_BINS:
        tops = np.unique(pooled[np.linspace(0, len(pooled) - 1, MAX_BINS).astype(np.int64)])
    at = np.searchsorted(distinct, tops)
    above = np.append(distinct, np.inf)[at + 1]
    low, high = pooled[[round(share * (len(pooled) - 1)) for share in _CLIP]]
    scale = high - low if high > low else distinct[-1] - distinct[0]
    placed = np.clip(tops, low, high) if high > low else tops
    width = np.append(np.diff(placed), 0.0) / scale
    return _Histogram(tops, above, width, _bins(tops, good), _bins(tops, bad))


def _bins(tops: np.ndarray, values: np.ndarray) -> np.ndarray:
    finite = np.isfinite(values)
    return np.where(finite, np.searchsorted(tops, np.where(finite, values, tops[0])), len(tops))


def _below(weights: np.ndarray, bins: np.ndarray, histogram: _Histogram) -> _Below:
    num_bins = len(histogram.tops)
    counts = np.stack([np.bincount(bins, weights=row, minlength=num_bins + 1) for row in weights])
    return _Below(np.cumsum(counts[:, :num_bins], axis=1), np.maximum(counts.sum(axis=1, keepdims=True), 1.0))


def _removed(below: _Below, bound: str) -> np.ndarray:
    """Share removed by a cut after each bin but the last, [R, K - 1]."""
    counts = below.counts[:, :-1]
    removed: np.ndarray = (counts if bound == "min" else below.counts[:, -1:] - counts) / below.total
    return removed


def _best_cut(lost: np.ndarray, gone: np.ndarray, max_good_loss: float | None) -> np.ndarray:
    """The best cut of each resample, int64 [R]; of equal ones the first."""
    if max_good_loss is None:
        return np.argmax(gone - lost, axis=1)
    # of cuts that help and are cheap enough, the one that removes most; without any, the cheapest. The last term
    # settles ties
    value = np.where((lost <= max_good_loss) & (gone > lost), 1 + gone, -lost)
    return np.argmax(value - lost * 1e-9, axis=1)


def _distance(good: _Below, bad: _Below, histogram: _Histogram) -> np.ndarray:
    """Wasserstein-1 distance of the two histograms of those that have a value, [R]."""
    g, b = (below.counts / np.maximum(below.counts[:, -1:], 1.0) for below in (good, bad))
    distances: np.ndarray = (np.abs(g - b) * histogram.width).sum(axis=1)
    return distances


def _threshold(histogram: _Histogram, cut: int, bound: str) -> float:
    """The shortest number that parts the values up to `tops[cut]` from those above it."""
    low, high = float(histogram.tops[cut]), float(histogram.above[cut])
    edge = high if bound == "min" else low
    for digits in range(1, 17):
        for value in (edge, low + (high - low) / 2):
            short = float(f"{value:.{digits}g}")
            if low < short < high or short == edge:
                return short
    return edge


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, _INTERVAL)
    return float(low), float(high)
