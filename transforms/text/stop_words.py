"""Stop words of languages as transforms.kernels.counts looks them up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np

from transforms.kernels.counts import list_words
from transforms.text.languages import shipped


class StopWords:
    """language -> words, as a table: `numbers` of the languages, `keys` uint64 and `bits` uint8 [slots]."""

    def __init__(self, words: Mapping[str, Iterable[str]]) -> None:
        listed = {language: sorted(set(of_language)) for language, of_language in words.items()}
        self.numbers = {language: number for number, language in enumerate(listed) if listed[language]}
        entries = [
            (word, self.numbers[language], bit)
            for language in self.numbers
            for bit, word in enumerate(listed[language])
        ]
        slots = 1 << (4 * len(entries) + 1).bit_length()
        self.keys = np.zeros(slots, np.uint64)
        self.bits = np.zeros(slots, np.uint8)
        codes = np.frombuffer("".join(word for word, _, _ in entries).encode("utf-32-le"), np.uint32)
        bounds = np.cumsum([0, *(len(word) for word, _, _ in entries)])
        languages = np.array([number for _, number, _ in entries], np.int32)
        list_words(codes, bounds, languages, np.array([bit for _, _, bit in entries], np.uint8), self.keys, self.bits)


@cache
def shipped_stop_words() -> StopWords:
    """Those of all languages that come with the package."""
    return StopWords({code: language.stop_words for code, language in shipped().items()})
