"""Keeps a random share of the rows: the same rows on every run, in any order, on any number of workers."""

from __future__ import annotations

import pyarrow as pa
import xxhash
from pydantic import Field

from transforms.base import Filter, Params, Verdicts
from transforms.registry import register

_RANGE = 2**64


class SelectSampleParams(Params):
    """Which share to keep, and the seed of the draw."""

    fraction: float = Field(ge=0, le=1)
    #: null: the recipe's. Two samples drawn with one seed are nested, not independent; give the second its own.
    seed: int | None = None


@register("select.sample", version=1)
class SelectSample(Filter[SelectSampleParams]):
    """Keeps a row when xxh3_64(id, seed) lies below fraction * 2^64."""

    Params = SelectSampleParams
    reasons = frozenset({"not_sampled"})

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        limit = round(self.params.fraction * _RANGE)
        seed = self.params.seed or 0
        drawn = (draw(name, seed) for name in batch.column("id").to_pylist())
        return Verdicts([None if value < limit else "not_sampled" for value in drawn])


def draw(name: str, seed: int) -> int:
    """An integer in [0, 2^64) that depends on the id and the seed alone."""
    return int(xxhash.xxh3_64_intdigest(name.encode(), seed=seed % _RANGE))
