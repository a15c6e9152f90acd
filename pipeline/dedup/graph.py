"""Graphs of duplicates in memory: which node goes, and which kept node it duplicates.

`greedy` (verified pairs): nodes are visited in keep order; one is removed if and only if it has a pair with an earlier
node that was kept. A removed node never removes another, so nothing is dropped by transitivity.
`forest` (connected components): every node is tied to the first node, in keep order, of its component (FineWeb's
behaviour keeps only that one).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pipeline.dedup.shuffle import Columns

_NODE = ("rank", "node", "part")
#: a node as bytes whose order is the keep order: rank, node and part, big-endian
PLACE = np.dtype("S20")


def places(pairs: Columns, side: str) -> np.ndarray:
    """The nodes of one side of pairs, PLACE [pairs]."""
    rank, node, part = (pairs[f"{side}_{name}"] for name in _NODE)
    found = np.empty(len(rank), [("rank", ">u8"), ("node", ">u8"), ("part", ">u4")])
    found["rank"], found["node"], found["part"] = rank, node, (part.astype(np.int64) + 1)
    return found.view(PLACE)


def pairs_of(first: np.ndarray, second: np.ndarray, similarity: np.ndarray | None = None) -> Columns:
    """Pairs of two arrays of PLACE; without a similarity, it is NaN."""
    pairs: Columns = {}
    for side, place in (("a", first), ("b", second)):
        found = np.ascontiguousarray(place).view([("rank", ">u8"), ("node", ">u8"), ("part", ">u4")])
        pairs[f"{side}_rank"] = found["rank"].astype(np.uint64)
        pairs[f"{side}_node"] = found["node"].astype(np.uint64)
        pairs[f"{side}_part"] = (found["part"].astype(np.int64) - 1).astype(np.int32)
    pairs["similarity"] = np.full(len(first), np.nan) if similarity is None else similarity
    return pairs


def greedy(pairs: Columns) -> Columns:
    """The pairs (`a` kept, `b` removed) that explain every removal, one a removed node, in keep order; `a` is the most
    similar kept node. All pairs of a component must be here."""
    everyone, first, second = _numbered(pairs)
    order = np.lexsort([first, -pairs["similarity"], second])
    anchor, similarity = _greedy(first[order], second[order], pairs["similarity"][order], len(everyone))
    gone = np.flatnonzero(anchor >= 0)
    return pairs_of(everyone[anchor[gone]], everyone[gone], similarity[gone])


def forest(pairs: Columns) -> Columns:
    """One pair for every node that is not the first of its component, with that first node, in keep order."""
    everyone, first, second = _numbered(pairs)
    root = _roots(first, second, len(everyone))
    member = np.flatnonzero(root != np.arange(len(root)))
    return pairs_of(everyone[root[member]], everyone[member])


def _numbered(pairs: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(all nodes in keep order, the numbers of each pair's nodes in it)."""
    both = np.concatenate([places(pairs, "a"), places(pairs, "b")])
    everyone, number = np.unique(both, return_inverse=True)
    half = len(both) // 2
    return everyone, number[:half], number[half:]


@njit(cache=True, nogil=True)
def _greedy(first: np.ndarray, second: np.ndarray, similarity: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs come ordered by (second, similarity descending, first); a node's fate is known before it is an anchor."""
    anchor = np.full(count, -1, np.int64)
    score = np.zeros(count, np.float64)
    for k in range(len(first)):
        a, b = first[k], second[k]
        if anchor[b] < 0 and anchor[a] < 0:
            anchor[b] = a
            score[b] = similarity[k]
    return anchor, score


@njit(cache=True, nogil=True)
def _roots(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    """Union-find; the root of a component is its smallest number."""
    parent = np.arange(count)
    for k in range(len(first)):
        a, b = first[k], second[k]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a != b:
            parent[max(a, b)] = min(a, b)
    for node in range(count):
        root = node
        while parent[root] != root:
            root = parent[root]
        parent[node] = root
    return parent
