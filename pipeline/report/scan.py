"""One streaming pass over the ledger: counts, examples and distributions for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from pipeline.report.close_calls import CloseCalls
from pipeline.report.contamination import Contamination
from pipeline.report.picks import Picks
from pipeline.report.recount import LedgerCheck
from pipeline.report.sketch import Sketch
from pipeline.report.tally import LANGUAGE, read_ledger
from schemas.ledger import KEPT, LEDGER_COLUMNS
from transforms.dedup.base import DUPLICATE

#: examples shown of every (step, reason)
REASON_EXAMPLES = 3
KEPT_EXAMPLES = 12
#: (step) -> pairs of a removed row and the row it duplicates
PAIR_EXAMPLES = 6
#: quantities every ledger has; the score columns come on top
BASICS = ("num_chars", "num_media_bytes")


@dataclass
class Scan:
    """What one pass over the ledger found."""

    check: LedgerCheck = field(default_factory=LedgerCheck)
    rejected: Picks = field(default_factory=lambda: Picks(REASON_EXAMPLES, 0))
    kept: Picks = field(default_factory=lambda: Picks(KEPT_EXAMPLES, 0))
    pairs: Picks = field(default_factory=lambda: Picks(PAIR_EXAMPLES, 0))
    sketches: dict[str, Sketch] = field(default_factory=dict)
    contamination: Contamination = field(default_factory=Contamination)
    close_calls: CloseCalls = field(default_factory=CloseCalls)
    lines: int = 0


def scan_ledger(paths: Sequence[str | Path], seed: int) -> Scan:
    """Streams the ledger once; `seed` draws the examples. Raises SchemaError on a damaged or unsound ledger."""
    scan = Scan(
        rejected=Picks(REASON_EXAMPLES, seed), kept=Picks(KEPT_EXAMPLES, seed), pairs=Picks(PAIR_EXAMPLES, seed)
    )
    for where, batch in read_ledger(paths):
        scan.lines += batch.num_rows
        scan.check.add(batch, where)
        _pick(scan, batch)
        _measure(scan, batch)
        scan.close_calls.add(batch)
    return scan


def find_rows(paths: Sequence[str | Path], ids: set[str]) -> dict[str, dict[str, Any]]:
    """The ledger's row (never a part) of each id; of several rows with one id, a kept one, else the first source."""
    found: dict[str, dict[str, Any]] = {}
    wanted = pa.array(sorted(ids), pa.string())
    for _, batch in read_ledger(paths, (*LEDGER_COLUMNS, LANGUAGE)) if ids else ():
        mask = pc.and_(pc.is_in(batch.column("id"), wanted), pc.is_null(batch.column("part")))
        for row in batch.filter(mask).to_pylist():
            best = found.get(row["id"])
            if best is None or (row["verdict"] != KEPT, row["source"]) < (best["verdict"] != KEPT, best["source"]):
                found[row["id"]] = row
    return found


def _pick(scan: Scan, batch: pa.RecordBatch) -> None:
    """Offers every line to the groups it could be an example of; only those taken are made into Python rows."""
    names = ("source", "part", "verdict", "step", "reason", "match_id")
    columns = zip(*(batch.column(name).to_pylist() for name in names), strict=True)
    for at, (source, part, verdict, step, reason, match) in enumerate(columns):
        rank = scan.kept.rank(source, part)
        targets: list[tuple[Picks, tuple]]
        if verdict == KEPT:
            targets = [(scan.kept, ())]
        else:
            targets = [(scan.rejected, (step, reason, part is not None))]
            if match is not None and reason == DUPLICATE:  # a benchmark's item is matched too, and is no row
                targets.append((scan.pairs, (step,)))
        for picks, group in targets:
            if picks.wants(group, rank):
                picks.offer(group, rank, batch.slice(at, 1).to_pylist()[0])


def _measure(scan: Scan, batch: pa.RecordBatch) -> None:
    """Adds the numeric columns of whole rows to the distributions, kept and rejected apart, and counts benchmarks."""
    rows = batch.filter(pc.is_null(batch.column("part")))
    scan.contamination.add(rows)
    kept = pc.equal(rows.column("verdict"), KEPT).to_numpy(zero_copy_only=False)
    for column in rows.schema:
        if column.name in LEDGER_COLUMNS and column.name not in BASICS:
            continue
        if not (pt.is_integer(column.type) or pt.is_floating(column.type) or pt.is_boolean(column.type)):
            continue
        values = rows.column(column.name)
        if column.name == "num_media_bytes":  # rows without media have no size to speak of
            values = pc.if_else(pc.greater(values, 0), values, None)
        there = values.is_valid().to_numpy(zero_copy_only=False)
        if not there.any():
            continue
        sketch = scan.sketches.setdefault(column.name, Sketch(integral=not pt.is_floating(column.type)))
        numbers = values.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
        for name, side in (("kept", kept), ("rejected", ~kept)):
            chosen = np.asarray(there & side, bool)
            if chosen.any():
                sketch.add(name, numbers[chosen])
