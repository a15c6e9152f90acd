"""Kept rows of a finished stage, less what global steps dropped from them, and with the spans they found in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.storage import map_arrow
from pipeline.workdir import read_drops
from schemas.reject import REJECT_FIELDS, rejected_schema
from transforms.base import append_columns
from transforms.dedup.spans import SPANS
from transforms.parts import part_rows, remove_parts


@dataclass(frozen=True, slots=True)
class Survivors:
    """One batch of a stage's kept rows: `rows` [n] are their numbers in the unit's kept file; `rejected` holds, by
    step label, the rows and parts that global steps took. Where one found spans of text to remove, the batch has the
    column SPANS, for that step to go on with (transforms.dedup.spans)."""

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
    of_spans = drops.column("spans").is_valid()
    found, drops = drops.filter(of_spans), drops.filter(pc.invert(of_spans))
    at = drops.column("row").to_numpy().astype(np.int64) - rows[0]
    parts = drops.column("part").to_numpy()
    media = batch.column("media")
    parent = np.repeat(np.arange(batch.num_rows), media.value_lengths().to_numpy(zero_copy_only=False))
    index = media.flatten().field("index").to_numpy(zero_copy_only=False)
    place = {pair: k for k, pair in enumerate(zip(parent.tolist(), index.tolist(), strict=True))}
    flat = np.asarray([place.get(pair, -1) for pair in zip(at.tolist(), parts.tolist(), strict=True)], np.int64)
    labels = np.asarray(drops.column("label").to_pylist())
    rejected = []
    for label in dict.fromkeys(labels.tolist()):
        for of_parts in (False, True):
            chosen = np.flatnonzero((labels == label) & ((parts >= 0) == of_parts))
            if len(chosen):
                taken = part_rows(batch, at[chosen], flat[chosen]) if of_parts else batch.take(pa.array(at[chosen]))
                rejected.append((label, _with_reasons(taken, drops.take(pa.array(chosen)), of_parts)))
    keep = np.ones(batch.num_rows, bool)
    keep[at[parts < 0]] = False
    survived = remove_parts(batch, flat[parts >= 0]) if (parts >= 0).any() else batch
    if found.num_rows:
        survived = append_columns(survived, [(SPANS, _spans(found, rows))])
    return Survivors(survived.filter(pa.array(keep)), rows[keep], rejected)


def _spans(found: pa.Table, rows: np.ndarray) -> pa.Array:
    """The spans found in each of some rows, null where there are none."""
    place = np.full(len(rows), -1)
    place[found.column("row").to_numpy().astype(np.int64) - rows[0]] = np.arange(found.num_rows)
    return found.column("spans").combine_chunks().take(pa.array(place, mask=place < 0))


def _with_reasons(taken: pa.RecordBatch, drops: pa.Table, of_parts: bool) -> pa.RecordBatch:
    part = drops.column("part").combine_chunks() if of_parts else pa.nulls(taken.num_rows, pa.int32())
    why = [part, *(drops.column(name).combine_chunks() for name in ("reason", "detail", "match_id"))]
    columns = [*taken.columns, *(c.cast(f.type) for c, f in zip(why, REJECT_FIELDS, strict=True))]
    return pa.RecordBatch.from_arrays(columns, schema=rejected_schema(taken.schema))
