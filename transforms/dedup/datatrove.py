"""MinHash signatures as datatrove 0.10.1 computes them: the same normal form, words, hashes and permutations.

`MinhashDedupSignature` with its default language, English, which is what FineWeb ran on: the tokenizer is spaCy's blank
English pipeline whatever the text is in (transforms.text.english; the agreement is measured by
benchmarks.minhash_parity). datatrove's tokenizers of other languages are not here: where it is given another
`language`, signatures differ wherever that tokenizer cuts other words out of lower-case text without punctuation.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache, lru_cache
from typing import Literal

import numpy as np
import pyarrow as pa
import regex
import xxhash

from transforms.kernels.sha1 import sha1_64
from transforms.text.english import split_chunk

Hash = Literal["sha1_64", "sha1_32", "xxh64", "xxh32"]

#: 2^61 - 1; products wrap at 2^64 before they are reduced, which is part of the format
MERSENNE_PRIME = (1 << 61) - 1
SEED = 1

_NUMBER = regex.compile(r"\p{Nd}+(?:[.,،٫⎖⎗⎘]\p{Nd}+)?")
_SPACE = re.compile(r"\s+")
_CONTROLS = "".join(map(chr, [*range(9), 11, 12, *range(13, 32), *range(127, 160)]))
#: all of ASCII's marks, those of its list, among them a full-width one, and control characters
_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~—”％１〈、━【「」，】；“《„’∶´．（–？！：～«〉》）。…►»" + _CONTROLS
_TO_SPACES = str.maketrans(dict.fromkeys(_PUNCTUATION, " "))
_CHUNK = re.compile(rf"[^\s{re.escape(_PUNCTUATION)}]+")
_CACHED_CHARS = 64  # longer chunks are rare, and would fill the cache
#: units in other scripts, which spaCy cuts off a number (of two, which its table runs together, it has neither alone)
_UNIT = regex.compile(
    "(.*[0-9])((?:км|м|дм|см|мм|كم|م|سم|مم)[²³]?|нм|кг|г|мг|мбар|кб|мб|гб|тбكم|غرام|جرام|جم|كغ|ملغ|كوب|اكواب)",
    regex.DOTALL,
)


def simplified(text: str) -> str:
    """datatrove's `simplify_text`: lower case, numbers to 0, punctuation and white space to one space, no accents."""
    text = _NUMBER.sub("0", text.lower()).translate(_TO_SPACES)
    text = _SPACE.sub(" ", text.strip())
    return text if text.isascii() else _bare(text).strip()


def words(text: str) -> list[str]:
    """The tokens of `simplified` text, as spaCy's blank English pipeline cuts them."""
    chunks = _CHUNK.findall(_NUMBER.sub("0", text.lower()))
    return [token for chunk in chunks for token in (_short if len(chunk) <= _CACHED_CHARS else _tokens)(chunk)]


def _tokens(chunk: str) -> list[str]:
    """Those of a chunk between white space and punctuation, which is simplified but for its accents."""
    if chunk.isascii():
        return list(split_chunk(chunk))
    found: list[str] = []
    for piece in _bare(chunk).split():
        unit = _UNIT.fullmatch(piece)
        found += [*split_chunk(unit[1]), unit[2]] if unit else split_chunk(piece)
    return found


_short = lru_cache(maxsize=1 << 16)(_tokens)


def _bare(text: str) -> str:
    return unicodedata.normalize("NFD", text).translate(_marks())


@cache
def _marks() -> dict[int, None]:
    return dict.fromkeys(at for at in range(sys.maxunicode + 1) if unicodedata.category(chr(at)) == "Mn")


def shingle_hashes(text: str, ngram: int, hashed_by: Hash) -> np.ndarray:
    """Hashes of the word n-grams, joined by spaces, uint64, in order and with repeats; none for a shorter text."""
    tokens = [token.encode("utf-8", "surrogatepass") for token in words(text)]
    if len(tokens) < ngram:
        return np.empty(0, np.uint64)
    data = b" ".join(tokens)
    stops = np.cumsum([len(token) + 1 for token in tokens]) - 1
    starts = np.append(0, stops[:-1] + 1)[: len(tokens) - ngram + 1]
    stops = stops[ngram - 1 :]
    if hashed_by.startswith("xxh"):
        digest = xxhash.xxh64_intdigest if hashed_by == "xxh64" else xxhash.xxh32_intdigest
        grams = zip(starts.tolist(), stops.tolist(), strict=True)
        return np.fromiter((digest(data[start:stop]) for start, stop in grams), np.uint64)
    hashed = np.empty(len(starts), np.uint64)
    sha1_64(np.frombuffer(data, np.uint8), starts, stops, hashed)
    return hashed & np.uint64(2**32 - 1) if hashed_by == "sha1_32" else hashed


def shingle_rows(text: pa.Array, ngram: int, hashed_by: Hash) -> tuple[np.ndarray, np.ndarray]:
    """(shingles uint64, with repeats; their bounds int64 [rows + 1]) of a large_string column without nulls."""
    rows = [shingle_hashes(each.as_py(), ngram, hashed_by) for each in text]
    return np.concatenate([np.empty(0, np.uint64), *rows]), np.cumsum([0, *map(len, rows)])


def permutations(count: int) -> tuple[np.ndarray, np.ndarray]:
    """(multipliers, offsets) uint64 [count] of datatrove's permutations, drawn with its seed."""
    draw = np.random.RandomState(SEED)
    multipliers = draw.randint(1, MERSENNE_PRIME, count, np.uint64)
    return multipliers, draw.randint(0, MERSENNE_PRIME, count, np.uint64)
