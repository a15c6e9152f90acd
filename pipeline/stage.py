"""One stage over one work unit: read, judge, commit. The work a runner distributes; a plain function of its task."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.dedup.records import keys_schema, signed_batch
from pipeline.engine import ERROR, Judged, LostRowsError, run_steps
from pipeline.ledger import rejected_rows
from pipeline.plan import Plan, StageKey, StagePlan
from pipeline.rows import survivors
from pipeline.storage import committed, write_bytes
from pipeline.units import Unit
from pipeline.workdir import UnitFiles, unit_files
from schemas.errors import SluiceError
from transforms.tokens.encode import Encode

BATCH_ROWS = 1024
BATCH_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class StageTask:
    """What a worker needs for one unit's stage. `previous` and `drops` are files of the stage before (None at 0)."""

    key: StageKey
    work: str
    unit: Unit
    fingerprint: str
    previous: str | None = None
    drops: str | None = None

    def __str__(self) -> str:
        return f"{self.unit.label} from {self.unit.start} to {self.unit.stop or 'its end'}"


@dataclass
class _Tally:
    rows_in: int = 0
    rows_kept: int = 0
    tokens: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    rows_dropped: int = 0
    keys: Counter[str] = field(default_factory=Counter)


def run_stage(task: StageTask) -> dict[str, Any]:
    """Runs one stage over one unit and commits its files; a unit that is already committed is not run again.

    Returns the marker's counts: `unit`; `rows_in` (what the steps were given), `rows_dropped` (what global steps had
    taken before them), `rows_kept`, `tokens`; by step `seen` and `errors` (rows it judged, and raised on) and `keys`;
    `tokenizer_engine` of the stage that encodes.
    """
    files = unit_files(Path(task.work), task.key.stage, task.fingerprint)
    done = files.counts()
    if done is not None:
        return done
    plan, stage = task.key.plan(), task.key.ready()
    files.folder.mkdir(parents=True, exist_ok=True)
    tally = _Tally()
    with ExitStack() as stack:
        kept = _writer(stack, files.kept, stage.schema)
        ledger = _writer(stack, files.ledger, plan.ledger)
        keys = {label: _writer(stack, files.keys(label), keys_schema(step)) for label, step in stage.dedups}
        for judged in _judged(task, plan, stage, tally):
            for label, rows in judged.rejected:
                ledger.write_batch(rejected_rows(label, rows, plan.ledger))
            tally.seen.update(judged.seen)
            tally.errors.update(judged.errors)
            batch = judged.kept
            if not batch.num_rows:
                continue
            for label, step in stage.dedups:
                signed = signed_batch(step, batch, tally.rows_kept)
                keys[label].write_batch(signed)
                tally.keys[label] += signed.num_rows
            kept.write_batch(batch)
            tally.rows_kept += batch.num_rows
            if "tokens.count" in batch.schema.names:
                tally.tokens += int(np.sum(batch.column("tokens.count").to_numpy(zero_copy_only=False)))
    counts = {
        "unit": task.unit.number,
        "rows_in": tally.rows_in,
        "rows_kept": tally.rows_kept,
        "tokens": tally.tokens,
        "rows_dropped": tally.rows_dropped,
        "seen": dict(tally.seen),
        "errors": dict(tally.errors),
        "keys": dict(tally.keys),
        "tokenizer_engine": next((s.transform.engine for s in stage.steps if isinstance(s.transform, Encode)), None),
    }
    write_bytes(files.marker, json.dumps(counts).encode())
    return counts


def _judged(task: StageTask, plan: Plan, stage: StagePlan, tally: _Tally) -> Iterator[Judged]:
    """Batches through the stage's steps, with what the source or the global steps rejected before them."""
    full = plan.recipe.output.ledger == "full"
    if task.key.stage == 0:
        label, source = plan.sources[task.unit.input]
        for outcome in source.read(task.unit.span(), BATCH_ROWS, BATCH_BYTES):
            tally.rows_in += outcome.kept.num_rows + outcome.rejected.column("reject.part").null_count
            judged = run_steps(stage.steps, outcome.kept, score_rejected=full)
            if outcome.rejected.num_rows:
                judged.rejected.insert(0, (label, outcome.rejected))
            yield judged
        return
    if task.previous is None:
        raise AssertionError(f"stage {task.key.stage} of unit {task.unit.number} has no stage before it")
    for part in survivors(UnitFiles(Path(task.previous)).kept, task.drops):
        tally.rows_in += part.batch.num_rows
        tally.rows_dropped += sum(rows.column("reject.part").null_count for _, rows in part.rejected)
        judged = run_steps(stage.steps, part.batch, score_rejected=full)
        judged.rejected = part.rejected + judged.rejected
        yield judged


def _writer(stack: ExitStack, path: Path, schema: pa.Schema) -> Any:
    temporary = stack.enter_context(committed(path))
    sink = stack.enter_context(pa.OSFile(str(temporary), "wb"))
    return stack.enter_context(pa.ipc.new_file(sink, schema))


def check_stage(before: list[dict[str, Any]] | None, results: list[dict[str, Any]], max_ratio: float) -> None:
    """Raises LostRowsError when a unit's rows are not those its last stage kept, and SluiceError when a step raised on
    more than `max_ratio` of the rows it judged."""
    for previous, result in zip(before or [], results, strict=False):
        if previous["rows_kept"] != result["rows_in"] + result["rows_dropped"]:
            raise LostRowsError(f"unit {result['unit']} lost rows between stages: {previous} then {result}")
    seen: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for result in results:
        seen.update(result["seen"])
        errors.update(result["errors"])
    for label, count in sorted(errors.items()):
        if count > max_ratio * seen[label]:
            raise SluiceError(
                f"step {label} raised on {count} of the {seen[label]} rows it judged, more than max_error_ratio "
                f"{max_ratio}. Their reason is {ERROR!r}; rerun with a higher max_error_ratio to see them in the "
                "ledger. Mend the step or its input"
            )
