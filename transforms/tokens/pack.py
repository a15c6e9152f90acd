"""Documents into sequences of one length: cutting the long ones, and best-fit packing of the pieces.

Best-fit decreasing as in Ding et al. 2024, "Fewer Truncations Improve Language Modeling" (arXiv:2404.10830), §3: pieces
go from long to short, each into the sequence with the least room that still takes it. No token is lost or truncated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transforms.kernels.packing import best_fit_bins


def split_document(num_tokens: int, atoms: Sequence[tuple[int, int]], sequence_length: int) -> list[tuple[int, int]]:
    """Cuts tokens [0, num_tokens) into consecutive [start, stop) pieces of at most `sequence_length`.

    atoms: disjoint ascending [start, stop) spans that stay whole (a media part with its marks). Every piece is as long
    as it can be, which gives the fewest pieces. Raises ValueError when an atom is longer than a sequence.
    """
    pieces = []
    start = at = 0
    while num_tokens - start > sequence_length:
        stop = start + sequence_length
        while at < len(atoms) and atoms[at][1] <= stop:
            at += 1
        if at < len(atoms) and atoms[at][0] < stop:
            stop = atoms[at][0]
            if stop <= start:
                raise ValueError(f"a media part takes {atoms[at][1] - start} tokens, a sequence has {sequence_length}")
        pieces.append((start, stop))
        start = stop
    if num_tokens > start:
        pieces.append((start, num_tokens))
    return pieces


def pack_best_fit(lengths: np.ndarray, capacity: int) -> list[np.ndarray]:
    """Groups pieces into sequences of at most `capacity` tokens; returns the indices of the pieces in each.

    lengths: int [n], each in 1..capacity, else ValueError. Deterministic: equal lengths go by index, and among
    sequences with equal room the one touched last is taken. Pieces in a sequence stay in their order, and sequences are
    ordered by their first piece. O(n log capacity).
    """
    lengths = np.asarray(lengths, np.int64)
    if not len(lengths):
        return []
    if lengths.min() < 1 or lengths.max() > capacity:
        raise ValueError(f"lengths run from {lengths.min()} to {lengths.max()}, but must lie in 1..{capacity}")
    longest_first = np.argsort(-lengths, kind="stable")
    bins = best_fit_bins(lengths, longest_first, capacity)
    by_bin = np.argsort(bins, kind="stable")
    borders = np.flatnonzero(np.diff(bins[by_bin])) + 1
    groups = np.split(by_bin, borders)
    return sorted(groups, key=lambda group: int(group[0]))


def padding_share(lengths: np.ndarray, num_sequences: int, capacity: int) -> float:
    """The share of `num_sequences` x `capacity` token places that hold no token; 0 when there are none."""
    places = num_sequences * capacity
    return 1 - int(np.sum(lengths)) / places if places else 0.0
