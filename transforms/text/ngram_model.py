"""An n-gram model of one language: its Arrow file, and the perplexity of texts under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import AfterValidator, Field, FiniteFloat, ValidationError

from schemas.errors import RecipeError
from transforms.base import Params
from transforms.columns import utf8
from transforms.kernels import ngram_model as kernels
from transforms.kernels.hashing import table_size
from transforms.registry import describe
from transforms.text.ngram_train import Ngrams
from transforms.text.ngram_words import tables

#: an n-gram a row, shorter ones first: the text of a word, null for longer ones; links are row numbers, -1: none
SCHEMA = pa.schema(
    [
        pa.field("token", pa.large_string()),
        pa.field("prefix", pa.int32(), nullable=False),
        pa.field("word", pa.int32(), nullable=False),
        pa.field("suffix", pa.int32(), nullable=False),
        pa.field("log_prob", pa.float32(), nullable=False),
        pa.field("back_off", pa.float32(), nullable=False),
    ]
)
SPECIAL = ("<unk>", "<s>", "</s>")
_METADATA = b"sluice.ngram"


def _in_order(cutoffs: tuple[float, float]) -> tuple[float, float]:
    if cutoffs[0] > cutoffs[1]:
        raise ValueError(f"head cannot end at {cutoffs[0]:g}, above middle at {cutoffs[1]:g}")
    return cutoffs


#: perplexities up to the first are `head`, up to the second `middle`, others `tail`
Cutoffs = Annotated[tuple[FiniteFloat, FiniteFloat], AfterValidator(_in_order)]


class Description(Params):
    """What a model's file says of it."""

    version: int = Field(default=1, ge=1, le=1)
    lang: str
    #: how many n-grams there are of each length
    levels: tuple[int, ...] = Field(min_length=2, max_length=6)
    cutoffs: Cutoffs | None = None


@dataclass(frozen=True)
class NgramModel:
    """A model ready to score; `tokens` are the words by number."""

    description: Description
    tokens: pa.Array
    ngrams: Ngrams

    def perplexities(self, texts: pa.Array) -> np.ndarray:
        """exp of minus the mean log probability of a token, each line's end being one; float64 [rows], NaN for a text
        without tokens. `texts` is large_string without nulls."""
        sums, counts = np.zeros(len(texts)), np.zeros(len(texts), np.int64)
        n = self.ngrams
        arrays = (*self._vocabulary, *self._children, n.suffix, n.log_prob, n.back_off)
        kernels.score(*utf8(texts), *tables(), *arrays, sums, counts)
        return np.exp(-sums / np.where(counts, counts, np.nan))

    @cached_property
    def _vocabulary(self) -> tuple[np.ndarray, np.ndarray]:
        keys = kernels.word_keys(*utf8(self.tokens), *tables())
        words = np.arange(len(SPECIAL), len(keys), dtype=np.int32)
        return _table(keys[len(SPECIAL) :], words)

    @cached_property
    def _children(self) -> tuple[np.ndarray, np.ndarray]:
        words = self.ngrams.levels[0]
        prefix, word = self.ngrams.prefix[words:].astype(np.uint64), self.ngrams.word[words:].astype(np.uint64)
        numbers = np.arange(words, len(self.ngrams.word), dtype=np.int32)
        return _table((prefix + np.uint64(1)) << np.uint64(32) | word, numbers)

    def with_cutoffs(self, head: float, middle: float) -> NgramModel:
        """The same model with other cut-offs."""
        return replace(self, description=self.description.model_copy(update={"cutoffs": (head, middle)}))

    def table(self) -> pa.Table:
        """What its file holds."""
        n = self.ngrams
        tokens = pa.concat_arrays([self.tokens, pa.nulls(len(n.word) - len(self.tokens), pa.large_string())])
        columns = [tokens, *map(pa.array, (n.prefix, n.word, n.suffix, n.log_prob, n.back_off))]
        schema = SCHEMA.with_metadata({_METADATA: self.description.model_dump_json()})
        return pa.Table.from_arrays(columns, schema=schema)

    @classmethod
    def load(cls, path: str | Path) -> NgramModel:
        """The model of an Arrow file, mapped; raises RecipeError when it is none, or its links lead nowhere."""
        try:
            with pa.memory_map(str(path)) as file:
                table = pa.ipc.open_file(file).read_all()
            table.validate(full=True)
        except (OSError, pa.ArrowException) as error:
            raise RecipeError(f"text.perplexity: {str(path)!r} is not an n-gram model ({error})") from error
        if not table.schema.equals(SCHEMA):
            raise RecipeError(f"text.perplexity: {str(path)!r} has not the columns of an n-gram model")
        try:
            description = Description.model_validate_json((table.schema.metadata or {}).get(_METADATA, b"null"))
        except ValidationError as error:
            problem = describe(error.errors()[0], Description)
            raise RecipeError(f"text.perplexity: {str(path)!r} is not an n-gram model ({problem})") from error
        columns = [column.combine_chunks() for column in table.columns]
        if any(column.null_count for column in columns[1:]):
            raise RecipeError(f"text.perplexity: {str(path)!r} has nulls among its n-grams")
        ngrams = Ngrams(description.levels, *(column.to_numpy() for column in columns[1:]))
        wrong = _fault(ngrams, columns[0])
        if wrong:
            raise RecipeError(f"text.perplexity: {str(path)!r} is damaged: {wrong}; train it again")
        return cls(description, columns[0].slice(0, description.levels[0]), ngrams)


def new_model(lang: str, words: Sequence[str], ngrams: Ngrams) -> NgramModel:
    """A model as training leaves it, without cut-offs; `words` are those that are not SPECIAL."""
    tokens = pa.array([*SPECIAL, *words], pa.large_string())
    return NgramModel(Description(lang=lang, levels=ngrams.levels), tokens, ngrams)


def _table(keys: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = table_size(len(keys))
    slots, values = np.zeros(size, np.uint64), np.zeros(size, np.int32)
    kernels.file_keys(keys, numbers, slots, values)
    return slots, values


def _fault(ngrams: Ngrams, tokens: pa.Array) -> str | None:
    """What would lead a kernel astray: it follows links without looking."""
    levels = ngrams.levels
    if min(levels) < 0 or sum(levels) != len(ngrams.word) or levels[0] <= len(SPECIAL):
        return f"levels of {levels} n-grams in {len(ngrams.word)} rows"
    words = tokens.slice(0, levels[0])
    if words.null_count or words.slice(0, len(SPECIAL)).to_pylist() != list(SPECIAL):
        return "words are missing"
    if not (np.isfinite(ngrams.log_prob).all() and np.isfinite(ngrams.back_off).all()):
        return "a probability is no number"
    unigrams = slice(0, levels[0])
    if (ngrams.suffix[unigrams] != -1).any() or (ngrams.word[unigrams] != np.arange(levels[0])).any():
        return "unigrams are not numbered"
    first = 0
    for shorter, size in pairwise(levels):
        mine = slice(first + shorter, first + shorter + size)
        for links in (ngrams.prefix[mine], ngrams.suffix[mine]):
            if ((links < first) | (links >= first + shorter)).any():
                return "a link leads out of its level"
        if ((ngrams.word[mine] < 0) | (ngrams.word[mine] >= levels[0])).any():
            return "a word is not in the vocabulary"
        first += shorter
    return None
