"""The tokens an n-gram model counts: words in a normal form like CCNet's, and every punctuation mark.

CCNet (Wenzek et al. 2020, arXiv 1911.00359) lower-cases, writes 0 for every digit and ASCII for other punctuation. So
does this; unlike CCNet it keeps accents, and has words where CCNet has SentencePiece's pieces. Scripts written without
spaces count by letter (transforms.text.words). A line is a sequence by itself.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
import regex

from schemas.sample import SENTINEL
from transforms.kernels import codepoints
from transforms.kernels import ngram_model as bits
from transforms.text.codepoint_tables import by_code, characters, properties, two_levels
from transforms.text.words import split_unspaced

#: letters, marks and digits, and the joiners that Persian and Indic words are written with
_LETTER = r"[\p{L}\p{M}\p{N}\u200c\u200d]"
_SYMBOL = r"[^\s\p{C}\p{L}\p{M}\p{N}]"
_TOKEN = regex.compile(rf"{_LETTER}+|{_SYMBOL}", regex.V1)
_ASCII = {
    **dict.fromkeys("„‟“”«»「」『』〝〞〟", '"'),
    **dict.fromkeys("‘’‚‛`´′", "'"),
    **dict.fromkeys("。｡", "."),
    **dict.fromkeys("、､،", ","),
    **dict.fromkeys("【〔〖", "["),
    **dict.fromkeys("】〕〗", "]"),
    **dict.fromkeys("《〈‹", "<"),
    **dict.fromkeys("》〉›", ">"),
    **dict.fromkeys("؛", ";"),
    **dict.fromkeys("؟", "?"),
}


@cache
def _normal_forms() -> dict[int, str]:
    """Code points that change -> what each becomes, one character."""
    return {ord(c): new for c in characters() if (new := _normal(c)) != c}


def _normal(character: str) -> str:
    if "！" <= character <= "～":
        character = chr(ord(character) - 0xFEE0)  # full width
    if character in _ASCII:
        return _ASCII[character]
    if character == SENTINEL:
        return " "
    category = unicodedata.category(character)
    if category in ("Nd", "Pd"):
        return {"Nd": "0", "Pd": "-"}[category]
    lower = character.lower()
    return "σ" if lower == "ς" else lower if len(lower) == 1 else character


def normal_form(text: str) -> str:
    """The text in its normal form, a character for a character."""
    return text.translate(_normal_forms())


def line_tokens(line: str) -> list[str]:
    """The tokens of one line; the readable reference."""
    return split_unspaced(_TOKEN.findall(normal_form(line)))


def text_tokens(text: str) -> list[list[str]]:
    """The tokens of every line (`str.splitlines`) that has some."""
    return [tokens for line in text.splitlines() if (tokens := line_tokens(line))]


def _properties_of(codes: np.ndarray) -> np.ndarray:
    index, flags = properties()
    return flags[index[codes >> 8].astype(np.int64) << 8 | (codes & 255)]


@cache
def tables() -> tuple[np.ndarray, ...]:
    """What kernels read: kinds of code points, and normal forms (0: stays), each in two levels."""
    text = characters()
    normal = normal_form(text)
    kinds = np.zeros(len(text), np.uint32)
    for bit, pattern in ((bits.LETTER, _LETTER), (bits.SYMBOL, _SYMBOL)):
        for match in regex.compile(f"{pattern}+", regex.V1).finditer(normal):
            kinds[match.start() : match.end()] |= bit
    codes, normal_codes = (np.frombuffer(chars.encode("utf-32-le"), "<u4") for chars in (text, normal))
    for bit, shared, of in (
        (bits.UNSPACED, codepoints.UNSPACED, normal_codes),
        (bits.MARK, codepoints.MARK, normal_codes),
        (bits.LINE_END, codepoints.LINE_END, codes),
    ):
        kinds[_properties_of(of) & np.uint32(shared) != 0] |= np.uint32(bit)
    return (*two_levels(by_code(kinds)), *two_levels(by_code(np.where(normal_codes == codes, 0, normal_codes))))
