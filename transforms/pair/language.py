"""Pairs whose sides are in the wrong language, or in the same words."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import regex
from pydantic import Field

from transforms.base import Filter, Params, Verdicts, append_columns, append_fields
from transforms.pair.sides import NAMES, SOURCE_LANG, TARGET_LANG, require_pairs, side, side_texts
from transforms.registry import register
from transforms.text.fasttext_model import FastText
from transforms.text.language import LID176, load_model
from transforms.text.language_codes import names_of

_FIELDS = tuple(
    pa.field(f"pair.{name}", pa.float64()) for name in ("source_lang_score", "target_lang_score", "copied_ratio")
)
#: languages, by text.language's names, that are too near for a sentence to tell apart
_RELATIVES = ({"no", "nb", "nn", "da"}, {"sh", "hr", "bs", "sr"}, {"id", "ms"}, {"zh", "yue", "wuu"})
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

    A language that the model has no label for is not asked for.
    """

    Params = PairLanguageParams
    reasons = frozenset({"untranslated", "wrong_source_language", "wrong_target_language"})

    def __init__(self, params: PairLanguageParams) -> None:
        super().__init__(params)
        self._model: FastText | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"params": self.params, "_model": None}

    def setup(self) -> None:
        if self._model is None:
            model = load_model(self.params.model)
            self._names = [names_of(label) for label in model.labels]
            self._model = model

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        require_pairs(schema, "pair.language")
        return append_fields(schema, _FIELDS)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self.setup()
        scores = [
            self._scores(side(batch, name), batch.column(field.name).to_pylist())
            for name, field in zip(NAMES, (SOURCE_LANG, TARGET_LANG), strict=True)
        ]
        copied = [None if pair is None else copied_ratio(*pair) for pair in side_texts(batch)]
        return append_columns(batch, list(zip(_FIELDS, (*scores, copied), strict=True)))

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

    def _scores(self, texts: pa.Array, langs: list[str | None]) -> list[float | None]:
        """The probability of each row's language; None where it cannot be told."""
        assert self._model is not None
        found = self._model.predict(pc.fill_null(texts, ""), _NUM_LABELS, unicode_spaces=True)
        places = {lang: self._places(lang) for lang in set(langs) if lang is not None}
        scores: list[float | None] = []
        for text, lang, labels, shares in zip(texts.to_pylist(), langs, found.labels, found.scores, strict=True):
            wanted = places.get(lang, []) if lang is not None else []
            if not text or not wanted or sum(map(len, _LETTERS.findall(text))) < self.params.min_letters:
                scores.append(None)
            else:
                scores.append(min(float(shares[np.isin(labels, wanted)].sum()), 1.0))
        return scores

    def _places(self, lang: str) -> list[int]:
        """The model's labels of a language and its relatives; none when it does not know the language."""
        if not any(lang in of_label for of_label in self._names):
            return []
        wanted = {lang}.union(*(group for group in _RELATIVES if group & names_of(lang)))
        return [place for place, of_label in enumerate(self._names) if of_label & wanted]


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
