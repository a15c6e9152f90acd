"""Pairs whose sides are in the wrong language, or in the same words."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import regex
from pydantic import Field

from schemas.sample import SENTINEL
from transforms.base import Filter, Params, Verdicts, append_columns, append_fields
from transforms.pair.sides import SOURCE_LANG, TARGET_LANG, require_pairs, side_texts
from transforms.registry import register
from transforms.text.language import LID176, load_model

_LABEL = "__label__"
_FIELDS = tuple(
    pa.field(f"pair.{name}", pa.float64()) for name in ("source_lang_score", "target_lang_score", "copied_ratio")
)
#: labels that name one language, or written forms too near for a sentence to tell apart
_ONE_LANGUAGE = (
    {"no", "nb", "nn", "da"},
    {"sh", "hr", "bs", "sr"},
    {"id", "ms"},
    {"zh", "yue", "wuu"},
    {"tl", "fil"},
    {"fa", "prs", "tg"},
)
_NUM_LABELS = 5
_GRAM = 4
#: only so many letters of a side are looked at for copies
_MAX_LETTERS = 10_000
_LETTERS = regex.compile(r"[\p{L}\p{M}]+")


class PairLanguageParams(Params):
    """How sure to be of each side's language, and how much of it may be the other side's."""

    #: `lid.176` or a path to a fastText model, as in text.language
    model: str = LID176
    #: least probability of the expected language (Granary, Koluguri et al. 2025); close relatives count for each other
    min_score: float = Field(default=0.3, ge=0, le=1)
    #: a side with fewer letters is too short to tell its language
    min_letters: int = Field(default=40, ge=0)
    #: share of the shorter side's letter 4-grams that are in the other side too
    max_copied_ratio: float = Field(default=0.7, ge=0, le=1)


@register("pair.language", version=1)
class PairLanguage(Filter[PairLanguageParams]):
    """Adds `pair.source_lang_score` and `pair.target_lang_score` (probability of the expected language, null when none
    is expected or the side is too short) and `pair.copied_ratio`; judges the copy first.

    A language that the model has no label for has no probability: leave it out of pair.split, and it is not asked for.
    """

    Params = PairLanguageParams
    reasons = frozenset({"untranslated", "wrong_source_language", "wrong_target_language"})

    def __init__(self, params: PairLanguageParams) -> None:
        super().__init__(params)
        self._model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_model": None}

    def setup(self) -> None:
        if self._model is None:
            self._model = load_model(self.params.model)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        require_pairs(schema, "pair.language")
        return append_fields(schema, _FIELDS)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self.setup()
        langs = (batch.column(field.name).to_pylist() for field in (SOURCE_LANG, TARGET_LANG))
        rows = [
            (None, None, None)
            if pair is None
            else (self._score(pair[0], source), self._score(pair[1], target), copied_ratio(*pair))
            for pair, source, target in zip(side_texts(batch), *langs, strict=True)
        ]
        columns = [[row[at] for row in rows] for at in range(len(_FIELDS))]
        return append_columns(batch, list(zip(_FIELDS, columns, strict=True)))

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        reasons: list[str | None] = []
        details: list[str | None] = []
        columns = (batch.column(field.name).to_pylist() for field in (*_FIELDS, SOURCE_LANG, TARGET_LANG))
        for source, target, copied, source_lang, target_lang in zip(*columns, strict=True):
            reason = detail = None
            if copied is not None and copied > self.params.max_copied_ratio:
                reason, detail = "untranslated", f"{copied:.3f} of the letters are the other side's"
            elif source is not None and source < self.params.min_score:
                reason, detail = "wrong_source_language", f"{source_lang} {source:.3f} < {self.params.min_score:g}"
            elif target is not None and target < self.params.min_score:
                reason, detail = "wrong_target_language", f"{target_lang} {target:.3f} < {self.params.min_score:g}"
            reasons.append(reason)
            details.append(detail)
        return Verdicts(reasons, details)

    def _score(self, text: str, lang: str | None) -> float | None:
        """The probability of `lang` among the model's first labels; 0 when it is not there."""
        line = " ".join(text.replace(SENTINEL, " ").split())
        if lang is None or sum(map(len, _LETTERS.findall(line))) < self.params.min_letters:
            return None
        wanted = next((group for group in _ONE_LANGUAGE if lang in group), {lang})
        labels, scores = self._model.predict(line, k=_NUM_LABELS)
        found = sum(
            float(score) for label, score in zip(labels, scores, strict=True) if label.removeprefix(_LABEL) in wanted
        )
        return min(found, 1.0)


def copied_ratio(source: str, target: str) -> float | None:
    """Share of the letter 4-grams of the side with fewer of them that the other side has as often.

    Letters are case folded and taken without what stands between them; a side with fewer than 4 is one gram. None when
    a side has no letters.
    """
    grams = [_grams(source), _grams(target)]
    short, long = sorted(grams, key=Counter.total)
    return (short & long).total() / short.total() if short else None


def _grams(text: str) -> Counter[str]:
    letters = "".join(_LETTERS.findall(text))[:_MAX_LETTERS].casefold()
    size = min(_GRAM, len(letters))
    return Counter(letters[at : at + size] for at in range(len(letters) - size + 1)) if size else Counter()
