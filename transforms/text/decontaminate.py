"""Finds benchmark items in documents: no model should train on what it is tested with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from schemas.errors import RecipeError
from schemas.sample import SENTINEL
from transforms.base import Outcome, Transform, Verdicts, append_columns, append_fields, partition
from transforms.base import Params as BaseParams
from transforms.registry import register
from transforms.text.decontaminate_index import Index, build_index
from transforms.text.decontaminate_items import Benchmark, read_items
from transforms.text.decontaminate_tokens import READINGS, read, roll, spans

_FIELDS = (
    pa.field("decontamination.benchmark", pa.string()),
    pa.field("decontamination.item", pa.string()),
    pa.field("decontamination.num_ngrams", pa.int32()),
)
_MAX_SPANS_SHOWN = 3
_MAX_EXCERPT_CHARS = 80


class DecontaminateParams(BaseParams):
    """Against what, and how much of an item is too much."""

    benchmarks: tuple[Benchmark, ...] = Field(min_length=1)
    #: words that must agree in a row: 13, as GPT-3 (Brown et al. 2020, arXiv 2005.14165, appendix C)
    ngram: int = Field(default=13, ge=2, le=64)
    #: an item, or its first column, of fewer words than `ngram` counts when all of it is in the document in a row; but
    #: not one of fewer words than this, which might stand anywhere (GPT-3 sets 8 as the least length of an n-gram)
    min_item_words: int = Field(default=8, ge=2)
    #: n-grams of a document that must be found, whole short items aside
    min_ngrams: int = Field(default=1, ge=1)
    #: reject the row; cut the words that agree out of its text; or only write the columns
    action: Literal["reject", "remove_span", "annotate"] = "reject"

    @model_validator(mode="after")
    def _names_differ(self) -> DecontaminateParams:
        names = [benchmark.name for benchmark in self.benchmarks]
        if len(set(names)) < len(names):
            raise ValueError("two benchmarks have one name; the ledger could not tell them apart")
        return self


#: a table of the index; in it, positions of windows in a text's words, and their keys
_Hit = tuple[tuple[int, bool], np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class _Leak:
    item: int
    num_ngrams: int
    spans: list[tuple[int, int]]  # in characters, apart, in order


@register("text.decontaminate", version=1)
class Decontaminate(Transform[DecontaminateParams]):
    """Finds n-grams of benchmark items, and short items whole, and rejects, cuts or marks the documents that have them.

    Adds `decontamination.benchmark` and `decontamination.item` (null in a clean row): the item with most n-grams in
    the document, the first one on a tie; and `decontamination.num_ngrams`, how many n-grams of the document are of
    any item. A rejected row's match id is `benchmark:item` and its detail says where (in characters of the text) and
    shows the beginning. Both are in the ledger, so the rate of a benchmark is a count of ledger rows by
    `decontamination.benchmark`, over all rows; the items of it that leaked are the distinct `decontamination.item`.

    Letters and digits alone are compared, in two readings (decontaminate_tokens), without case and accents. A
    document's fate depends on it and the benchmark files: keep those under version control.
    """

    Params = DecontaminateParams
    reasons = frozenset({"contaminated"})
    edits_text = True

    def __init__(self, params: DecontaminateParams) -> None:
        super().__init__(params)
        self.edits_text = params.action == "remove_span"  # type: ignore[misc]
        self._index: Index | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_index": None}

    def setup(self) -> None:
        if self._index is None:
            items = [item for benchmark in self.params.benchmarks for item in read_items(benchmark)]
            index = build_index(items, self.params.ngram, self.params.min_item_words)
            if not index.tables:
                paths = ", ".join(benchmark.path for benchmark in self.params.benchmarks)
                raise RecipeError(f"text.decontaminate: no item long enough to be looked for in {paths}")
            self._index = index

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, _FIELDS)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        self.setup()
        texts = batch.column("text").to_pylist()
        leaks = self._leaks(texts)
        items = [None if leak is None else self._items[leak.item] for leak in leaks]
        columns: tuple[list[Any], ...] = (
            [item and item.benchmark for item in items],
            [item and item.name for item in items],
            [0 if leak is None else leak.num_ngrams for leak in leaks],
        )
        batch = append_columns(batch, list(zip(_FIELDS, columns, strict=True)))
        if self.params.action == "remove_span":
            cut = [text if leak is None else _cut(text, leak.spans) for text, leak in zip(texts, leaks, strict=True)]
            batch = append_columns(batch, [(batch.schema.field("text"), cut)])
        if self.params.action != "reject":
            return partition(batch, Verdicts([None] * len(leaks)))
        found = [None if leak is None else _detail(text, leak) for text, leak in zip(texts, leaks, strict=True)]
        reasons = [None if leak is None else "contaminated" for leak in leaks]
        return partition(batch, Verdicts(reasons, found, [item and item.match_id for item in items]))

    @property
    def _items(self) -> list[Any]:
        assert self._index is not None
        return self._index.items

    def _leaks(self, texts: list[str]) -> list[_Leak | None]:
        """What is found in each text."""
        readings = [read(text) for text in texts]
        hits: list[dict[int, list[_Hit]]] = [{} for _ in texts]
        for reading in READINGS:
            arrays = [words[reading] for words in readings]
            for row, table, at, keys in self._hits(arrays):
                hits[row].setdefault(reading, []).append((table, at, keys))
        return [self._leak(text, found) if found else None for text, found in zip(texts, hits, strict=True)]

    def _hits(self, arrays: list[np.ndarray]) -> list[tuple[int, tuple[int, bool], np.ndarray, np.ndarray]]:
        """(row, table of the index, positions of windows in the row's words, their keys) of all that is in the index.

        The rows are laid end to end, so that numpy's cost is a batch's and not a row's; windows over a border do not
        count.
        """
        assert self._index is not None
        starts = np.cumsum([0, *map(len, arrays)])
        words = np.concatenate([np.zeros(0, np.uint64), *arrays])
        found = []
        for key, table in self._index.tables.items():
            length = key[0]
            keys = table.find(roll(words, length))
            at = np.flatnonzero(keys >= 0)
            row = np.searchsorted(starts, at, side="right") - 1
            inside = at + length <= starts[row + 1]
            at, row = at[inside], row[inside]
            for which in np.unique(row).tolist():
                mine = at[row == which]
                found.append((which, key, mine - starts[which], keys[mine]))
        return found

    def _leak(self, text: str, hits: dict[int, list[_Hit]]) -> _Leak | None:
        """The leak of one text, if what was found in either reading is enough."""
        assert self._index is not None
        num_ngrams, whole = 0, False
        owners, places = [], []
        for reading, found in hits.items():
            where = spans(text, reading)
            num_ngrams = max(num_ngrams, len(np.unique(np.concatenate([at for _, at, _ in found]))))
            for (length, is_item), at, keys in found:
                whole |= is_item
                owners.append(self._index.tables[length, is_item].owners_of(np.unique(keys)))
                places += [(where[first][0], where[first + length - 1][1]) for first in at.tolist()]
        if num_ngrams < self.params.min_ngrams and not whole:
            return None
        item = int(np.bincount(np.concatenate(owners)).argmax())
        return _Leak(item, num_ngrams, _merged(places))


def _merged(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(places):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _cut(text: str, places: list[tuple[int, int]]) -> str:
    """The text without these spans; media sentinels in them stay."""
    kept, last = [], 0
    for start, end in places:
        kept += [text[last:start], SENTINEL * text.count(SENTINEL, start, end)]
        last = end
    return "".join([*kept, text[last:]])


def _detail(text: str, leak: _Leak) -> str:
    shown = ", ".join(f"{start}-{end}" for start, end in leak.spans[:_MAX_SPANS_SHOWN])
    more = len(leak.spans) - _MAX_SPANS_SHOWN
    start, end = max(leak.spans, key=lambda span: span[1] - span[0])
    excerpt = " ".join(text[start : min(end, start + _MAX_EXCERPT_CHARS)].split())
    shortened = "…" if end - start > _MAX_EXCERPT_CHARS else ""
    grams = "n-gram" if leak.num_ngrams == 1 else "n-grams"
    return (
        f'{leak.num_ngrams} {grams} at chars {shown}{f" and {more} more" if more > 0 else ""}: "{excerpt}{shortened}"'
    )
