"""The probability of a label by a fastText classifier: quality, toxicity, or whatever it was trained to tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from transforms.base import Map, Params, append_columns, append_fields
from transforms.registry import register
from transforms.text.classifier_words import LABEL
from transforms.text.fasttext_model import FastText


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
    """Adds P(label) as fastText reports it, float64; null for a row without any word the
    classifier knows. `select.range` decides.

    The text is read as in training (`transforms.text.classifier_words.one_line`). DCLM's classifier (Li et al. 2024,
    arXiv 2406.11794) goes with `{column: score.quality, min: 0.018112, reason: low_quality}`; one of toxic texts with
    `column: score.toxicity` here, and there `max: 0.4, reason: toxic`.
    """

    Params = FasttextScoreParams

    def __init__(self, params: FasttextScoreParams) -> None:
        super().__init__(params)
        self._model: FastText | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_model": None}

    def setup(self) -> None:
        if self._model is None:
            self._model = FastText.load(self.params.model, self.name)
            self._model.place_of(self.params.label.removeprefix(LABEL), self.name)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, [self._field()])

    def map(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self.setup()
        assert self._model is not None
        at = self._model.place_of(self.params.label.removeprefix(LABEL), self.name)
        scores = self._model.scores_of(batch.column("text"), at, unicode_spaces=True).astype(np.float64)
        return append_columns(batch, [(self._field(), pa.array(scores, pa.float64(), mask=np.isnan(scores)))])

    def _field(self) -> pa.Field:
        return pa.field(self.params.column, pa.float64())
