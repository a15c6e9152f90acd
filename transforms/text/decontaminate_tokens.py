"""Words for decontamination, in two readings, as hashes; and the rolling hashes of their n-grams.

Copies of a benchmark item differ in case, white space and punctuation. White space and case vanish in words; but where
punctuation was deleted rather than spaced out ("Janet's" as "Janets", "add(x, y)" as "addx y"), words of letters no
longer agree. So a text is read twice: as its runs of letters or digits, and as its white-space-separated chunks with
everything but letters and digits deleted (GPT-3's reading: Brown et al. 2020, arXiv 2005.14165, appendix C). Numbers
keep their digits: an arithmetic problem with other numbers is another problem.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import chain

import numpy as np
import regex
import xxhash

from schemas.sample import SENTINEL

#: as transforms.dedup.shingles: letters of scripts without spaces are words of their own
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_WORD = regex.compile(rf"{_UNSPACED}\p{{M}}*+|(?:(?!{_UNSPACED})[\p{{L}}\p{{M}}])++|\p{{N}}++", regex.V1)
_IDEOGRAPH = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]", regex.V1)
_SOUTHEAST_ASIAN = regex.compile(r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]", regex.V1)
_HAS_UNSPACED = regex.compile(_UNSPACED, regex.V1)
#: what separates chunks, as str.split() has it, and media sentinels
_CHUNK = re.compile(rf"[^\s{SENTINEL}]+")
_MAX_CACHED_CHARS = 40
#: texts longer than this are not split into one list of strings
_MAX_SPLIT_CHARS = 1 << 22

_BASE = 0x9E3779B97F4A7C15 | 1
_WRAP = (1 << 64) - 1

WORDS, CHUNKS = 0, 1
READINGS = (WORDS, CHUNKS)


def read(text: str) -> tuple[np.ndarray, np.ndarray]:
    """The text's word hashes in both readings (WORDS, CHUNKS): uint64 each."""
    hashed = _hashed(text)
    words = np.fromiter(chain.from_iterable([in_words for in_words, _ in hashed]), np.uint64)
    return words, np.fromiter([whole for in_words, whole in hashed if in_words], np.uint64)


def chunk_numbers(text: str) -> np.ndarray:
    """Which of the text's chunks, counting those of punctuation alone, `read(text)[CHUNKS]` are; int64."""
    return np.flatnonzero([bool(in_words) for in_words, _ in _hashed(text)])


def spans(text: str, reading: int) -> list[tuple[int, int]]:
    """Where the words of `read(text)[reading]` are: (start, end) in characters."""
    found = []
    for chunk in _CHUNK.finditer(text):
        start = chunk.start()
        inner = [(start + word.start(), start + word.end()) for word in _WORD.finditer(chunk[0])]
        if inner and reading == CHUNKS:
            inner = [(inner[0][0], inner[-1][1])]
        found.extend(inner)
    return found


def letters_per_word(text: str) -> int:
    """1; or, for text mostly in scripts without spaces, how many letters make a word: 2 in Han and kana, else 4."""
    if text.isascii():
        return 1
    words = _WORD.findall(text)
    ideographs = sum(_IDEOGRAPH.match(word) is not None for word in words)
    southeast_asian = sum(_SOUTHEAST_ASIAN.match(word) is not None for word in words)
    if (ideographs + southeast_asian) * 2 <= len(words):
        return 1
    return 2 if ideographs >= southeast_asian else 4


def roll(hashes: np.ndarray, ngram: int) -> np.ndarray:
    """Polynomial hashes of all windows of `ngram` words, uint64 [words - ngram + 1].

    Windows are put together from halves, so that a length of n costs about log2 n passes rather than n.
    """
    if len(hashes) < ngram:
        return np.zeros(0, np.uint64)
    whole, covered = None, 0
    power, length = hashes, 1
    rest = ngram
    while True:
        if rest & 1:
            whole = power if whole is None else _join(whole, power[covered:], length)
            covered += length
        rest >>= 1
        if not rest:
            break
        power = _join(power, power[length:], length)
        length *= 2
    assert whole is not None
    return whole[: len(hashes) - ngram + 1]


def _join(left: np.ndarray, right: np.ndarray, right_length: int) -> np.ndarray:
    """Hashes of windows `left` directly followed by windows `right` of a given length."""
    count = min(len(left), len(right))
    with np.errstate(over="ignore"):
        return left[:count] * _base_power(right_length) + right[:count]


@cache
def _base_power(length: int) -> np.uint64:
    return np.uint64(pow(_BASE, length, _WRAP + 1))


def _chunks(text: str) -> list[str] | Iterator[str]:
    if len(text) > _MAX_SPLIT_CHARS:
        return (match[0] for match in _CHUNK.finditer(text))
    return text.replace(SENTINEL, " ").split()


def _hashed(text: str) -> list[tuple[tuple[int, ...], int]]:
    return [_cached(chunk) if len(chunk) <= _MAX_CACHED_CHARS else _hashes(chunk) for chunk in _chunks(text)]


def _hashes(chunk: str) -> tuple[tuple[int, ...], int]:
    """Hashes of a chunk's words, and of the chunk as one word."""
    words = [_plain(word) for word in _WORD.findall(chunk)]
    return tuple(map(_hash, words)), _hash("".join(words))


_cached = lru_cache(maxsize=1 << 18)(_hashes)


def _hash(word: str) -> int:
    return xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass"))


def _plain(word: str) -> str:
    """Compatibility form, case folded, accents removed (not in scripts whose marks are vowels)."""
    if word.isascii():
        return word.lower()
    word = unicodedata.normalize("NFKC", word).casefold()
    if _HAS_UNSPACED.search(word):
        return word
    bare = "".join(c for c in unicodedata.normalize("NFD", word) if unicodedata.category(c) != "Mn")
    return bare or word
