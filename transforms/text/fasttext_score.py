"""The probability of a label by a fastText classifier: quality, toxicity, or whatever it was trained to tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from schemas.errors import RecipeError
from transforms.base import Map, Params, append_columns, append_fields
from transforms.registry import register
from transforms.text.classifier_words import LABEL, one_line

#: a large_string column without nulls -> P(label) of each text, float64, NaN for one without words
Scorer = Callable[[pa.Array], np.ndarray]


class FasttextScoreParams(Params):
    """Which classifier, and where its score goes."""

    #: a path to a fastText classifier, .bin or .ftz, such as `sluice classifier train` writes
    model: str
    #: the label whose probability is the score, with or without `__label__`
    label: str = "hq"
    #: the column to add; one a classifier (`score.toxicity`)
    column: str = Field(default="score.quality", pattern=r"^score\.[a-z][a-z0-9_.]*$")


@register("text.fasttext_score", version=1)
class FasttextScore(Map[FasttextScoreParams]):
    """Adds P(label) as fastText reports it, float64; null for a row without text. `select.range` decides.

    The text is read as in training (`transforms.text.classifier_words.one_line`). DCLM's classifier (Li et al. 2024,
    arXiv 2406.11794) goes with `{column: score.quality, min: 0.018112, reason: low_quality}`; one of toxic texts with
    `column: score.toxicity` here, and there `max: 0.4, reason: toxic`.
    """

    Params = FasttextScoreParams

    def __init__(self, params: FasttextScoreParams) -> None:
        super().__init__(params)
        self._score: Scorer | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_score": None}

    def setup(self) -> None:
        if self._score is None:
            self._score = load_scorer(self.params.model, self.params.label)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, [self._field()])

    def map(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self.setup()
        assert self._score is not None
        scores = self._score(batch.column("text"))
        return append_columns(batch, [(self._field(), pa.array(scores, pa.float64(), mask=np.isnan(scores)))])

    def _field(self) -> pa.Field:
        return pa.field(self.params.column, pa.float64())


def load_scorer(path: str, label: str) -> Scorer:
    """What scores texts by the classifier at `path`; raises RecipeError when it cannot be read or has no such label.

    The one place that knows which library runs the model.
    """
    import fasttext

    if not Path(path).is_file():
        raise RecipeError(f"text.fasttext_score: there is no model file {path!r}; `sluice classifier train` makes one")
    try:
        model = fasttext.load_model(path)
        known, _ = model.predict("", k=-1)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise RecipeError(f"text.fasttext_score: {path!r} is not a fastText classifier ({error})") from error
    wanted = LABEL + label.removeprefix(LABEL)
    if known and wanted not in known:
        raise RecipeError(f"text.fasttext_score: {path!r} has no label {label!r}; it has {', '.join(sorted(known))}")

    def score(text: str) -> float:
        line = one_line(text)
        found = dict(zip(*model.predict(line, k=-1), strict=True)) if line else {}
        return min(found.get(wanted, np.nan), 1.0)  # it reports P + 1e-5

    return lambda texts: np.array([score(text) for text in texts.to_pylist()], np.float64)
