"""Shingles by kernel against the readable reference."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.dedup.fast_shingles import _by_kernel, shingle_rows
from transforms.dedup.shingle_tables import tables
from transforms.dedup.shingles import shingle_hashes
from transforms.kernels.shingles import LEFT, NOT_NORMAL
from transforms.text.codepoint_tables import characters

# Letters with and without accents, marks in the wrong order, jamo, what case folding lengthens, numbers of all kinds,
# unspaced scripts alone and glued to others, marks that are no accents but move in canonical order.
PIECES = [
    *["Straße", "ÉCOLE", "e\u0301", "a\u0323\u0301", "a\u0301\u0323", "ŉ", "ﬃ"],
    *["İ", "ǰ", "ΰ", "ς", "Σ", "K", "Å", "\u212b"],
    *["1", "42", "½", "Ⅷ", "²", "٣", "१", "๑", "一", "〇", "㉈", "1a", "x2y", "中a", "a中b", "カ\u3099", "が", "々"],
    *["ไทย", "ก็", "ខ្មែរ", "។", "မြန်မာ", "한국어"],
    *["\u1112\u1161\u11ab", "한\u11ab", "\u1161", "ক\u09be", "க\u0bbe", "क\u093c"],
    *["\u0301", "\u0344", "\u0f73", "\u1b44"],
    *["ᬓ\u1b44", "\u302e\u0301", "한\u302e\u302a", "\U0001d165\U0001d16d", "\U00016ff0"],
    *[" ", " ", "\n", "\ufffc", "-", "'", "😀"],
    *["\u0338", "<", ", ", "x. Y", "AbC", "@Z[", "/0:"],
    *["\u200d", "_", "\U0001d400", "\u0000", "שָׁ", "ﷺ", "עִבְרִית", "عَرَبِيّ"],
]  # fmt: skip
pieces = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
marks = st.text(st.characters(categories=["Mn", "Mc", "Lo"]), max_size=30)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(pieces, anything, marks), max_size=6), st.integers(1, 6))
@example(["", "\ufffc", "...", "a", "a b", "a b a b a b"], 5)
def test_any_text(texts: list[str], ngram: int) -> None:
    hashed, bounds = shingle_rows(pa.array(texts, pa.large_string()), ngram)
    assert len(bounds) == len(texts) + 1
    for row, text in enumerate(texts):
        expected = shingle_hashes(text, ngram)
        assert np.unique(hashed[bounds[row] : bounds[row + 1]]).tolist() == expected.tolist()


def test_every_character_alone() -> None:
    texts = [f"x {character}y {character}" for character in characters()[::7]]
    hashed, bounds = shingle_rows(pa.array(texts, pa.large_string()), 2)
    for row, text in enumerate(texts):
        assert np.unique(hashed[bounds[row] : bounds[row + 1]]).tolist() == shingle_hashes(text, 2).tolist(), text


def test_text_in_nfc_is_not_normalised_again() -> None:
    # The quick check may ask for a needless normalisation, and must not miss a needed one.
    for texts, states in (
        (["Straße école 中文"], [0]),
        (["e\u0301", "\u1b44", "ক\u09be"], [NOT_NORMAL, LEFT, NOT_NORMAL]),
    ):
        assert _by_kernel(pa.array(texts, pa.large_string()), 5, is_nfc=False)[2].tolist() == states


@settings(max_examples=200, deadline=None)
@given(st.one_of(pieces, marks, anything))
def test_a_text_that_nfc_changes_is_seen(text: str) -> None:
    state = _by_kernel(pa.array([text], pa.large_string()), 5, is_nfc=False)[2][0]
    if unicodedata.normalize("NFC", text) != text:
        assert state in (NOT_NORMAL, LEFT)  # the readable reference, for which it may be left, normalises it


def test_tables_are_read_only() -> None:
    assert not any(table.flags.writeable for table in tables())
