"""The compiled best-fit packing against one that can be read."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.tokens.pack import pack_best_fit


def best_fit_decreasing(lengths: list[int], capacity: int) -> list[list[int]]:
    """Longest first; each into the sequence with the least room that takes it, the one touched last among equals."""
    bins: list[list[int]] = []
    room: list[int] = []
    touched: list[int] = []
    for clock, item in enumerate(sorted(range(len(lengths)), key=lambda k: (-lengths[k], k))):
        open_bins = [b for b in range(len(bins)) if room[b] >= lengths[item]]
        if open_bins:
            chosen = min(open_bins, key=lambda b: (room[b], -touched[b]))
        else:
            chosen = len(bins)
            bins.append([])
            room.append(capacity)
            touched.append(0)
        bins[chosen].append(item)
        room[chosen] -= lengths[item]
        touched[chosen] = clock
    return sorted(sorted(found) for found in bins)


cases = st.one_of(st.integers(1, 12), st.integers(13, 300)).flatmap(
    lambda capacity: st.tuples(st.lists(st.integers(1, capacity), max_size=150), st.just(capacity))
)


@given(cases)
def test_equal_to_the_readable_one(case):
    lengths, capacity = case
    found = [group.tolist() for group in pack_best_fit(np.array(lengths, np.int64), capacity)]
    assert found == best_fit_decreasing(lengths, capacity)
