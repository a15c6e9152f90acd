"""The shuffle: files of packed records, each sorted by a number, of which readers take ranges.

Writers sort what they have and write one file; a reader maps all files and takes its range of numbers from each. So
memory is bounded by the ranges, everything spills to disk, a number of ranges can be chosen when the data is known,
and what was written stays when a run is killed. Nothing of it goes through the runner.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.dedup.records import batch_of
from pipeline.storage import map_arrow, write_arrow, write_bytes

Columns = dict[str, np.ndarray]


def write_sorted(path: Path, schema: pa.Schema, pieces: Iterable[Columns], by: str) -> int:
    """Writes pieces, each sorted by the uint64 column `by`, and gives the number of records."""

    def batches() -> Iterable[pa.RecordBatch]:
        for columns in pieces:
            if (columns[by][1:] < columns[by][:-1]).any():
                order = np.argsort(columns[by])
                columns = {name: columns[name][order] for name in schema.names}
            yield batch_of(schema, *(columns[name] for name in schema.names))

    return write_arrow(path, schema, iter(batches()))


def read_range(paths: Sequence[Path | str], schema: pa.Schema, by: str, start: int, stop: int) -> Columns:
    """The records of all files with `start` <= `by` < `stop`, file by file in their order."""
    nothing = schema.empty_table()
    found: list[Columns] = [{name: nothing.column(name).to_numpy() for name in schema.names}]
    for path in paths:
        for batch in map_arrow(path):
            numbers = batch.column(by).to_numpy()
            first = np.searchsorted(numbers, np.uint64(start))
            last = len(numbers) if stop >= 2**64 else np.searchsorted(numbers, np.uint64(stop))
            if first < last:
                some = batch.slice(first, last - first)
                found.append({name: some.column(name).to_numpy(zero_copy_only=False) for name in schema.names})
    return {name: np.concatenate([columns[name] for columns in found]) for name in schema.names}


def hash_range(part: int, parts: int) -> tuple[int, int]:
    """The range of 64-bit numbers that is the `part`th of `parts`."""
    return (part * 2**64) // parts, ((part + 1) * 2**64) // parts


def num_records(paths: Iterable[Path]) -> int:
    """How many records files hold."""
    return sum(batch.num_rows for path in paths for batch in map_arrow(path))


def write_report(path: Path, **facts: Any) -> None:
    """Leaves what a piece of work found beside its file, last: the piece is done then."""
    write_bytes(path.with_suffix(".json"), json.dumps(facts).encode())


def read_report(path: Path) -> dict[str, Any] | None:
    """What a piece of work found, or None when it is not done."""
    try:
        found: dict[str, Any] = json.loads(path.with_suffix(".json").read_bytes())
    except FileNotFoundError:
        return None
    return found


def read_reports(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """What the pieces of work behind these files found; those that left nothing are not finished, and left out."""
    return [found for path in paths if (found := read_report(path)) is not None]
