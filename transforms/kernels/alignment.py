"""Sentence alignment by length (Gale and Church 1993): dynamic programming within a band around the diagonal."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import math

import numpy as np

from transforms.kernels.compiled import kernel

#: beads: how many source and target sentences go together, and the chance of that (Gale and Church 1993, table 5)
NUM_SOURCE = (1, 1, 0, 2, 1, 2)
NUM_TARGET = (1, 0, 1, 1, 2, 2)
CHANCE = (0.89, 0.0099 / 2, 0.0099 / 2, 0.089 / 2, 0.089 / 2, 0.011)
NUM_BEADS = 6
_HALF_BAND = 64
_UNREACHED = 1e300


@kernel
def match_cost(source, target, variance):
    """-log of the chance that lengths as different as these are of one text: 2 (1 - Phi(|delta|))."""
    delta = abs(target - source) / math.sqrt((source + target) / 2 * variance)
    if delta > 30:  # erfc runs out of floating point at 38
        return delta * delta / 2 + math.log(delta) + 0.5 * math.log(math.pi / 2)
    return -math.log(math.erfc(delta / math.sqrt(2.0)))


@kernel
def _centre(row, source_sums, target_sums, at):
    """The target position that lies as far through its text as `row` does; `at` is that of a row before it."""
    n, m = len(source_sums) - 1, len(target_sums) - 1
    if row >= n:
        return m
    if row <= 0:
        return 0
    place = source_sums[row] / source_sums[n] * target_sums[m]
    while at < m and target_sums[at + 1] <= place:
        at += 1
    return at


@kernel
def align(source, target, variance, beads, costs):
    """The cheapest beads over lengths float64 [n] and [m], none of them 0; both sides have a sentence.

    Filled, from the end of the text to its beginning: beads uint8 and costs float64, both [n + m]. Gives how many there
    are. Row i of the table reaches from `_HALF_BAND` positions before the diagonal at i - 1 to as many after it at
    i + 1, so that a path always exists, in time and memory proportional to n + m.
    """
    n, m = len(source), len(target)
    source_sums, target_sums = np.zeros(n + 1), np.zeros(m + 1)
    for i in range(n):
        source_sums[i + 1] = source_sums[i] + source[i]
    for j in range(m):
        target_sums[j + 1] = target_sums[j] + target[j]
    lows, highs = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    before = here = 0
    after = _centre(1, source_sums, target_sums, 0)
    starts = np.zeros(n + 2, np.int64)
    for i in range(n + 1):
        lows[i] = max(0, before - _HALF_BAND)
        highs[i] = min(m, after + _HALF_BAND)
        starts[i + 1] = starts[i] + highs[i] - lows[i] + 1
        before, here = here, after
        after = _centre(i + 2, source_sums, target_sums, here)
    total = np.full(starts[n + 1], _UNREACHED)
    back = np.zeros(starts[n + 1], np.uint8)
    total[0] = 0.0
    for i in range(n + 1):
        for j in range(lows[i], highs[i] + 1):
            if i == 0 and j == 0:
                continue
            best, chosen = _UNREACHED, 0
            for bead in range(NUM_BEADS):
                k, l = i - NUM_SOURCE[bead], j - NUM_TARGET[bead]
                if k < 0 or l < lows[max(k, 0)] or l > highs[max(k, 0)]:
                    continue
                cost = total[starts[k] + l - lows[k]]
                if cost >= _UNREACHED:
                    continue
                cost += _bead_cost(bead, source_sums[i] - source_sums[k], target_sums[j] - target_sums[l], variance)
                if cost < best:
                    best, chosen = cost, bead
            total[starts[i] + j - lows[i]] = best
            back[starts[i] + j - lows[i]] = chosen
    count, i, j = 0, n, m
    while i or j:
        bead = back[starts[i] + j - lows[i]]
        k, l = i - NUM_SOURCE[bead], j - NUM_TARGET[bead]
        beads[count] = bead
        costs[count] = total[starts[i] + j - lows[i]] - total[starts[k] + l - lows[k]]
        count += 1
        i, j = k, l
    return count


@kernel
def _bead_cost(bead, source, target, variance):
    """-log of a bead's chance. A sentence left out has that of being left out alone: by the published way, which asks
    how well its length fits nothing, a long one is nearly always merged with its neighbour."""
    cost = -math.log(CHANCE[bead])
    return cost + match_cost(source, target, variance) if source > 0 and target > 0 else cost
