"""Character n-grams by kernel against the readable reference."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.parity.test_kernel_shingles import pieces
from transforms.dedup.char_shingles import char_shingle_hashes, char_shingle_rows

anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(pieces, anything), max_size=6), st.integers(1, 26))
@example(["", " ", "a", "ab", "abc", "aaaaaaaa", "ab" * 30, "\U0001f600" * 9, "é" * 5], 3)
def test_any_text(texts: list[str], ngram: int) -> None:
    hashed, bounds = char_shingle_rows(pa.array(texts, pa.large_string()), ngram)
    assert len(bounds) == len(texts) + 1
    for row, text in enumerate(texts):
        found = np.unique(hashed[bounds[row] : bounds[row + 1]])
        assert found.tolist() == char_shingle_hashes(text, ngram).tolist()


def test_case_space_and_composition_are_no_differences_and_marks_are() -> None:
    assert (
        char_shingle_hashes("Caf\u00e9  au\nLAIT", 4).tolist() == char_shingle_hashes("cafe\u0301 au lait", 4).tolist()
    )
    assert char_shingle_hashes("cafe, au lait", 4).tolist() != char_shingle_hashes("cafe au lait", 4).tolist()


def test_as_many_shingles_as_different_n_grams() -> None:
    assert [len(char_shingle_hashes(text, 3)) for text in ("", "ab", "abc", "abcd", "ababab")] == [0, 1, 1, 2, 2]
