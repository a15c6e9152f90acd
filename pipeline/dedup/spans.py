"""A global step on spans of text as a Beam graph: keys ─► counts per unit ─► keys to remove per unit ─► drops per unit.

Where equal keys only propose, two rounds: the first one's keys that come again go back to their units, which sign the
spans around them; the second is about those.

Only (key, unit, rows) crosses the network, once for every key a unit has, and comes back as the keys that the unit
loses: where their spans are stays in the unit's key file. A line that occurs a million times costs a thousand units a
thousand records. Equal keys are found by hash tables, so the work is linear; a partition needs about 80 bytes a record,
and no text is read but that of rows around keys that proposed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.coders import KEYED_BATCH
from pipeline.dedup.records import SPAN_COUNTS, SPAN_KEYS, batch_of, columns_of, split_by
from pipeline.dedup.task import DedupTask
from pipeline.storage import map_arrow, write_arrow
from pipeline.workdir import DROPS, read_drops
from transforms.dedup.spans import SPANS, SpanDedup
from transforms.kernels.segments import count_rows, first_of_equal

#: ranges of keys that are counted apart
PARTITIONS = 64


def span_graph(root: beam.Pipeline, task: DedupTask, max_rows: int | None) -> Any:
    """Builds the graph; the output is one number a unit: how many spans it lost in this step."""
    step = task.span_step()
    assert step is not None, task.label
    everyone = (
        root | "AllUnits" >> beam.Create(sorted(task.drops_after)) | "Mark" >> beam.Map(lambda unit: (unit, None))
    )
    keys = (
        root
        | "Units" >> beam.Create(sorted(task.keys))
        | "SpreadUnits" >> beam.Reshuffle()
        | "CountKeys" >> beam.ParDo(CountKeys(task)).with_output_types(KEYED_BATCH)
    )
    if not step.proof:
        shared = (
            keys
            | "GroupProposals" >> beam.GroupByKey()
            | "Shared" >> beam.FlatMapTuple(Choose(1)).with_output_types(KEYED_BATCH)
        )
        keys = (
            {"keys": shared, "unit": everyone}
            | "GroupShared" >> beam.CoGroupByKey()
            | "Prove" >> beam.FlatMapTuple(Prove(task)).with_output_types(KEYED_BATCH)
        )
    removed = (
        keys
        | "GroupKeys" >> beam.GroupByKey()
        | "Choose" >> beam.FlatMapTuple(Choose(max_rows)).with_output_types(KEYED_BATCH)
    )
    return (
        {"keys": removed, "unit": everyone}
        | "GroupDrops" >> beam.CoGroupByKey()
        | "WriteDrops" >> beam.MapTuple(WriteSpans(task, step, keep_first=max_rows is None)).with_output_types(int)
    )


def span_keys(path: str, drops: str | None) -> dict[str, np.ndarray]:
    """A unit's keys, less those of rows already dropped."""
    columns = columns_of(map_arrow(path), SPAN_KEYS)
    alive = ~np.isin(columns["row"], read_drops(drops).column("row").to_numpy())
    return {name: values[alive] for name, values in columns.items()}


class CountKeys(beam.DoFn):
    """How often each key is in a unit, split by hash into PARTITIONS batches."""

    def __init__(self, task: DedupTask) -> None:
        self._task = task

    def process(self, unit: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        columns = span_keys(self._task.keys[unit], self._task.drops_before[unit])
        yield from by_partition(columns, unit, self._task)


def by_partition(columns: dict[str, np.ndarray], unit: int, task: DedupTask) -> Iterator[tuple[int, pa.RecordBatch]]:
    """SPAN_COUNTS of a unit's keys, split by hash."""
    step = task.span_step()
    counts = counted(columns, unit, by_occurrence=step is not None and step.by_occurrence)
    yield from split_by(counts, counts.column("lo").to_numpy() % np.uint64(PARTITIONS))


def counted(columns: dict[str, np.ndarray], unit: int, *, by_occurrence: bool = False) -> pa.RecordBatch:
    """SPAN_COUNTS of a unit's keys: in how many rows each is, or how often."""
    group = np.empty(len(columns["row"]), np.int64)
    firsts = first_of_equal(columns["hi"], columns["lo"], group)
    rows = np.bincount(group, minlength=len(firsts)) if by_occurrence else np.zeros(len(firsts), np.int64)
    if not by_occurrence:
        count_rows(group, columns["row"], rows)
    return batch_of(SPAN_COUNTS, columns["hi"][firsts], columns["lo"][firsts], np.full(len(firsts), unit), rows)


class Prove:
    """Commits the keys that a step proves in a unit, and counts them, where its first keys only proposed.

    Only the texts of rows that hold a key which comes again are read, and only the spans around it are signed.
    """

    def __init__(self, task: DedupTask) -> None:
        self._task = task

    def __call__(self, unit: int, grouped: dict[str, Iterable[pa.RecordBatch]]) -> Iterator[tuple[int, pa.RecordBatch]]:
        shared = columns_of(list(grouped["keys"]), SPAN_COUNTS)
        columns = span_keys(self._task.keys[unit], self._task.drops_before[unit])
        rows = np.unique(columns["row"][removed_spans(columns, shared, keep_first=False)])
        path = proven_path(self._task, unit)
        write_arrow(path, SPAN_KEYS, self._signed(unit, rows, np.stack([shared["hi"], shared["lo"]], axis=1)))
        yield from by_partition(columns_of(map_arrow(path), SPAN_KEYS), unit, self._task)

    def _signed(self, unit: int, rows: np.ndarray, shared: np.ndarray) -> Iterator[pa.RecordBatch]:
        step = self._task.span_step()
        assert step is not None, self._task.label
        first = 0
        for batch in map_arrow(self._task.kept[unit]):
            here = rows[(rows >= first) & (rows < first + batch.num_rows)]
            if len(here):
                found = step.proven(batch.take(pa.array(here - np.uint32(first))), shared)
                yield batch_of(SPAN_KEYS, *found.key.T, here[found.row], found.start, found.stop)
            first += batch.num_rows


def proven_path(task: DedupTask, unit: int) -> Path:
    """Where a unit's proven keys are."""
    return Path(task.scratch) / f"{unit:08d}.keys.arrow"


class Choose:
    """The keys of a partition whose spans go, by the unit that loses them."""

    def __init__(self, max_rows: int | None) -> None:
        self._max_rows = max_rows

    def __call__(self, _: int, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
        columns = columns_of(list(batches), SPAN_COUNTS)
        gone = pa.array(chosen_keys(columns, self._max_rows))
        chosen = batch_of(SPAN_COUNTS, *columns.values()).filter(gone)
        yield from split_by(chosen, chosen.column("unit").to_numpy())


def chosen_keys(columns: dict[str, np.ndarray], max_rows: int | None) -> np.ndarray:
    """Mask of the (key, unit) whose spans go: where a key is in more than `max_rows` rows of all units together; or,
    without a limit, in every unit but the first that has it."""
    group = np.empty(len(columns["hi"]), np.int64)
    count = len(first_of_equal(columns["hi"], columns["lo"], group))
    if max_rows is not None:
        total = np.bincount(group, columns["rows"], count)  # float64, exact below 2^53
        return total[group] > max_rows
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, group, columns["unit"].astype(np.int64))
    return columns["unit"] > first[group]


class WriteSpans:
    """Commits a unit's drops: those it had, and the spans of the keys it loses, one entry a row."""

    def __init__(self, task: DedupTask, step: SpanDedup, *, keep_first: bool) -> None:
        self._task = task
        self._proof = step.proof
        self._keep_first = keep_first

    def __call__(self, unit: int, grouped: dict[str, Iterable[pa.RecordBatch]]) -> int:
        removed = columns_of(list(grouped["keys"]), SPAN_COUNTS)
        path = self._task.keys[unit] if self._proof else str(proven_path(self._task, unit))
        columns = span_keys(path, self._task.drops_before[unit])
        gone = removed_spans(columns, removed, keep_first=self._keep_first)
        spans = merged({name: values[gone] for name, values in columns.items()})
        before = read_drops(self._task.drops_before[unit])
        fresh = span_drops(spans, self._task.label)
        write_arrow(Path(self._task.drops_after[unit]), DROPS, iter([*before.to_batches(), fresh]))
        return len(spans["row"])


def removed_spans(columns: dict[str, np.ndarray], removed: dict[str, np.ndarray], *, keep_first: bool) -> np.ndarray:
    """Mask of a unit's spans: those of the removed keys, and with `keep_first` those that repeat an earlier one."""
    known = len(removed["hi"])
    hi, lo = (np.concatenate([removed[name], columns[name]]) for name in ("hi", "lo"))
    group = np.empty(len(hi), np.int64)
    firsts = first_of_equal(hi, lo, group)
    gone = group[known:] < known
    if keep_first:
        again = np.ones(len(hi), bool)
        again[firsts] = False
        gone |= again[known:]
    return gone


def merged(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Spans, of which those that overlap in a row are one. Both their beginnings and their ends ascend in a row."""
    row, start, stop = (columns[name] for name in ("row", "start", "stop"))
    begins = np.ones(len(row), bool)
    begins[1:] = (row[1:] != row[:-1]) | (start[1:] >= stop[:-1])
    return {"row": row[begins], "start": start[begins], "stop": stop[np.append(begins[1:], True)[: len(row)]]}


def span_drops(columns: dict[str, np.ndarray], label: str) -> pa.RecordBatch:
    """Spans as drops, one entry a row that loses some."""
    rows, starts = np.unique(columns["row"], return_index=True)
    offsets = np.append(starts, len(columns["row"])).astype(np.int32)
    spans = pa.StructArray.from_arrays(
        [pa.array(columns[name], pa.uint32()) for name in ("start", "stop")], fields=list(SPANS.type.value_type)
    )
    nothing = pa.nulls(len(rows), pa.string())
    arrays = [
        pa.array(rows, pa.uint32()),
        pa.array(np.full(len(rows), -1, np.int32)),
        pa.array([label] * len(rows), pa.string()),
        *(nothing, nothing, nothing),
        pa.ListArray.from_arrays(pa.array(offsets), spans, type=SPANS.type),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=DROPS)
