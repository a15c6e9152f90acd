"""Rows that must hold media: a caption whose picture was removed is no caption pair any more."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pydantic import Field

from transforms.base import Filter, Params, Verdicts
from transforms.parts import Parts
from transforms.registry import register


class SelectMediaParams(Params):
    """Parameters of select.media: how many parts of each kind a row must still hold."""

    min_images: int = Field(default=0, ge=0)
    min_audios: int = Field(default=0, ge=0)
    #: media parts of any kind
    min_parts: int = Field(default=1, ge=0)


@register("select.media", version=1)
class SelectMedia(Filter[SelectMediaParams]):
    """Rejects rows that hold fewer media parts than asked; use it after steps that remove parts."""

    Params = SelectMediaParams
    reasons = frozenset({"too_few_images", "too_few_audios", "too_few_parts"})

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        images, audios = (
            np.bincount(Parts.of(batch, kind).row, minlength=batch.num_rows) for kind in ("image", "audio")
        )
        params = self.params
        rules = (
            ("too_few_images", images, params.min_images),
            ("too_few_audios", audios, params.min_audios),
            ("too_few_parts", images + audios, params.min_parts),
        )
        reasons: list[str | None] = [None] * batch.num_rows
        details: list[str | None] = [None] * batch.num_rows
        for reason, counts, least in rules:
            for row in np.flatnonzero(counts < least):
                if reasons[row] is None:
                    reasons[row], details[row] = reason, f"{counts[row]} < {least}"
        return Verdicts(reasons, details)
