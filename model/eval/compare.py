"""Which of two data recipes made the better models: paired differences of loss, with what they are worth.

Every arm trains one model a seed, and all models are scored on the same documents. Seeds are paired, because a seed
gives both arms the same initial weights and the same draw of the order; documents are paired, because both read the
same. A difference of losses is taken for each (seed, document) first, so that what both share cancels (Miller 2024,
"Adding error bars to evals", arXiv 2411.00640).

Two intervals of the difference are made, which answer different questions:

- Student's, over the differences of the seeds: the training is repeated, the held-out documents stay. Its few degrees
  of freedom make it wide, which is honest about two or three seeds.
- The Multi-Bootstrap's (Sellam et al. 2022, "The MultiBERTs", arXiv 2106.16163): seeds and documents are drawn with
  replacement, both at once and independently, since every seed is scored on every document (they are crossed, not
  nested; Owen 2007, "The pigeonhole bootstrap"). A document is drawn whole: its tokens are not independent. Drawing
  from so few seeds shows (n - 1)/n of their variance, so it is no substitute for the first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.eval.intervals import Interval, percentiles, student

REPLICATES = 4000
#: replicates are made some at a time, so that their counts of documents stay small in memory
_CELLS = 1 << 22


@dataclass(frozen=True)
class Difference:
    """The loss of an arm minus that of another, in nats a token: below 0, the arm is better.

    `by_seed` are the differences of the seeds, whose mean is `mean`; `over_seeds` is None of one seed.
    """

    mean: float
    by_seed: tuple[float, ...]
    over_seeds: Interval | None
    over_both: Interval

    @property
    def is_told(self) -> bool:
        """Whether both intervals lie on one side of 0; with one seed there is only one of them, and it does not."""
        return self.over_seeds is not None and self.over_seeds.excludes_zero and self.over_both.excludes_zero


@dataclass(frozen=True)
class Spread:
    """Losses of one arm by seed, in nats a token; `deviation` is None of one seed."""

    mean: float
    by_seed: tuple[float, ...]
    deviation: float | None


def spread(nats: np.ndarray, tokens: np.ndarray) -> Spread:
    """The losses of an arm: `nats` [seeds, documents] summed over a document's tokens, `tokens` [documents]."""
    by_seed = nats.sum(axis=1) / tokens.sum()
    return Spread(
        mean=float(by_seed.mean()),
        by_seed=tuple(by_seed.tolist()),
        deviation=float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None,
    )


def difference(
    nats: np.ndarray, other: np.ndarray, tokens: np.ndarray, *, seed: int = 17, replicates: int = REPLICATES
) -> Difference:
    """Compares two arms by their summed losses [seeds, documents], of documents with `tokens` [documents].

    Rows are paired: row i of both is the same seed. Raises ValueError when the shapes differ or nothing is scored.
    """
    if nats.shape != other.shape or nats.shape[1:] != tokens.shape or not tokens.sum():
        raise ValueError(f"losses {nats.shape} and {other.shape} of {tokens.shape} documents cannot be paired")
    paired = nats - other
    by_seed = paired.sum(axis=1) / tokens.sum()
    return Difference(
        mean=float(by_seed.mean()),
        by_seed=tuple(by_seed.tolist()),
        over_seeds=student(by_seed),
        over_both=percentiles(multi_bootstrap(paired, tokens, seed, replicates)),
    )


def multi_bootstrap(paired: np.ndarray, tokens: np.ndarray, seed: int, replicates: int) -> np.ndarray:
    """[replicates] differences a token, of seeds and documents drawn anew; the same for the same `seed`."""
    seeds, documents = paired.shape
    draws = np.random.default_rng(seed)
    found = np.empty(replicates)
    at_once = max(1, _CELLS // documents)
    for start in range(0, replicates, at_once):
        count = min(at_once, replicates - start)
        by_seed = _counts(draws, count, seeds)
        by_document = _counts(draws, count, documents)
        totals = np.einsum("rs,rs->r", by_seed, by_document @ paired.T) / seeds
        found[start : start + count] = totals / np.maximum(by_document @ tokens, 1.0)
    return found


def _counts(draws: np.random.Generator, replicates: int, size: int) -> np.ndarray:
    """[replicates, size]: how often each of `size` things is among `size` draws with replacement."""
    drawn = draws.integers(size, size=(replicates, size)) + np.arange(replicates)[:, None] * size
    return np.bincount(drawn.ravel(), minlength=replicates * size).reshape(replicates, size).astype(np.float64)
