"""The kernels of spectral landmarks against readable ones."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.kernels.hashing import mixed, step
from transforms.kernels.landmarks import BIN_BITS, alignments, constellations, local_maxima

NEAR_FRAMES, NEAR_BINS, FALL = 2, 3, np.float32(0.8)


def peaks(power: np.ndarray, first: int, stop: int, low: int, high: int) -> list[tuple[int, int]]:
    """Cells that are their neighbourhood's first maximum, and fall off in time on both sides."""
    total = len(power)
    found = []
    for t, f in itertools.product(range(first, stop), range(low, high)):
        top, left = max(0, t - NEAR_FRAMES), max(0, f - NEAR_BINS)
        around = power[top : t + NEAR_FRAMES + 1, left : f + NEAR_BINS + 1]
        highest = np.unravel_index(np.argmax(around), around.shape)
        sides = [power[u, f] for u in (t - NEAR_FRAMES, t + NEAR_FRAMES) if 0 <= u < total]
        is_highest = power[t, f] > 0 and (top + highest[0], left + highest[1]) == (t, f)
        if is_highest and all(side <= FALL * power[t, f] for side in sides):
            found.append((t, f))
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.integers(4, 16), st.integers(2, 40))
def test_peaks(seed: int, frames: int, bins: int, levels: int) -> None:
    """Few levels, so that there are ties; zeros, which are no peaks."""
    power = np.random.default_rng(seed).integers(0, levels, (frames, bins)).astype(np.float32)
    first, stop, low, high = frames // 4, frames, 1, bins - 1
    found = local_maxima(power, first, stop, low, high, NEAR_FRAMES, NEAR_BINS, FALL)
    assert list(zip(*(array.tolist() for array in found), strict=True)) == peaks(power, first, stop, low, high)


def foursomes(frames, bins, levels, fan_out, from_frames, to_frames, frame_step, bin_step) -> list[int]:
    """Every anchor with three of the loudest landmarks of its zone."""
    made = []
    for t, f in zip(frames, bins, strict=True):
        zone = [k for k in range(len(frames)) if from_frames <= frames[k] - t <= to_frames]
        loudest = sorted(sorted(zone, key=lambda k: (-levels[k], k))[:fan_out])
        for three in itertools.combinations(loudest, 3):
            state = np.uint64(f // bin_step)
            for k in three:
                state = np.uint64(step(state, np.uint64((frames[k] - t) // frame_step << 8 | bins[k] // bin_step)))
            made.append(int(mixed(state)))
    return made


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_constellations(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    frames = np.sort(rng.integers(0, 60, count))
    bins, levels = rng.integers(8, 250, count), rng.integers(1, 6, count).astype(np.float32)
    found = constellations(frames, bins, levels, 5, 3, 20, 2, 2)
    assert found.tolist() == foursomes(frames.tolist(), bins.tolist(), levels.tolist(), 5, 3, 20, 2, 2)


def alignment(a: list[tuple[int, int]], a_total: int, b: list[tuple[int, int]], b_total: int) -> float:
    """Every offset tried, the smallest best one taken."""
    if not a or not b:
        return 0.0
    matches = {}
    for offset in range(-b_total, a_total + 1):
        matches[offset] = sum(any(abs(t + offset - u) <= 1 and abs(f - g) <= 1 for u, g in a) for t, f in b)
    best = max(matches.values())
    offset = min(at for at, count in matches.items() if count == best)
    start, stop = max(0, offset) - 1, min(a_total, b_total + offset) + 1
    in_a = sum(start <= u < stop for u, _ in a)
    in_b = sum(start <= t + offset < stop for t, _ in b)
    return min(1.0, best / max(1, min(in_a, in_b))) * in_b / len(b)


def packed(landmarks: list[tuple[int, int]], total: int) -> list[int]:
    return [total, *(t << BIN_BITS | f for t, f in landmarks)]


# as in real recordings, no two landmarks are near each other
places = st.sets(st.tuples(st.integers(0, 12), st.sampled_from([0, 1, 2])), max_size=20).map(
    lambda cells: sorted((3 * t + b % 2, 4 * b + (t % 3)) for t, b in cells)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(places, min_size=1, max_size=4), st.integers(0, 9))
def test_alignments(recordings: list[list[tuple[int, int]]], silence: int) -> None:
    totals = [(made[-1][0] if made else 0) + 1 + silence for made in recordings]
    rows = [packed(made, total) for made, total in zip(recordings, totals, strict=True)]
    bounds = np.cumsum([0, *map(len, rows)])
    first, second = (np.ravel(grid) for grid in np.mgrid[: len(rows), : len(rows)])
    found = alignments(np.concatenate(rows).astype(np.uint32), bounds, first, second)
    for k, (one, two) in enumerate(zip(first, second, strict=True)):
        if all(len(recordings[which]) for which in (one, two)):
            expected = alignment(recordings[one], totals[one], recordings[two], totals[two])
            assert found[k] == expected
        else:
            assert found[k] == 0


def test_a_copy_later_in_time_is_all_there_and_the_whole_is_not_in_a_part() -> None:
    whole = [(10 * k, 9 + 7 * k % 31) for k in range(40)]
    later = [(t + 37, f) for t, f in whole]
    part = whole[10:30]
    rows = [packed(whole, 400), packed(later, 437), packed([(t - 100, f) for t, f in part], 195)]
    bounds = np.cumsum([0, *map(len, rows)])
    found = alignments(np.concatenate(rows).astype(np.uint32), bounds, np.array([0, 1, 0, 2]), np.array([1, 0, 2, 0]))
    assert found.tolist() == [1.0, 1.0, 1.0, 0.5]
