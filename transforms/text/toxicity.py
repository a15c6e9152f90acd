"""Flagged words, counted by language; documents that have too many are rejected."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pydantic import Field, model_validator

from schemas.errors import RecipeError
from transforms.base import Outcome, Params, Transform, Verdicts, append_columns, append_fields, partition
from transforms.registry import register
from transforms.text.language_codes import Code, code_of
from transforms.text.toxicity_lists import (
    UNSPACED,
    WordList,
    Words,
    fold,
    num_words,
    own_lists,
    read_lists,
    word_list,
)

_FIELDS = (pa.field("toxicity.flagged_words", pa.int32()), pa.field("toxicity.flagged_ratio", pa.float64()))
_LANG = "text.lang"


class ToxicityParams(Params):
    """Which words, and how many are too many; null switches a limit off."""

    #: a folder of lists, one file a language, as LDNOOBW's (en, de, zh, …), or one such file; null: a small list of
    #: our own in 20 languages
    lists: str | None = None
    #: which languages' lists apply to every row; null: that of the row's `text.lang`, all lists where it has none
    languages: tuple[Code, ...] | None = None
    #: entries that count for nothing, by language. Those of C4 (TFDS c4_utils), which LDNOOBW has but which are too
    #: common in harmless text
    allow: dict[Code, tuple[str, ...]] = Field(default={"ja": ("sm", "グロ", "女の子"), "zh": ("性",)})
    #: flagged words / words, closed: OBELICS' bound (Laurençon et al. 2023, arXiv 2306.16527)
    max_flagged_ratio: float | None = Field(default=0.01, ge=0, le=1)
    #: 0 is C4's rule (Raffel et al. 2020, arXiv 1910.10683): one such word costs the page
    max_flagged_words: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _languages_given(self) -> ToxicityParams:
        if self.languages is not None and not self.languages:
            raise ValueError("languages is empty: no list would apply; null means the row's own")
        return self


@register("text.toxicity", version=2)
class Toxicity(Transform[ToxicityParams]):
    """Adds `toxicity.flagged_words` and `toxicity.flagged_ratio`, and rejects rows above either limit.

    An entry counts as whole words, in any case; in Japanese, Thai, Chinese, Lao, Khmer and Burmese anywhere, and the
    ratio there is of letters. Put `text.language` before this, so that each row meets the list of its language: words
    of one language are innocent in another. A list says nothing about what is said politely; a classifier's score is
    `text.fasttext_score` with `column: score.toxicity`, and `select.range` decides (`max: 0.4, reason: toxic`). With
    both limits null this only counts.
    """

    Params = ToxicityParams
    reasons = frozenset({"too_many_flagged_words"})

    def __init__(self, params: ToxicityParams) -> None:
        super().__init__(params)
        self._lists: dict[str, WordList] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_lists": {}}

    def setup(self) -> None:
        if self._lists:
            return
        given = own_lists() if self.params.lists is None else read_lists(self.params.lists)
        allow = self.params.allow
        self._lists = {code: word_list(code, entries, allow.get(code, ())) for code, entries in sorted(given.items())}
        absent = sorted(set(self._codes(None)) - set(self._lists))
        if absent:
            known = ", ".join(self._lists)
            raise RecipeError(f"text.toxicity: there is no list for {', '.join(absent)}; there are lists for {known}")

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, _FIELDS)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        self.setup()
        texts = batch.column("text").to_pylist()
        langs = batch.column(_LANG).to_pylist() if _LANG in batch.schema.names else [None] * len(texts)
        found = [self._count(Words(fold(text)), self._codes(lang)) for text, lang in zip(texts, langs, strict=True)]
        columns = ([count for count, _, _ in found], [ratio for _, ratio, _ in found])
        batch = append_columns(batch, list(zip(_FIELDS, columns, strict=True)))
        details = [self._fault(*row) for row in found]
        reasons = [None if detail is None else "too_many_flagged_words" for detail in details]
        return partition(batch, Verdicts(reasons, details))

    def _codes(self, lang: str | None) -> list[str]:
        """The languages whose lists apply to a row."""
        if self.params.languages is not None:
            return list(self.params.languages)
        return list(self._lists) if lang is None else [code_of(lang)]

    def _count(self, text: Words, codes: list[str]) -> tuple[int, float, str | None]:
        """(flagged entries, their share of the text's words, the first).

        With lists of spaced and unspaced languages at once, each share is of its own unit, and the shares add up.
        """
        hits, ratio, first = 0, 0.0, None
        for unspaced in (False, True):
            size = 0
            for code in codes:
                if code in self._lists and (code in UNSPACED) == unspaced:
                    more, words, entry = self._lists[code].count(text)
                    hits, size, first = hits + more, size + words, first or entry
            if size:
                ratio += size / max(1, num_words(text, unspaced))
        return hits, min(1.0, ratio), first

    def _fault(self, hits: int, ratio: float, first: str | None) -> str | None:
        """What is above its limit, None when nothing is."""
        most, share = self.params.max_flagged_words, self.params.max_flagged_ratio
        if most is not None and hits > most:
            return f"flagged_words {hits} > {most}; the first: {first}"
        if share is not None and ratio > share:
            return f"flagged_ratio {ratio:.4f} > {share:g}; {hits} flagged words, the first: {first}"
        return None
