"""Tables of code point properties for the kernels, made from the very properties the readable reference asks for.

tests/parity/test_kernel_codepoints.py compares them with the reference for every code point.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import regex

from transforms.kernels import codepoints as bits
from transforms.text import english
from transforms.text.sentences import DATATROVE_TERMINAL, SPACY_TERMINAL

#: where assigned characters are; the rest of Unicode has none of the properties (the test looks)
_RANGES = (range(0xD800), range(0xE000, 0x40000), range(0xE0000, 0xE1000))
_NUM_BLOCKS = 0x1100
_UNSPACED_SCRIPTS = (
    r"\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}"
    r"\p{Script=Myanmar}"
)
_UNSPACED = rf"[[{_UNSPACED_SCRIPTS}ー]&&[\p{{L}}\p{{N}}]]"
_DATATROVE_PUNCTUATION = (
    r"[[!-/:-@\[-`{-~\u0000-\u0008\u000b-\u001f\u007f-\u009f—”：％１〈（、━【「，】；～“《„’∶´．？！$«〉》）。…」»►–]"
    rf"{DATATROVE_TERMINAL}]"
)

_WORD_BREAK = {
    bits.EXTEND: r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]",
    bits.LETTER: r"[\p{WB=ALetter}\p{WB=Hebrew_Letter}]",
    bits.NUMERIC: r"\p{WB=Numeric}",
    bits.KATAKANA: r"\p{WB=Katakana}",
    bits.JOINER: r"\p{WB=ExtendNumLet}",
    bits.MID_LETTER: r"\p{WB=MidLetter}",
    bits.MID_NUMBER: r"\p{WB=MidNum}",
    bits.MID_BOTH: r"[\p{WB=MidNumLet}\p{WB=Single_Quote}]",
}
_BY_PATTERN = {
    bits.LETTER_OR_NUMBER: r"[\p{L}\p{N}]",
    bits.UNSPACED: _UNSPACED,
    bits.MARK: r"\p{M}",
    bits.NO_LENGTH: rf"[{_UNSPACED}\p{{Script=Hangul}}]",
    bits.IDEOGRAPHIC: r"[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]",
    bits.SOUTHEAST_ASIAN: r"[\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]",
    bits.ENDS_LINE: r"[\p{Sentence_Terminal}\p{Script=Thai}\p{Script=Lao}៖៙៚]",
    bits.DATATROVE_PUNCTUATION: _DATATROVE_PUNCTUATION,
    bits.PLAIN: r"[\p{L}\p{M}]",
    bits.LOWER: f"[{english.LOWER}]",
    bits.LINE_END: r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]",
    bits.SYMBOL: "[#…]",
    bits.TERMINAL: r"\p{Sentence_Terminal}",
    bits.SPACY_TERMINAL: SPACY_TERMINAL,
    bits.DATATROVE_TERMINAL: DATATROVE_TERMINAL,
    bits.MARKLESS: r"[\p{Script=Thai}\p{Script=Lao}]",
    bits.CLOSER: r"[\p{Pe}\p{Pf}\p{Pi}\"'”’]",
    bits.ANY_PUNCTUATION: r"\p{P}",
    bits.ALPHABET: f"[{english.LETTERS}]",
    bits.ICON: english.ICONS,
    bits.WORD: r"\w",
    bits.DECIMAL: r"\d",
    bits.CURRENCY: english.CURRENCY,
    bits.UPPER: f"[{english.UPPER}]",
    bits.QUOTE: f"[{english.QUOTES}]",
    bits.PUNCTUATION: f"[{english.QUOTES}{english.MARKS}]",
    bits.SUFFIX: f"[{english.QUOTES}{english.MARKS}{english.ICONS}—–]",
    bits.PREFIX: f"[{english.QUOTES}{english.MARKS}{english.ICONS}—–§%=]|{english.CURRENCY}",
}
_BY_METHOD = {
    bits.ALNUM: str.isalnum,
    bits.ALPHA: str.isalpha,
    bits.SPACE: str.isspace,
    bits.LOWERCASE: str.islower,
    bits.UPPERCASE: str.isupper,
    bits.ANY_DIGIT: str.isdigit,
}


@cache
def characters() -> str:
    """Every character that may have a property."""
    return "".join("".join(map(chr, codes)) for codes in _RANGES)


def by_code(values: np.ndarray) -> np.ndarray:
    """Values of `characters` as values of all code points, [0x110000], 0 for the others."""
    spread = np.zeros(_NUM_BLOCKS * 256, values.dtype)
    done = 0
    for codes in _RANGES:
        spread[codes.start : codes.stop] = values[done : done + len(codes)]
        done += len(codes)
    return spread


def two_levels(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(index uint16 [0x1100], blocks) of values of all code points: equal blocks of 256 are kept once. Read-only."""
    number: dict[bytes, int] = {}
    index = np.fromiter(
        (number.setdefault(block.tobytes(), len(number)) for block in values.reshape(_NUM_BLOCKS, 256)), np.uint16
    )
    blocks = np.frombuffer(b"".join(number), values.dtype)
    index.setflags(write=False)
    return index, blocks


@cache
def properties() -> tuple[np.ndarray, np.ndarray]:
    """The two tables of kernels.codepoints: index uint16, flags int64."""
    text = characters()
    flags = np.zeros(len(text), np.int64)
    for bit, pattern in (*_WORD_BREAK.items(), *_BY_PATTERN.items()):
        for match in regex.compile(f"(?:{pattern})+", regex.V1).finditer(text):
            flags[match.start() : match.end()] |= bit
    for bit, test in _BY_METHOD.items():
        flags |= np.fromiter(map(test, text), np.int64, len(text)) * bit
    return two_levels(by_code(flags))


@cache
def case_folds() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """str.casefold as two levels and a pool: 0 where a code point stays, else the place in the pool, int32, of how many
    it becomes and of these."""
    text = characters()
    pool = [0]
    folds = np.zeros(len(text), np.uint32)
    for at, character in enumerate(text):
        if (folded := character.casefold()) != character:
            folds[at] = len(pool)
            pool += [len(folded), *map(ord, folded)]
    pooled = np.asarray(pool, np.int32)
    pooled.setflags(write=False)
    return (*two_levels(by_code(folds)), pooled)
