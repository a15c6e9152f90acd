"""Counting ledger rows: one small table of sums from which every number of the report follows.

The cell of a ledger line is (is it a removed part, verdict, step, reason, language, modality, dataset). Cells are
few whatever the number of rows, so a ledger of any size is counted in bounded memory, and the funnel, the tables by
language and source, and the manifest's counts cannot disagree with each other: they are sums over the same cells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.errors import SchemaError
from schemas.ledger import KEPT, REJECTED

LANGUAGE = "text.lang"
TOKENS = "tokens.count"
UNKNOWN = "unknown"

#: what counting reads; the language and token columns exist only when a step computed them
FIXED = ("id", "source", "part", "modality", "verdict", "step", "reason", "num_chars", "num_media_bytes")
_BATCH_ROWS = 16384


class Cell(NamedTuple):
    """What a ledger line is counted under; `step` and `reason` are "" for kept rows."""

    is_part: bool
    verdict: str
    step: str
    reason: str
    language: str
    modality: str
    dataset: str


class Sums(NamedTuple):
    """Sums over the lines of a cell."""

    rows: int = 0
    tokens: int = 0
    chars: int = 0
    media_bytes: int = 0

    def __add__(self, other: tuple) -> Sums:
        return Sums(*(a + b for a, b in zip(self, other, strict=True)))


class Tally:
    """Sums by cell."""

    def __init__(self) -> None:
        self.cells: dict[Cell, Sums] = {}

    def add(self, batch: pa.RecordBatch, where: str) -> None:
        """Counts a ledger batch; raises SchemaError on a line that is neither kept nor rejected for a reason."""
        table = pa.table(
            {
                "is_part": pc.is_valid(batch.column("part")),
                "verdict": batch.column("verdict"),
                "step": pc.fill_null(batch.column("step"), ""),
                "reason": pc.fill_null(batch.column("reason"), ""),
                "language": _or(batch, LANGUAGE, pa.string(), UNKNOWN),
                "modality": batch.column("modality"),
                "dataset": datasets(batch.column("source")),
                "tokens": _or(batch, TOKENS, pa.int64(), 0),
                "chars": pc.fill_null(batch.column("num_chars"), 0),
                "media_bytes": pc.fill_null(batch.column("num_media_bytes"), 0),
            }
        )
        sums = [("tokens", "sum"), ("chars", "sum"), ("media_bytes", "sum")]
        grouped = table.group_by(list(Cell._fields), use_threads=False).aggregate([([], "count_all"), *sums])
        columns = [grouped.column(name).to_pylist() for name in Cell._fields]
        values = [grouped.column(name).to_pylist() for name in ("count_all", *(f"{c}_sum" for c, _ in sums))]
        for *key, rows, tokens, chars, media_bytes in zip(*columns, *values, strict=True):
            cell = Cell(*key)
            _check(cell, where)
            self.cells[cell] = self.cells.get(cell, Sums()) + Sums(rows, tokens, chars, media_bytes)

    def by(self, key: Callable[[Cell], object], chosen: Callable[[Cell], bool]) -> dict:
        """Sums of the chosen cells by `key(cell)`, in the order of the keys."""
        found: dict = defaultdict(Sums)
        for cell, sums in self.cells.items():
            if chosen(cell):
                found[key(cell)] += sums
        return dict(sorted(found.items()))

    def total(self, chosen: Callable[[Cell], bool]) -> Sums:
        """Sums over the chosen cells."""
        return self.by(lambda _: None, chosen).get(None, Sums())


def is_row(cell: Cell) -> bool:
    """A whole input row, not a removed part."""
    return not cell.is_part


def is_kept(cell: Cell) -> bool:
    """A kept input row."""
    return not cell.is_part and cell.verdict == KEPT


def is_rejected(cell: Cell) -> bool:
    """A rejected input row."""
    return not cell.is_part and cell.verdict == REJECTED


def is_removed_part(cell: Cell) -> bool:
    """A media part removed from its row."""
    return cell.is_part


def datasets(sources: pa.Array) -> pa.Array:
    """The dataset of every `source`: what stands before the first slash."""
    return pc.list_element(pc.split_pattern(sources, "/", max_splits=1), 0)


def open_ledger(path: str | Path) -> pq.ParquetFile:
    """Opens a ledger file; raises SchemaError when it is torn or lacks a column."""
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise SchemaError(
            f"{path} is not a readable ledger file ({error}); run the recipe again to rebuild it"
        ) from error
    missing = [name for name in FIXED if name not in file.schema_arrow.names]
    if missing:
        raise SchemaError(f"{path} is not a ledger file: it has no column {', '.join(map(repr, missing))}")
    return file


def read_ledger(
    paths: Sequence[str | Path], columns: Sequence[str] | None = None
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Streams ledger files as (path, batch); columns that a file lacks are left out, None reads all of them."""
    for path in paths:
        with open_ledger(path) as file:
            names = file.schema_arrow.names
            # A Parquet column list takes "a" to mean "a.b" as well, hence the select.
            wanted = [name for name in names if columns is None or name in columns]
            try:
                for batch in file.iter_batches(_BATCH_ROWS, columns=wanted):
                    yield str(path), batch.select(wanted)
            except (pa.ArrowInvalid, OSError) as error:
                raise SchemaError(f"{path} is damaged ({error}); run the recipe again to rebuild it") from error


def _or(batch: pa.RecordBatch, name: str, dtype: pa.DataType, default: object) -> pa.Array:
    at = batch.schema.get_field_index(name)
    if at < 0:
        return pa.array(np.full(batch.num_rows, default, object), dtype)
    return pc.fill_null(batch.column(at).cast(dtype), default)


def _check(cell: Cell, where: str) -> None:
    explained = cell.step != "" and cell.reason != ""
    if cell.verdict == KEPT and not cell.is_part and not cell.step and not cell.reason:
        return
    if cell.verdict == REJECTED and explained:
        return
    kind = "removed part" if cell.is_part else "row"
    raise SchemaError(
        f"{where}: a {kind} has the verdict {cell.verdict!r}, step {cell.step!r} and reason {cell.reason!r}; "
        "every line is either kept without a reason, or rejected with the step and reason that did it"
    )
