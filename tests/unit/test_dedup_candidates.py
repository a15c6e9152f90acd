"""Nodes with an equal key become pairs: all of them, or a bounded number where a key is crowded."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dedup.candidates import KeyGroups
from pipeline.dedup.records import KEYS
from pipeline.dedup.shuffle import Columns


def columns_for(groups: list[int], ranks: list[int] | None = None) -> Columns:
    """One key a node: nodes 0..n-1, node k in group groups[k]."""
    count = len(groups)
    group = np.asarray(groups, np.uint64)
    node = np.arange(count, dtype=np.uint64)
    rank = np.asarray(ranks or [1] * count, np.uint64)
    band, part = np.zeros(count, np.uint16), np.full(count, -1, np.int32)
    return dict(zip(KEYS.names, (band, group, group, rank, node, part), strict=True))


def pair_set(pieces: Any) -> set[tuple[int, int]]:
    return {pair for piece in pieces for pair in zip(piece["a_node"].tolist(), piece["b_node"].tolist(), strict=True)}


@given(st.lists(st.integers(0, 5), max_size=40))
def test_candidates_are_all_pairs_with_an_equal_key(groups):
    found = KeyGroups(columns_for(groups))
    expected = {(a, b) for a, b in itertools.combinations(range(len(groups)), 2) if groups[a] == groups[b]}
    assert pair_set(found.pairs(proof=False)) == expected
    assert set(found.crowding().values()) == {0}


def test_a_crowded_key_costs_a_bounded_number_of_pairs():
    groups = KeyGroups(columns_for([7] * 1000 + [8] * 64), crowd=64)
    found = pair_set(groups.pairs(proof=False))
    crowded = {pair for pair in found if pair[0] < 1000}
    assert {(0, 999), (7, 999), (998, 999), (991, 999), (0, 1), (3, 9)} <= crowded
    assert not {(8, 999), (990, 999)} & crowded
    assert all(a < b for a, b in found)
    assert groups.crowding() == {
        "crowded_keys": 1,
        "crowded_members": 1000,
        "pairs_skipped": 1000 * 999 // 2 - len(crowded),
    }


def test_keep_order_follows_rank_then_place():
    assert pair_set(KeyGroups(columns_for([1, 1, 1], ranks=[5, 1, 5])).pairs(proof=True)) == {(1, 0), (1, 2)}
