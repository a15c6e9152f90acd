"""The short cut around ftfy's heuristic never passes a text that the heuristic would call bad."""

from __future__ import annotations

import itertools

import pytest
import regex
from ftfy.badness import MOJIBAKE_CATEGORIES, is_bad
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.text import mojibake

BY_CLASS = [regex.findall(f"[{names}]", "".join(map(chr, range(0x3000)))) for names in MOJIBAKE_CATEGORIES.values()]
SPECIAL = set("azAZ09 \n.,?!'_ÂÃŒœ°ØÙвЂГўВ√∂±≈‚Äâóàβ€ā×²¡ʼ中\u3000\U0001f600")
CHARACTERS = sorted({*itertools.chain(*BY_CLASS), *SPECIAL})
#: two of each class, and all that the heuristic names
FEW = sorted({*itertools.chain(*(found[:2] for found in BY_CLASS)), *SPECIAL})
longer = st.text(st.sampled_from(CHARACTERS), min_size=1, max_size=60)


def test_the_heuristic_is_the_one_the_short_cut_was_made_for() -> None:
    assert mojibake._IS_KNOWN


def test_every_pair() -> None:
    for pair in itertools.product(CHARACTERS, repeat=2):
        text = "".join(pair)
        for padded in (text, f"a{text}z"):
            assert mojibake.may_be_bad(padded) == (not padded.isascii() and is_bad(padded)), padded


@settings(max_examples=600)
@given(st.text(st.sampled_from(FEW), max_size=12))
def test_sequences(text: str) -> None:
    assert mojibake.may_be_bad(text) == (not text.isascii() and is_bad(text))


@settings(max_examples=300)
@given(
    st.text(st.sampled_from(CHARACTERS), min_size=1, max_size=60).map(lambda t: t + " schÃ¶n") | st.text(max_size=60)
)
def test_longer_texts(text: str) -> None:
    assert mojibake.may_be_bad(text) == (not text.isascii() and is_bad(text))


@pytest.mark.parametrize(("bad", "good"), [("schÃ¶n", "schön"), ("â€œquotedâ€\x9d", "“quoted”"), ("größe", "größe")])
def test_repairs(bad: str, good: str) -> None:
    assert mojibake.fix_encoding(bad) == good


def test_many_suspects_are_left_to_one_search() -> None:
    harmless = "«Ça» "
    for count in (1, 15, 16, 17, 40):
        assert not mojibake.may_be_bad(harmless * count)
        assert mojibake.may_be_bad(harmless * count + "schÃ¶n")
