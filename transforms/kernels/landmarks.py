"""Spectral landmarks, compiled: picking them, hashing their constellations, and aligning two recordings' landmarks.

The readable oracles are in tests/parity/test_kernel_landmarks.py. A landmark is a time (a spectrogram frame) and a
frequency (a bin); the ones of a recording are ordered by (time, bin).
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import kernel
from transforms.kernels.hashing import mixed, step

#: a landmark packed into uint32: frame << 8 | bin
BIN_BITS = 8


@kernel
def local_maxima(power, first, stop, low, high, near_frames, near_bins, fall):
    """(frame, bin: int64, ascending) of the peaks of a spectrogram (float32 [frames, bins]) in frames first .. stop - 1
    and bins low .. high - 1.

    A peak has no louder cell within `near_frames` and `near_bins`, none as loud before it, and `near_frames` away on
    both sides of it, the same bin is at most `fall` (< 1) times as loud: what sounds on and on has no place in time.
    """
    frames = np.empty((stop - first) * (high - low), np.int64)
    bins = np.empty(len(frames), np.int64)
    count = 0
    for t in range(first, stop):
        for f in range(low, high):
            if _is_peak(power, t, f, near_frames, near_bins, fall):
                frames[count] = t
                bins[count] = f
                count += 1
    return frames[:count].copy(), bins[:count].copy()


@kernel
def _is_peak(power, t, f, near_frames, near_bins, fall):
    level = power[t, f]
    total, width = power.shape
    if level <= 0 or (f > 0 and power[t, f - 1] >= level) or (f + 1 < width and power[t, f + 1] > level):
        return False
    if t >= near_frames and power[t - near_frames, f] > fall * level:
        return False
    if t + near_frames < total and power[t + near_frames, f] > fall * level:
        return False
    for u in range(max(0, t - near_frames), min(total, t + near_frames + 1)):
        for g in range(max(0, f - near_bins), min(width, f + near_bins + 1)):
            other = power[u, g]
            if other > level or (other == level and (u < t or (u == t and g < f))):
                return False
    return True


@kernel
def constellations(frames, bins, levels, fan_out, from_frames, to_frames, frame_step, bin_step):
    """Hashes (uint64, in no order, possibly repeated) of four landmarks each: an anchor and three of the `fan_out`
    loudest landmarks that are from_frames .. to_frames after it (the earlier of equally loud ones), in time order.

    Frequencies count in steps of `bin_step` bins, times since the anchor in steps of `frame_step` frames.
    """
    count = len(frames)
    targets = np.empty(fan_out, np.int64)
    codes = np.empty(fan_out, np.uint64)
    out = np.empty(count * (fan_out * (fan_out - 1) * (fan_out - 2) // 6), np.uint64)
    made = 0
    for anchor in range(count):
        found = _loudest(frames, levels, anchor, from_frames, to_frames, targets)
        for k in range(found):
            steps = (frames[targets[k]] - frames[anchor]) // frame_step
            codes[k] = np.uint64(steps) << np.uint64(8) | np.uint64(bins[targets[k]] // bin_step)
        base = np.uint64(bins[anchor] // bin_step)
        for a in range(found):
            one = step(base, codes[a])
            for b in range(a + 1, found):
                two = step(one, codes[b])
                for c in range(b + 1, found):
                    out[made] = mixed(step(two, codes[c]))
                    made += 1
    return out[:made]


@kernel
def _loudest(frames, levels, anchor, from_frames, to_frames, targets):
    """Fills `targets` with the loudest landmarks of an anchor's zone, ascending; returns how many there are."""
    found = 0
    for k in range(anchor + 1, len(frames)):
        after = frames[k] - frames[anchor]
        if after > to_frames:
            break
        if after < from_frames:
            continue
        if found == len(targets):
            quietest = 0
            for other in range(1, found):
                if levels[targets[other]] <= levels[targets[quietest]]:
                    quietest = other
            if levels[k] <= levels[targets[quietest]]:
                continue
            for other in range(quietest, found - 1):
                targets[other] = targets[other + 1]
            found -= 1
        targets[found] = k
        found += 1
    return found


@kernel
def alignments(landmarks, bounds, first, second):
    """How much of recording second[k] is in recording first[k], float64 [k] in [0, 1]. `landmarks`: uint32, of each
    recording (bounds int64 [recordings + 1]) its number of frames, then its landmarks, packed, ascending.

    Landmarks match when their bins differ by one at most, and their times, shifted by an offset that is the same for
    all, by one frame at most (Wang 2003, §2.3). At the offset with most matches (the smallest such), the result is
    matches / min(landmarks of either in the time both share) x the share of second's landmarks in that time: noise
    may add landmarks to either, and what second has beyond first counts against it.
    """
    out = np.zeros(len(first), np.float64)
    for k in range(len(first)):
        a = landmarks[bounds[first[k]] : bounds[first[k] + 1]]
        b = landmarks[bounds[second[k]] : bounds[second[k] + 1]]
        if len(a) > 1 and len(b) > 1:
            out[k] = _alignment(a[1:], np.int64(a[0]), b[1:], np.int64(b[0]))
    return out


@kernel
def _alignment(a, a_total, b, b_total):
    a_frames, b_frames = a >> np.uint32(BIN_BITS), b >> np.uint32(BIN_BITS)
    shift = np.int64(b_frames[-1]) + 1
    votes = np.zeros(np.int64(a_frames[-1]) + shift + 2, np.int64)
    starts, by_bin = _by_bin(a)
    for k in range(len(b)):
        centre = np.int64(b[k] & np.uint32(2**BIN_BITS - 1))
        at = shift - np.int64(b_frames[k])
        for place in range(starts[max(centre - 1, 0)], starts[min(centre + 2, 2**BIN_BITS)]):
            votes[np.int64(by_bin[place]) + at] += 1
    # landmarks of one recording are never within a bin and two frames of each other, so none is counted twice
    best, offset = 0, 0
    for at in range(1, len(votes) - 1):
        near = votes[at - 1] + votes[at] + votes[at + 1]
        if near > best:
            best, offset = near, at - shift
    start, stop = max(0, offset) - 1, min(a_total, b_total + offset) + 1
    in_a, in_b = 0, 0
    for frame in a_frames:
        in_a += start <= np.int64(frame) < stop
    for frame in b_frames:
        in_b += start <= np.int64(frame) + offset < stop
    return min(1.0, best / max(1, min(in_a, in_b))) * in_b / len(b)


@kernel
def _by_bin(packed):
    """(starts int64 [bins + 1], the landmarks' frames ordered by bin)."""
    starts = np.zeros(2**BIN_BITS + 1, np.int64)
    for landmark in packed:
        starts[np.int64(landmark & np.uint32(2**BIN_BITS - 1)) + 1] += 1
    starts = np.cumsum(starts)
    free = starts.copy()
    frames = np.empty(len(packed), np.uint32)
    for landmark in packed:
        which = np.int64(landmark & np.uint32(2**BIN_BITS - 1))
        frames[free[which]] = landmark >> np.uint32(BIN_BITS)
        free[which] += 1
    return starts, frames
