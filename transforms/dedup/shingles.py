"""Shingles: hashed word n-grams of a text in a normal form that small edits of spelling do not change."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
import regex

from schemas.sample import SENTINEL
from transforms.kernels import hashing

#: a letter, or a mark, of a script without spaces between words
UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
#: a run of letters and marks, or of digits; one Han, kana, Thai, Lao, Khmer or Myanmar letter with its marks is a
#: word of its own, because those scripts put no spaces between words
_WORD = regex.compile(rf"{UNSPACED}\p{{M}}*|[\p{{L}}\p{{M}}]+|\p{{N}}+", regex.V1)
_UNSPACED = regex.compile(UNSPACED, regex.V1)

_MIX = np.uint64(0x9E3779B97F4A7C15)


def words(text: str) -> list[str]:
    """The text's words: case folded, accents removed (NFD minus marks in spaced scripts), every number "0".

    The normal form of datatrove's `simplify_text` (lower case, numbers to 0, punctuation dropped, accents removed),
    with words split by script.
    """
    folded = unicodedata.normalize("NFC", text.replace(SENTINEL, " ")).casefold()
    return [_plain(word) for word in _WORD.findall(folded)]


@lru_cache(maxsize=1 << 16)
def _plain(word: str) -> str:
    if word.isdigit() or word[0].isnumeric():
        return "0"
    if word.isascii() or _UNSPACED.match(word):
        return word
    bare = "".join(c for c in unicodedata.normalize("NFD", word) if unicodedata.category(c) != "Mn")
    return bare or word


def shingle_hashes(text: str, ngram: int) -> np.ndarray:
    """Sorted distinct hashes of the text's word n-grams, uint64 [shingles]; the readable reference.

    A text shorter than `ngram` words is one shingle; a text without words has none.
    """
    hashed = np.fromiter((_word_hash(word) for word in words(text)), np.uint64)
    if not len(hashed):
        return hashed
    if len(hashed) < ngram:
        ngram = len(hashed)
    rolled = np.zeros(len(hashed) - ngram + 1, np.uint64)
    with np.errstate(over="ignore"):
        for k in range(ngram):
            rolled = mix(rolled + hashed[k : len(hashed) - ngram + 1 + k])
    return np.unique(rolled)


@lru_cache(maxsize=1 << 17)
def _word_hash(word: str) -> int:
    """A hash that kernels compute as easily (transforms.kernels.hashing)."""
    state = int(hashing.SEED)
    for character in word:
        state = (state ^ ord(character)) * int(hashing.FACTOR) % 2**64
        state ^= state >> 32
    return state


def mix(x: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser: order of words matters, every bit depends on every bit."""
    x = x + _MIX
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Exact Jaccard similarity of two sorted distinct shingle arrays; 0 when both are empty."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    union = len(a) + len(b) - shared
    return shared / union if union else 0.0
