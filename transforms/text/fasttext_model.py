"""fastText classifiers: whole columns of text in, labels and scores out, equal to the library's to the last bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from schemas.errors import RecipeError
from transforms.columns import utf8
from transforms.kernels import fasttext as kernels
from transforms.kernels.fasttext_output import HIERARCHICAL_SOFTMAX, fill_sigmoids
from transforms.registry import nearest
from transforms.text.fasttext_file import Dictionary, ModelFile, read_model

_LABEL = "__label__"
#: of a word cache, and of its slots: a cache line, where pruning has left few of a word's n-grams
_CACHE_BYTES = 1 << 24
_SLOT_BYTES = 64
_SLOT_BYTES_UNPRUNED = 256


@dataclass(frozen=True, slots=True)
class Predictions:
    """The best labels of some texts, best first.

    `labels` int32 [texts, k]: places in `FastText.labels`, -1 where there are fewer than k; `scores` float32 [texts,
    k]: NaN there, and as the library's a little over 1 at times; `num_words` int64 [texts].
    """

    labels: np.ndarray
    scores: np.ndarray
    num_words: np.ndarray


class FastText:
    """A supervised fastText model. Thread-safe; not to be pickled, but loaded where it is used.

    Words are separated by ASCII white space, NUL and media sentinels; with `unicode_spaces` by everything that
    str.split goes by. The results are those of `fasttext.load_model(path).predict(text, k)` with line breaks and
    sentinels (or all those separators) replaced by spaces. As there, a text ends at a word "</s>", words that begin
    with "__label__" do not count, and a text without any known word or n-gram has no label.
    """

    def __init__(self, file: ModelFile, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self._model = _kernel_model(file)
        self._caches: list[np.ndarray] = []

    @classmethod
    def load(cls, path: str | Path, step: str) -> FastText:
        """Reads a .bin or .ftz file; raises RecipeError, in the name of `step`, when it is none that can be used."""
        file = read_model(path, step)
        try:
            labels = _labels(file.dictionary)
        except UnicodeDecodeError as error:
            raise RecipeError(f"{step}: {str(path)!r} has a label that is not UTF-8") from error
        return cls(file, labels)

    def predict(self, text: pa.Array, k: int = 1, *, unicode_spaces: bool = False) -> Predictions:
        """The k best labels of every text of a large_string column without nulls."""
        data, offsets = utf8(text)
        return self.predict_spans(data, offsets[:-1], offsets[1:], k, unicode_spaces=unicode_spaces)

    def predict_spans(
        self, data: np.ndarray, starts: np.ndarray, stops: np.ndarray, k: int = 1, *, unicode_spaces: bool = False
    ) -> Predictions:
        """The k best labels of each of data[starts:stops]; data: uint8 (UTF-8), starts and stops: int64."""
        num = len(starts)
        k = min(k, len(self.labels))
        found = Predictions(np.empty((num, k), np.int32), np.empty((num, k), np.float32), np.empty(num, np.int64))
        try:
            cache = self._caches.pop()
        except IndexError:
            slot_bytes = _SLOT_BYTES if len(self._model.left) else _SLOT_BYTES_UNPRUNED
            cache = _aligned(np.zeros((_CACHE_BYTES // slot_bytes, slot_bytes // 4), np.int32))
        kernels.predict(
            data,
            starts,
            stops,
            unicode_spaces,
            self._model,
            cache,
            cache.view(np.uint8).reshape(-1),
            found.labels,
            found.scores,
            found.num_words,
        )
        self._caches.append(cache)
        return found

    def place_of(self, label: str, step: str) -> int:
        """Where a label is in `labels`; raises RecipeError, in the name of `step`, when the model does not know it."""
        if label not in self.labels:
            raise RecipeError(f"{step}: the model has no label {label!r}; {nearest(label, list(self.labels))}")
        return self.labels.index(label)

    def scores_of(self, text: pa.Array, place: int, *, unicode_spaces: bool = False) -> np.ndarray:
        """The score of one label, by its place, for every text: float32 [texts], at most 1; NaN for a text without
        words, or with none that the model knows."""
        found = self.predict(text, len(self.labels), unicode_spaces=unicode_spaces)
        scores = np.where(found.labels == place, found.scores, np.float32(0)).max(axis=1)
        unknown = (found.num_words == 0) | (found.labels[:, 0] < 0)
        return np.where(unknown, np.float32(np.nan), np.minimum(scores, np.float32(1)))


def _kernel_model(file: ModelFile) -> kernels.Model:
    settings, dictionary = file.settings, file.dictionary
    entries = np.full(_table_size(4 * len(dictionary.bounds)), -1, np.int32)
    kernels.index_entries(dictionary.entry_bytes, dictionary.bounds, entries)
    left, left_rows = _left_ngrams(dictionary.left_ngrams, settings.num_buckets)
    sigmoids = np.empty(513, np.float32)
    fill_sigmoids(sigmoids)
    is_tree = settings.loss == HIERARCHICAL_SOFTMAX
    tree = _huffman_tree(dictionary.label_counts.tolist() if is_tree else [])
    model = kernels.Model(
        dictionary.entry_bytes,
        dictionary.bounds,
        entries,
        dictionary.num_words,
        _end_row(dictionary),
        settings.num_buckets,
        left,
        left_rows,
        settings.min_chars,
        settings.max_chars,
        settings.max_words,
        _aligned(file.rows),
        _aligned(file.weights if is_tree else file.weights.T),
        file.norms,
        settings.loss,
        tree,
        sigmoids,
    )
    for field in model:
        if isinstance(field, np.ndarray):
            field.setflags(write=False)
    return model


def _left_ngrams(pairs: np.ndarray | None, num_buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """`left` and `left_rows` of kernels.fasttext.Model. Of pairs of one number the last counts, as in the library."""
    if pairs is None:
        return np.zeros((0, 2), np.uint64), np.zeros(0, np.int32)
    numbers, last = np.unique(pairs[::-1, 0], return_index=True)
    left = np.zeros((max(0, num_buckets) // 64 + 1, 2), np.uint64)
    np.bitwise_or.at(left[:, 0], numbers >> 6, np.uint64(1) << (numbers & 63).astype(np.uint64))
    left[1:, 1] = np.cumsum(np.bincount(numbers >> 6, minlength=len(left)))[:-1]
    return left, pairs[::-1, 1][last]


def _labels(dictionary: Dictionary) -> tuple[str, ...]:
    data, bounds = dictionary.entry_bytes.tobytes(), dictionary.bounds.tolist()
    spans = zip(bounds[dictionary.num_words : -1], bounds[dictionary.num_words + 1 :], strict=True)
    return tuple(data[start:stop].decode().removeprefix(_LABEL) for start, stop in spans)


def _end_row(dictionary: Dictionary) -> int:
    data, bounds = dictionary.entry_bytes.tobytes(), dictionary.bounds.tolist()
    found = [at for at in range(dictionary.num_words) if data[bounds[at] : bounds[at + 1]] == b"</s>"]
    return found[-1] if found else -1


def _aligned(array: np.ndarray) -> np.ndarray:
    """A copy that begins at a cache line, so that as few as possible are read for a row."""
    memory = np.zeros(array.nbytes + 64, np.uint8)
    at = -memory.ctypes.data % 64
    copy = memory[at : at + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _table_size(entries: int) -> int:
    """A power of two, at most half full."""
    return 1 << max(4, (2 * entries).bit_length())


def _huffman_tree(counts: list[int]) -> np.ndarray:
    """The children of every node, int32 [2 * labels - 1, 2], as the library pairs them.

    Labels are sorted by count, most frequent first, so the least of what is unpaired is the last leaf or first node.
    """
    num = len(counts)
    children = np.full((max(0, 2 * num - 1), 2), -1, np.int32)
    leaf, node = num - 1, num
    for parent in range(num, 2 * num - 1):
        for side in (0, 1):
            if leaf >= 0 and (node == parent or counts[leaf] < counts[node]):
                children[parent, side] = leaf
                leaf -= 1
            else:
                children[parent, side] = node
                node += 1
        counts.append(counts[children[parent, 0]] + counts[children[parent, 1]])
    return children
