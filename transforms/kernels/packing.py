"""Best-fit bin choice, compiled. The readable oracle is in tests/parity/test_tokens_pack.py."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def best_fit_bins(lengths: np.ndarray, order: np.ndarray, capacity: int) -> np.ndarray:
    """The bin of each item, int64 [n], bins numbered as they are opened.

    lengths: int64 [n] in 1..capacity; order: the items as they are placed. Each goes into the bin with the least room
    that takes it, of those with equal room the one touched last, else into a new one. Bins of equal room form a linked
    stack; a segment tree over room says which stacks are not empty.
    """
    leaves = 1
    while leaves < capacity + 1:
        leaves *= 2
    filled = np.zeros(2 * leaves, np.bool_)
    top = np.full(capacity + 1, -1, np.int64)
    below = np.empty(len(lengths), np.int64)
    bins = np.empty(len(lengths), np.int64)
    num_bins = 0
    for item in order:
        length = lengths[item]
        room = _first_filled(filled, leaves, length)
        if room < 0:
            chosen = num_bins
            num_bins += 1
            room = capacity
        else:
            chosen = top[room]
            top[room] = below[chosen]
            if top[room] < 0:
                _clear(filled, leaves, room)
        bins[item] = chosen
        left = room - length
        if left > 0:
            below[chosen] = top[left]
            top[left] = chosen
            node = leaves + left
            while node >= 1 and not filled[node]:
                filled[node] = True
                node //= 2
    return bins


@njit(cache=True, nogil=True)
def _first_filled(filled: np.ndarray, leaves: int, start: int) -> int:
    """The first filled leaf at or after `start`, or -1."""
    node = leaves + start
    if filled[node]:
        return start
    # Up until a right sibling holds something, then down its left edge.
    while node > 1:
        if node % 2 == 0 and filled[node + 1]:
            node += 1
            while node < leaves:
                node *= 2
                if not filled[node]:
                    node += 1
            return node - leaves
        node //= 2
    return -1


@njit(cache=True, nogil=True)
def _clear(filled: np.ndarray, leaves: int, leaf: int) -> None:
    node = leaves + leaf
    filled[node] = False
    node //= 2
    while node >= 1 and not (filled[2 * node] or filled[2 * node + 1]):
        filled[node] = False
        node //= 2
