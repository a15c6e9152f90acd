"""Cutting long documents and packing: nothing lost, nothing cut that must stay whole, the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.tokens.pack import pack_best_fit, padding_share, split_document


def test_a_document_is_cut_only_where_it_must_be():
    assert split_document(0, [], 5) == []
    assert split_document(5, [], 5) == [(0, 5)]
    assert split_document(11, [], 5) == [(0, 5), (5, 10), (10, 11)]


def test_a_media_part_is_never_cut():
    assert split_document(10, [(3, 7)], 5) == [(0, 3), (3, 8), (8, 10)]
    assert split_document(10, [(5, 10)], 5) == [(0, 5), (5, 10)]
    assert split_document(12, [(1, 5), (5, 9), (9, 12)], 5) == [(0, 5), (5, 9), (9, 12)]
    with pytest.raises(ValueError, match="takes 6 tokens, a sequence has 5"):
        split_document(10, [(2, 8)], 5)


@st.composite
def cut(draw):
    length = draw(st.integers(4, 30))
    atoms, at = [], 0
    for gap, size in draw(st.lists(st.tuples(st.integers(0, 40), st.integers(1, length)), max_size=8)):
        atoms.append((at + gap, at + gap + size))
        at += gap + size
    return at + draw(st.integers(0, 60)), atoms, length


@given(cut())
def test_pieces_cover_the_document_and_keep_atoms_whole(case):
    num_tokens, atoms, length = case
    pieces = split_document(num_tokens, atoms, length)
    assert [token for start, stop in pieces for token in range(start, stop)] == list(range(num_tokens))
    assert all(0 < stop - start <= length for start, stop in pieces)
    for start, stop in atoms:
        assert any(a <= start and stop <= b for a, b in pieces)
    # every piece is as long as it can be: one token more would be too long, or would cut an atom
    for _, stop in pieces[:-1]:
        start = next(a for a, b in pieces if b == stop)
        whole = next((b for a, b in atoms if a == stop), stop + 1)
        assert whole - start > length


lengths_of = st.integers(1, 64).flatmap(
    lambda capacity: st.tuples(st.lists(st.integers(1, capacity), max_size=120), st.just(capacity))
)


@given(lengths_of)
def test_every_piece_once_no_overflow_in_order(case):
    lengths, capacity = case
    packed = pack_best_fit(np.array(lengths, np.int64), capacity)
    assert sorted(k for group in packed for k in group.tolist()) == list(range(len(lengths)))
    for group in packed:
        assert sum(lengths[k] for k in group) <= capacity
        assert (np.diff(group) > 0).all()
    assert [group[0] for group in packed] == sorted(group[0] for group in packed)
    again = pack_best_fit(np.array(lengths, np.int64), capacity)
    assert [group.tolist() for group in packed] == [group.tolist() for group in again]
    # no two sequences could have been one: best fit opens a new one only when none has room
    least = sorted(sum(lengths[k] for k in group) for group in packed)[:2]
    assert len(least) < 2 or sum(least) > capacity


def test_padding_is_small_on_lengths_like_those_of_web_pages():
    rng = np.random.default_rng(3)
    lengths = np.clip(rng.lognormal(6.3, 1.1, 20_000).astype(np.int64), 1, 2048)
    packed = pack_best_fit(lengths, 2048)
    assert padding_share(lengths, len(packed), 2048) < 0.001


def test_padding_share():
    assert padding_share(np.array([3, 4]), 1, 10) == pytest.approx(0.3)
    assert padding_share(np.array([], np.int64), 0, 10) == 0.0


@pytest.mark.parametrize("lengths", [[0, 3], [3, 11], [-1]])
def test_lengths_that_cannot_be_packed_are_errors(lengths):
    with pytest.raises(ValueError, match=r"1\.\.10"):
        pack_best_fit(np.array(lengths), 10)


def test_nothing_to_pack():
    assert pack_best_fit(np.array([], np.int64), 10) == []
