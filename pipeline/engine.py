"""Runs a recipe's local steps over batches. Knows no Beam, no files.

Every batch is checked for conservation (rows in = kept + rejected), a row that makes a step raise is isolated by
halving and rejected with the reason `error`, and signals are computed when a step first needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.reject import REJECT_COLUMNS, REJECT_FIELDS
from schemas.sample import SAMPLE
from transforms.base import Explode, Outcome, Transform, Verdicts, append_columns, append_fields, partition
from transforms.signals import compute_signals, signal_field

#: the reason of a row that made a step raise
ERROR = "error"
_ORDER = pa.field("sluice.order", pa.int64())
_GUARD = pa.field("sluice.guard", pa.int64())


class LostRowsError(AssertionError):
    """Rows in are not kept + rejected: a defect of ours, never of the input."""


@dataclass(frozen=True)
class Step:
    """A local step of a recipe: its place (`label`, as the ledger shows it), its transform, and its guard."""

    label: str
    transform: Transform
    modalities: frozenset[str] | None = None


@dataclass
class Judged:
    """What the steps made of one batch: kept rows, and rejected rows by step label."""

    kept: pa.RecordBatch
    rejected: list[tuple[str, pa.RecordBatch]] = field(default_factory=list)
    #: by step label: rows the step judged, and those of them that made it raise
    seen: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)


def modality(batch: pa.RecordBatch) -> np.ndarray:
    """Each row's modality: text, image or audio when its parts are all of that kind (a caption counts with its
    image), else mixed. Shape [rows], dtype object."""
    media = batch.column("media")
    kinds = media.flatten().field("kind")
    rows = pc.list_parent_indices(media).to_numpy(zero_copy_only=False)
    has = {}
    for kind in ("image", "audio"):
        chosen = np.asarray(pc.equal(kinds, kind).to_numpy(zero_copy_only=False), bool)
        has[kind] = np.bincount(rows[chosen], minlength=batch.num_rows) > 0
    found = np.full(batch.num_rows, "text", object)
    found[has["image"]] = "image"
    found[has["audio"]] = "audio"
    found[has["image"] & has["audio"]] = "mixed"
    return found


def signal_plan(steps: Sequence[Step]) -> list[list[str]]:
    """For every step, the signals to compute before it: when one it reads is missing or stale (the text was edited
    since), all that it and later steps read until the next edit, so that one pass serves them all."""
    plan: list[list[str]] = []
    fresh: set[str] = set()
    for at, step in enumerate(steps):
        wanted: set[str] = set()
        if not fresh.issuperset(step.transform.signals()):
            for later in steps[at:]:
                wanted |= set(later.transform.signals())
                if later.transform.edits_text:
                    break
        plan.append(sorted(wanted - fresh))
        fresh = set() if step.transform.edits_text else fresh | wanted
    return plan


def steps_schema(steps: Sequence[Step], schema: pa.Schema = SAMPLE) -> pa.Schema:
    """Walks a schema through the steps, signals included; raises SchemaError where a step lacks a column."""
    for step, columns in zip(steps, signal_plan(steps), strict=True):
        schema = step.transform.output_schema(append_fields(schema, [signal_field(c) for c in columns]))
    return schema


def run_steps(steps: Sequence[Step], batch: pa.RecordBatch, *, score_rejected: bool = False) -> Judged:
    """Runs a batch through the steps. With `score_rejected`, rejected rows go on being scored (ledger: full): a row
    keeps its first verdict and gains the later steps' columns."""
    judged = Judged(batch)
    for step, columns in zip(steps, signal_plan(steps), strict=True):
        judged.seen[step.label] = judged.kept.num_rows
        outcome, errors = _guarded(step, compute_signals(judged.kept, columns))
        if score_rejected:
            judged.rejected = [(label, _score(step, columns, rows)) for label, rows in judged.rejected]
        judged.kept = outcome.kept
        if outcome.rejected.num_rows:
            judged.rejected.append((step.label, outcome.rejected))
        if errors:
            judged.errors[step.label] = errors
    return judged


def _score(step: Step, columns: list[str], rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rejected rows as a later step leaves them: with its columns, its edits and its verdict forgotten."""
    if rows.column("reject.part").null_count < rows.num_rows or isinstance(step.transform, Explode):
        return rows
    inputs = rows.select([name for name in rows.schema.names if name not in REJECT_COLUMNS])
    inputs = append_columns(inputs, [(_ORDER, np.arange(rows.num_rows))])
    outcome, _ = _guarded(step, compute_signals(inputs, columns))
    whole = outcome.rejected.filter(outcome.rejected.column("reject.part").is_null())
    sides = [outcome.kept, whole.select(outcome.kept.schema.names)]
    scored = one_batch(pa.Table.from_batches(sides).sort_by(_ORDER.name).drop_columns([_ORDER.name]))
    return append_columns(scored, [(field, rows.column(field.name)) for field in REJECT_FIELDS])


def _guarded(step: Step, batch: pa.RecordBatch) -> tuple[Outcome, int]:
    """Applies a step to the rows its guard names; the others pass with nulls in the step's columns."""
    if step.modalities is None:
        return apply_isolated(step, batch)
    mask = np.isin(modality(batch), list(step.modalities))
    if mask.all():
        return apply_isolated(step, batch)
    ordered = append_columns(batch, [(_GUARD, np.arange(batch.num_rows))])
    outcome, errors = apply_isolated(step, ordered.filter(pa.array(mask)))
    passed = _with_nulls(ordered.filter(pa.array(~mask)), outcome.kept.schema)
    merged = pa.Table.from_batches([outcome.kept, passed]).sort_by(_GUARD.name).drop_columns([_GUARD.name])
    rejected = pa.Table.from_batches([outcome.rejected]).drop_columns([_GUARD.name])
    return Outcome(one_batch(merged), one_batch(rejected)), errors


def apply_isolated(step: Step, batch: pa.RecordBatch) -> tuple[Outcome, int]:
    """Applies a step; when it raises, halves the batch until the bad row stands alone, and rejects it as `error`.

    Returns the outcome and the number of rows that raised. A wrong row count is our own defect and raises.
    """
    try:
        outcome = step.transform.apply(batch)
    except (AssertionError, KeyboardInterrupt):
        raise
    except Exception as error:
        if batch.num_rows > 1:
            half = batch.num_rows // 2
            first, bad_first = apply_isolated(step, batch.slice(0, half))
            second, bad_second = apply_isolated(step, batch.slice(half))
            kept = one_batch(pa.Table.from_batches([first.kept, second.kept]))
            rejected = one_batch(pa.Table.from_batches([first.rejected, second.rejected]))
            return Outcome(kept, rejected), bad_first + bad_second
        if batch.num_rows == 0:
            raise
        padded = _with_nulls(batch, step.transform.output_schema(batch.schema))
        return partition(padded, Verdicts([ERROR], [f"{type(error).__name__}: {error}"[:500]])), 1
    if isinstance(step.transform, Explode):
        lost = set(batch.column("source").to_pylist()).difference(
            outcome.kept.column("source").to_pylist(), outcome.rejected.column("source").to_pylist()
        )
        if lost:
            raise LostRowsError(f"{step.label} lost rows: {', '.join(sorted(lost))[:500]}")
    else:
        whole = outcome.rejected.column("reject.part").null_count
        if outcome.kept.num_rows + whole != batch.num_rows:
            raise LostRowsError(
                f"{step.label} lost rows: {batch.num_rows} in, {outcome.kept.num_rows} kept, {whole} rejected"
            )
    return outcome, 0


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """A table's rows as one batch."""
    batches = table.combine_chunks().to_batches()
    if batches:
        return batches[0]
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in table.schema], schema=table.schema)


def _with_nulls(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for column in schema:
        at = batch.schema.get_field_index(column.name)
        columns.append(batch.column(at) if at >= 0 else _blank(column, batch))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _blank(column: pa.Field, batch: pa.RecordBatch) -> pa.Array:
    """Nulls for a column a row never got; a part column still has one (null) entry a media part."""
    if (column.metadata or {}).get(b"sluice.per") != b"part":
        return pa.nulls(batch.num_rows, column.type)
    media = batch.column("media")
    lengths = pc.fill_null(pc.list_value_length(media), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.nulls(int(lengths.sum()), column.type.value_type), type=column.type)
