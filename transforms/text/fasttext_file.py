"""fastText's model files (.bin and .ftz), read with every size held against what is left of the file.

The layout is that of the library's version 12, and of 11, which supervised models without character n-grams still
have: settings, dictionary, input matrix, output matrix; either matrix dense or product-quantized (Joulin et al. 2016,
arXiv 1612.03651). Little-endian throughout.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from schemas.errors import RecipeError

_MAGIC = 793712314
_SUPERVISED = 3
_LOSSES = range(1, 5)
#: far beyond any model in use; the work per word and per character grows with them
_MAX_NGRAM = 32
_MAX_BUCKETS = 1 << 28
_CENTROIDS = 256
#: of a quantized matrix written out, which may be much larger than its file
_MAX_MATRIX_BYTES = 1 << 32


@dataclass(frozen=True, slots=True)
class Settings:
    """What of the training settings inference depends on; `loss` is one of kernels.fasttext_output's."""

    dim: int
    max_words: int
    loss: int
    num_buckets: int
    min_chars: int
    max_chars: int


@dataclass(frozen=True, slots=True)
class Dictionary:
    """The vocabulary and after it the labels.

    `entry_bytes` uint8 with `bounds` int64 [entries + 1]; `label_counts` int64 [labels]; `left_ngrams` int32
    [n-grams, 2], (bucket, row) of those that pruning left, None of a model that was not pruned.
    """

    entry_bytes: np.ndarray
    bounds: np.ndarray
    num_words: int
    label_counts: np.ndarray
    left_ngrams: np.ndarray | None


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A supervised model. `rows` float32 [words and n-grams, dim]; `weights` float32 [labels, dim], to be multiplied
    with `norms` float32 [labels] after summing."""

    settings: Settings
    dictionary: Dictionary
    rows: np.ndarray
    weights: np.ndarray
    norms: np.ndarray


def read_model(path: str | Path, step: str) -> ModelFile:
    """Reads a model; raises RecipeError, in the name of `step`, when the file is missing, damaged or not supported."""
    try:
        with open(path, "rb") as file:
            if not file.seek(0, os.SEEK_END):
                raise RecipeError(f"{step}: {str(path)!r} is empty; give a path to a fastText model")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data, f"{step}: {str(path)!r}").model()
    except OSError as error:
        raise RecipeError(
            f"{step}: cannot open {str(path)!r} ({error.strerror}); give a path to a fastText model"
        ) from error


class _Reader:
    """Reads on from where it is; `where` begins its errors."""

    def __init__(self, data: mmap.mmap, where: str) -> None:
        self._data = data
        self._at = 0
        self._where = where

    def model(self) -> ModelFile:
        """The whole file."""
        settings = self._settings()
        dictionary = self._dictionary(settings)
        is_quantized = self._flag("whether the input matrix is quantized")
        if dictionary.left_ngrams is not None and not is_quantized:
            raise self._error("is pruned but not quantized, which fastText does not read either; train it again")
        rows, norms = self._quantized(settings.dim, "input") if is_quantized else self._dense(settings.dim, "input")
        if is_quantized:
            with np.errstate(over="ignore", invalid="ignore"):
                rows = rows * norms[:, None]
        rows = self._finite(rows, "input")
        self._check_rows(settings, dictionary, len(rows))
        is_output_quantized = self._flag("whether the output matrix is quantized") and is_quantized
        read = self._quantized if is_output_quantized else self._dense
        weights, norms = read(settings.dim, "output")
        if len(weights) != len(dictionary.label_counts):
            raise self._error(f"has {len(dictionary.label_counts):,} labels but weights for {len(weights):,}")
        return ModelFile(settings, dictionary, rows, self._finite(weights, "output"), self._finite(norms, "output"))

    def _settings(self) -> Settings:
        if self._numbers("<i", "magic number") != (_MAGIC,):
            raise self._error("is not a fastText model: it does not begin with fastText's magic number")
        (version,) = self._numbers("<i", "version")
        if version not in (11, 12):
            raise self._error(f"has version {version} of fastText's format; 11 and 12 are supported")
        dim, _, _, _, _, max_words, loss, kind, num_buckets, min_chars, max_chars, _, _ = self._numbers(
            "<12id", "settings"
        )
        if kind != _SUPERVISED:
            raise self._error("is a model of word vectors, not a classifier; give one trained with `supervised`")
        if loss not in _LOSSES:
            raise self._error(f"has the unknown loss {loss}; hs, ns, softmax and ova are supported")
        if version == 11:
            max_chars = 0
        if dim < 1:
            raise self._error(f"has vectors of {dim} dimensions")
        if num_buckets > _MAX_BUCKETS:
            raise self._error(f"has {num_buckets:,} buckets of n-grams; up to {_MAX_BUCKETS:,} are supported")
        if max(max_words, max_chars) > _MAX_NGRAM:
            raise self._error(f"has n-grams of {max(max_words, max_chars)}; up to {_MAX_NGRAM} are supported")
        return Settings(dim, max_words, loss, num_buckets, min_chars, max_chars)

    def _dictionary(self, settings: Settings) -> Dictionary:
        size, num_words, num_labels, _, num_left = self._numbers("<3i2q", "sizes of the dictionary")
        if min(num_words, num_labels) < 0 or size != num_words + num_labels or num_labels < 1:
            raise self._error(f"says it has {size} entries, {num_words} words and {num_labels} labels")
        self._must_hold(10 * size, "dictionary")
        parts, bounds, counts = [], np.zeros(size + 1, np.int64), np.zeros(num_labels, np.int64)
        for entry in range(size):
            end = self._data.find(b"\0", self._at)
            if end < 0:
                raise self._error("ends within its dictionary")
            parts.append(self._data[self._at : end])
            bounds[entry + 1] = bounds[entry] + end - self._at
            self._at = end + 1
            count, kind = self._numbers("<qb", "dictionary")
            if kind != (entry >= num_words):
                raise self._error("does not have its words before its labels")
            if kind:
                counts[entry - num_words] = count
        left = self._array(np.int32, 2 * max(0, num_left), "n-grams left by pruning").reshape(-1, 2)
        entry_bytes = np.frombuffer(b"".join(parts) or b"\0", np.uint8)
        return Dictionary(entry_bytes, bounds, num_words, counts, left if num_left >= 0 else None)

    def _check_rows(self, settings: Settings, dictionary: Dictionary, num_rows: int) -> None:
        """Every row that a text can lead to has to be there."""
        left = dictionary.left_ngrams
        has_ngrams = settings.max_chars > 0 or settings.max_words > 1
        if has_ngrams and settings.num_buckets < 1:
            raise self._error(f"has n-grams in {settings.num_buckets} buckets")
        if left is not None and len(left):
            if left[:, 0].max() >= settings.num_buckets:
                raise self._error(f"left n-grams beyond its {settings.num_buckets:,} buckets when it was pruned")
            needed = dictionary.num_words + 1 + int(left[:, 1].max())
            if left.min() < 0:
                raise self._error("has a negative number among the n-grams left by pruning")
        else:
            needed = dictionary.num_words + (settings.num_buckets if has_ngrams and left is None else 0)
        if needed > num_rows:
            raise self._error(f"refers to {needed:,} vectors but has {num_rows:,}")

    def _dense(self, dim: int, name: str) -> tuple[np.ndarray, np.ndarray]:
        num_rows, width = self._numbers("<2q", f"size of the {name} matrix")
        self._check_shape(num_rows, width, dim, name)
        return (
            self._array(np.float32, num_rows * width, f"{name} matrix").reshape(num_rows, width),
            np.ones(num_rows, np.float32),
        )

    def _quantized(self, dim: int, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A matrix of product codes, written out, and its rows' norms."""
        has_norms = self._flag(f"whether the {name} matrix has norms")
        num_rows, width, num_codes = self._numbers("<2qi", f"size of the {name} matrix")
        self._check_shape(num_rows, width, dim, name)
        codes = self._array(np.uint8, num_codes, f"{name} matrix")
        blocks = self._codebook(dim, name)
        if num_rows * len(blocks) != num_codes:
            raise self._error(f"has {num_codes:,} codes for {num_rows:,} rows of the {name} matrix")
        if 4 * num_rows * dim > _MAX_MATRIX_BYTES:
            raise self._error(f"has an {name} matrix of over {_MAX_MATRIX_BYTES >> 30} GiB when written out")
        codes = codes.reshape(num_rows, len(blocks))
        matrix = np.concatenate([block[codes[:, at]] for at, block in enumerate(blocks)], axis=1)
        if not has_norms:
            return matrix, np.ones(num_rows, np.float32)
        codes = self._array(np.uint8, num_rows, f"norms of the {name} matrix")
        (block,) = self._codebook(1, f"norms of the {name}")
        return matrix, block[codes, 0]

    def _codebook(self, dim: int, name: str) -> list[np.ndarray]:
        """What the codes stand for: a block, float32 [256, its dimensions], for each code of a row."""
        found = self._numbers("<4i", f"codebook of the {name} matrix")
        size, num_blocks, width, last_width = found
        if size != dim or width < 1 or num_blocks != -(-dim // width) or last_width != dim - (num_blocks - 1) * width:
            raise self._error(f"has a codebook of sizes {found} for an {name} matrix of {dim} dimensions")
        values = self._array(np.float32, dim * _CENTROIDS, f"codebook of the {name} matrix")
        return [
            values[at * _CENTROIDS : min(at + width, dim) * _CENTROIDS].reshape(_CENTROIDS, -1)
            for at in range(0, dim, width)
        ]

    def _check_shape(self, num_rows: int, width: int, dim: int, name: str) -> None:
        if num_rows < 0 or width != dim:
            raise self._error(f"has an {name} matrix of {num_rows} x {width} for vectors of {dim} dimensions")

    def _finite(self, matrix: np.ndarray, name: str) -> np.ndarray:
        if matrix.size and not (np.isfinite(matrix.min()) and np.isfinite(matrix.max())):
            raise self._error(f"has NaN or infinity in its {name} matrix")
        return matrix

    def _flag(self, name: str) -> bool:
        return self._numbers("<b", name)[0] != 0

    def _numbers(self, layout: str, name: str) -> tuple:
        size = struct.calcsize(layout)
        self._must_hold(size, name)
        self._at += size
        return struct.unpack_from(layout, self._data, self._at - size)

    def _array(self, dtype: type[np.generic], count: int, name: str) -> np.ndarray:
        size = count * np.dtype(dtype).itemsize
        self._must_hold(size, name)
        self._at += size
        return np.frombuffer(self._data[self._at - size : self._at], np.dtype(dtype).newbyteorder("<"))

    def _must_hold(self, size: int, name: str) -> None:
        left = len(self._data) - self._at
        if not 0 <= size <= left:
            raise self._error(f"ends within its {name}: {size:,} bytes are said to follow and {left:,} do")

    def _error(self, problem: str) -> RecipeError:
        return RecipeError(f"{self._where} {problem}")
