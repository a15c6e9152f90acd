"""Texts as text.exact_dedup compares them: by kernel as by the readable function."""

from __future__ import annotations

import sys

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.sample.texts import plant
from schemas.sample import SENTINEL
from tests.parity.test_kernel_signals import texts
from transforms.dedup.exact import canonical, canonical_rows
from transforms.kernels.canonical import is_space


def differences(drawn: list[str], ignore_case: bool) -> list[str]:
    column = pa.array(["before", *drawn, "after"], pa.large_string()).slice(1, len(drawn))
    found = [bytes(made) for made in canonical_rows(column, ignore_case=ignore_case)]
    assert len(found) == len(drawn)
    wanted = [canonical(text, ignore_case=ignore_case) for text in drawn]
    return [text for text, got, want in zip(drawn, found, wanted, strict=True) if got != want]


marks = st.text("aA \u0301\u0323\u0327ǰﬃßİıΣςÅ\u212b가\u1100\u1161\u11a8\u00a0\u2003\x1c\x85" + SENTINEL, max_size=30)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(texts, marks), min_size=1, max_size=5), st.booleans())
@example(["", " ", "\u3000a\u3000\u3000b\u3000", "A\u0301", "ΐ" * 50, "\U0010ffff"], True)
def test_any_text(drawn: list[str], ignore_case: bool) -> None:
    assert not differences(drawn, ignore_case)


@pytest.mark.parametrize("ignore_case", [True, False])
def test_every_character_between_letters(ignore_case: bool) -> None:
    every = [f"a{chr(code)}Z" for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    assert not differences(every, ignore_case)


def test_the_sample_corpus() -> None:
    assert not differences([record.body for record in plant(seed=17, scale=0.02) if isinstance(record.body, str)], True)


def test_white_space_is_what_str_split_goes_by() -> None:
    assert {code for code in range(0x110000) if is_space.py_func(code)} == {
        code for code in range(0x110000) if chr(code).isspace()
    }
