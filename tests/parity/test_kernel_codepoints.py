"""The kernels' property tables against the functions and patterns of the readable reference, for every code point."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import regex

from transforms.kernels import codepoints as bits
from transforms.text import english, sentences, signals_gopher, words
from transforms.text.codepoint_tables import properties
from transforms.text.sentences import ends_sentence
from transforms.text.signals_fineweb import _KHMER_SIGNS

ALL = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
TEXT = "".join(ALL)


@pytest.fixture(scope="module")
def flags() -> np.ndarray:
    index, blocks = properties()
    return blocks.reshape(-1, 256)[index].reshape(-1)


def having(flags: np.ndarray, bit: int) -> set[str]:
    return {chr(code) for code in np.flatnonzero(flags & bit)}


PATTERNS = {
    bits.LETTER_OR_NUMBER: r"[\p{L}\p{N}]",
    bits.UNSPACED: words._UNSPACED,
    bits.MARK: r"\p{M}",
    bits.NO_LENGTH: words._NO_LENGTH.pattern,
    bits.IDEOGRAPHIC: words._IDEOGRAPHIC.pattern,
    bits.SOUTHEAST_ASIAN: words._SOUTHEAST_ASIAN.pattern,
    bits.DATATROVE_PUNCTUATION: signals_gopher._DATATROVE_PUNCTUATION,
    bits.TERMINAL: sentences._TERMINAL.pattern,
    bits.SPACY_TERMINAL: sentences.SPACY_TERMINAL,
    bits.DATATROVE_TERMINAL: sentences.DATATROVE_TERMINAL,
    bits.MARKLESS: sentences._MARKLESS.pattern,
    bits.CLOSER: sentences._CLOSERS.removesuffix("*+"),
    bits.ANY_PUNCTUATION: r"\p{P}",
    bits.LOWER: f"[{english.LOWER}]",
    bits.ALPHABET: f"[{english.LETTERS}]",
    bits.ICON: english.ICONS,
    bits.WORD: r"\w",
    bits.DECIMAL: r"\d",
    bits.CURRENCY: english.CURRENCY,
    bits.UPPER: f"[{english.UPPER}]",
}


@pytest.mark.parametrize("bit", PATTERNS)
def test_patterns(flags: np.ndarray, bit: int) -> None:
    assert having(flags, bit) == set(regex.compile(PATTERNS[bit], regex.V1).findall(TEXT))


TESTS = {
    bits.ALNUM: str.isalnum,
    bits.ALPHA: str.isalpha,
    bits.SPACE: str.isspace,
    bits.UPPERCASE: str.isupper,
    bits.ANY_DIGIT: str.isdigit,
    bits.LINE_END: lambda c: len(f"a{c}b".splitlines()) == 2,
    bits.ENDS_LINE: lambda c: ends_sentence(c) or c in _KHMER_SIGNS,
    bits.SYMBOL: lambda c: c in "#…",
    bits.LOWERCASE: str.islower,
}


@pytest.mark.parametrize("bit", TESTS)
def test_methods(flags: np.ndarray, bit: int) -> None:
    assert having(flags, bit) == set(filter(TESTS[bit], ALL))


def test_unspaced_scripts_lie_in_the_blocks_that_are_looked_in(flags: np.ndarray) -> None:
    assert all(words._MAY_HAVE_UNSPACED.match(character) for character in having(flags, bits.UNSPACED))


def test_word_break(flags: np.ndarray) -> None:
    classes = {
        bits.EXTEND: "Extend Format ZWJ",
        bits.LETTER: "ALetter Hebrew_Letter",
        bits.NUMERIC: "Numeric",
        bits.KATAKANA: "Katakana",
        bits.JOINER: "ExtendNumLet",
        bits.MID_LETTER: "MidLetter",
        bits.MID_NUMBER: "MidNum",
        bits.MID_BOTH: "MidNumLet Single_Quote",
    }
    for number, names in classes.items():
        pattern = "".join(rf"\p{{WB={name}}}" for name in names.split())
        found = {chr(code) for code in np.flatnonzero(flags & bits.WORD_BREAK == number)}
        assert found == set(regex.findall(f"[{pattern}]", TEXT)), names


def test_marks_the_english_tokenizer_cuts_off(flags: np.ndarray) -> None:
    assert having(flags, bits.PREFIX) | {"+"} == {c for c in ALL if english._PREFIX.match(c)}
    assert having(flags, bits.SUFFIX) == {c for c in ALL if english._SUFFIX.search(f"A{c}")}
    assert having(flags, bits.QUOTE) == set(english.QUOTES)
    assert having(flags, bits.PUNCTUATION) == {*english.QUOTES, *english.MARKS.replace("\\", "")}


def test_no_rule_of_the_english_tokenizer_cuts_beside_a_plain_character(flags: np.ndarray) -> None:
    plain = having(flags, bits.PLAIN)
    assert plain == set(regex.findall(r"[\p{L}\p{M}]", TEXT))
    for character in plain:
        assert not english._PREFIX.match(character) and not english._INFIX.search(f"a{character}a"), character
    # No suffix is made of them, unless after a digit (units) or a quote.
    assert not any(english._SUFFIX.search(f"aa{character}") for character in plain)
