"""Tables for transforms.kernels.shingles, made with the functions that the readable reference calls."""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
import regex

from transforms.dedup.shingles import UNSPACED
from transforms.kernels import shingles as bits
from transforms.text.codepoint_tables import by_code, characters, two_levels

_BY_PATTERN = {
    bits.UNSPACED: UNSPACED,
    bits.LETTER_OR_MARK: r"[\p{L}\p{M}]",
    bits.MARK: r"\p{M}",
    bits.NUMBER: r"\p{N}",
}


@cache
def tables() -> tuple[np.ndarray, ...]:
    """kinds, case folding, and code points without accents, each in two levels, and the pool: the kernel's tables."""
    text = characters()
    kinds = np.fromiter(map(unicodedata.combining, text), np.uint32, len(text))
    for bit, pattern in _BY_PATTERN.items():
        for match in regex.compile(f"{pattern}+", regex.V1).finditer(text):
            kinds[match.start() : match.end()] |= bit
    kinds |= np.fromiter(map(str.isnumeric, text), np.uint32, len(text)) * np.uint32(bits.NUMERIC)
    pool = [0]
    folds, bares = np.zeros((2, len(text)), np.uint32)
    second = _composing()
    for at, character in enumerate(text):
        if (folded := character.casefold()) != character:
            folds[at] = _place(pool, folded)
        if character in second or unicodedata.normalize("NFC", character) != character:
            kinds[at] |= bits.NOT_NFC
        if (full := unicodedata.normalize("NFD", character)) != character or kinds[at] & bits.COMBINING_CLASS:
            bare = [c for c in full if unicodedata.category(c) != "Mn"]
            bares[at] = _place(pool, "".join(bare))
            if any(map(unicodedata.combining, bare)):
                kinds[at] |= bits.REORDERED
        elif unicodedata.category(character) == "Mn":
            bares[at] = _place(pool, "")
    pooled = np.asarray(pool, np.int32)
    pooled.setflags(write=False)
    return (*two_levels(by_code(kinds)), *two_levels(by_code(folds)), *two_levels(by_code(bares)), pooled)


def _place(pool: list[int], replacement: str) -> int:
    pool += [len(replacement), *map(ord, replacement)]
    return len(pool) - len(replacement) - 1


def _composing() -> frozenset[str]:
    """Characters that may compose with one before them: the second of every pair that NFC joins, and Hangul's."""
    found = {*map(chr, range(0x1161, 0x1176)), *map(chr, range(0x11A8, 0x11C3))}
    for character in characters():
        mapping = unicodedata.decomposition(character)
        if mapping and mapping[0] != "<" and " " in mapping:
            pair = "".join(chr(int(code, 16)) for code in mapping.split())
            if unicodedata.normalize("NFC", pair) == character:
                found.add(pair[1])
    return frozenset(found)
