"""Shingles of characters: hashed character n-grams of a text in text.exact_dedup's normal form.

Case, white space and composition of characters are no differences; punctuation and digits are.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from transforms.dedup.exact import canonical, canonical_rows
from transforms.dedup.shingles import mix
from transforms.kernels import hashing
from transforms.kernels.char_ngrams import char_ngrams


def char_shingle_hashes(text: str, ngram: int) -> np.ndarray:
    """Sorted distinct hashes of the text's character n-grams, uint64 [shingles]; the readable reference.

    A text shorter than `ngram` characters is one shingle; one without characters has none.
    """
    plain = canonical(text, ignore_case=True).decode("utf-8", "surrogatepass")
    width = min(ngram, len(plain))
    found = {plain[at : at + width] for at in range(len(plain) - width + 1)} if plain else set()
    return np.unique(np.fromiter(map(_hash, found), np.uint64))


def char_shingle_rows(text: pa.Array, ngram: int) -> tuple[np.ndarray, np.ndarray]:
    """(shingles uint64, with repeats; their bounds int64 [rows + 1]) of a large_string column without nulls."""
    rows = list(canonical_rows(text, ignore_case=True))
    data = np.frombuffer(b"".join(rows) or b"\0", np.uint8)
    hashed, bounds = char_ngrams(data, np.cumsum([0, *map(len, rows)]), ngram)
    return hashed, bounds


def _hash(ngram: str) -> int:
    """A polynomial of the characters' hashes, so that a kernel makes the next n-gram's from it."""
    state = 0
    for character in mix(np.fromiter(map(ord, ngram), np.uint64)).tolist():
        state = (state * int(hashing.FACTOR) + character) % 2**64
    return int(mix(np.asarray([state], np.uint64))[0])
