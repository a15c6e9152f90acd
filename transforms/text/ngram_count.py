"""Texts as one sequence of word numbers, the input of n-gram training."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from transforms.columns import utf8
from transforms.kernels import ngram_model as kernels
from transforms.text.ngram_words import normal_form, tables

_SPECIAL = (kernels.UNKNOWN, kernels.BEGIN, kernels.END)


class WordNumbers:
    """Numbers the words of texts as they come; 4 bytes a token, and about 200 a different word."""

    def __init__(self) -> None:
        self._numbers = {key: key for key in _SPECIAL}
        self._words: list[str] = []
        self._parts = [np.empty(0, np.int32)]

    def add(self, texts: pa.Array) -> None:
        """Takes a large_string column without nulls."""
        keys, rows, starts, stops = kernels.tokens(*utf8(texts), *tables())
        found, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        numbers = np.empty(len(found), np.int32)
        strings: list[str] = []
        for at, key in enumerate(found.tolist()):
            number = self._numbers.get(key)
            if number is None:
                strings = strings or texts.to_pylist()
                place = first[at]
                self._words.append(normal_form(strings[rows[place]][starts[place] : stops[place]]))
                number = self._numbers[key] = len(self._numbers)
            numbers[at] = number
        self._parts.append(numbers[inverse])

    def finish(self, min_count: int) -> tuple[list[str], np.ndarray]:
        """(the words seen at least so often; the whole sequence, int32).

        Words are numbered anew, from END + 1 on: the most frequent first, equals in code point order. So the order of
        texts changes nothing but the order of their lines.
        """
        sequence = np.concatenate(self._parts)
        counts = np.bincount(sequence, minlength=len(self._numbers))[len(_SPECIAL) :]
        by_name = np.array(sorted(range(len(self._words)), key=self._words.__getitem__), np.int64)
        order = by_name[np.argsort(-counts[by_name], kind="stable")]
        renumbered = np.arange(len(self._numbers), dtype=np.int32)
        renumbered[order + len(_SPECIAL)] = np.arange(len(order)) + len(_SPECIAL)
        num_kept = int((counts >= min_count).sum())
        return [self._words[at] for at in order[:num_kept].tolist()], renumbered[sequence]
