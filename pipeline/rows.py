"""Kept rows of a finished stage, less what global steps dropped from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.storage import map_arrow
from pipeline.workdir import read_drops
from schemas.reject import REJECT_FIELDS, rejected_schema
from transforms.parts import remove_parts


@dataclass(frozen=True, slots=True)
class Survivors:
    """One batch of a stage's kept rows: `rows` [n] are their numbers in the unit's kept file; `rejected` holds, by
    step label, the rows and parts that global steps took."""

    batch: pa.RecordBatch
    rows: np.ndarray
    rejected: list[tuple[str, pa.RecordBatch]]


def survivors(kept: str | Path, drops: str | None) -> Iterator[Survivors]:
    """Reads a unit's kept rows batch by batch, applying its drops."""
    table = read_drops(drops)
    taken = table.column("row").to_numpy()
    start = 0
    for batch in map_arrow(kept):
        here = table.filter(pa.array((taken >= start) & (taken < start + batch.num_rows)))
        rows = np.arange(start, start + batch.num_rows)
        start += batch.num_rows
        yield _apply(batch, rows, here) if here.num_rows else Survivors(batch, rows, [])


def _apply(batch: pa.RecordBatch, rows: np.ndarray, drops: pa.Table) -> Survivors:
    at = drops.column("row").to_numpy().astype(np.int64) - rows[0]
    parts = drops.column("part").to_numpy()
    labels = np.asarray(drops.column("label").to_pylist())
    rejected = []
    for label in dict.fromkeys(labels.tolist()):
        chosen = np.flatnonzero(labels == label)
        taken = batch.take(pa.array(at[chosen]))
        which = pa.array(parts[chosen], pa.int32(), mask=parts[chosen] < 0)
        pick = drops.take(pa.array(chosen)).combine_chunks()
        why = [pick.column(name).combine_chunks() for name in ("reason", "detail", "match_id")]
        columns = [*taken.columns, *(c.cast(f.type) for c, f in zip([which, *why], REJECT_FIELDS, strict=True))]
        rejected.append((label, pa.RecordBatch.from_arrays(columns, schema=rejected_schema(batch.schema))))
    removed = set(zip(at[parts >= 0].tolist(), parts[parts >= 0].tolist(), strict=True))
    if removed:
        media = batch.column("media")
        index = media.flatten().field("index").to_numpy(zero_copy_only=False)
        parent = np.repeat(np.arange(batch.num_rows), media.value_lengths().to_numpy(zero_copy_only=False))
        flat = [k for k, pair in enumerate(zip(parent.tolist(), index.tolist(), strict=True)) if pair in removed]
        batch = remove_parts(batch, np.asarray(flat, np.int64))
    keep = np.ones(batch.num_rows, bool)
    keep[at[parts < 0]] = False
    return Survivors(batch.filter(pa.array(keep)), rows[keep], rejected)
