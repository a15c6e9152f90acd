"""The global step as a Beam graph: keys ─► candidate pairs ─► verified pairs ─► removals ─► drops per unit.

What crosses the network are packed key and pair batches, hash-partitioned; texts are read where pairs are verified.
The result does not depend on the number of partitions, workers or bundles: every grouping is sorted by node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.metrics.metric import Metrics

from pipeline.coders import KEYED_BATCH
from pipeline.dedup.candidates import candidate_pairs
from pipeline.dedup.nodes import Nodes
from pipeline.dedup.records import KEYS, PAIRS, ROW_MASK, batch_of, columns_of, nodes_of, split_by, unit_of
from pipeline.dedup.resolve import removals
from pipeline.dedup.task import DedupTask
from pipeline.dedup.verify import VerifyGroup
from pipeline.pool import PooledMap
from pipeline.storage import map_arrow, write_arrow
from pipeline.workdir import DROPS, read_drops
from transforms.dedup.base import DUPLICATE

PARTITIONS = 64


def dedup_graph(root: beam.Pipeline, task: DedupTask, workers: int) -> Any:
    """Builds the graph; the output is one number a unit: how many rows and parts it lost in this step."""
    step = task.step()
    keys = (
        root
        | "Units" >> beam.Create(sorted(task.keys))
        | "SpreadUnits" >> beam.Reshuffle()
        | "ReadKeys" >> beam.ParDo(ReadKeys(task)).with_output_types(KEYED_BATCH)
        | "GroupKeys" >> beam.GroupByKey()
    )
    pairs = keys | "Candidates" >> beam.ParDo(Candidates(step.proof)).with_output_types(KEYED_BATCH)
    if not step.proof:
        grouped = pairs | "GroupPairs" >> beam.GroupByKey() | "Lists" >> beam.MapTuple(lambda _, b: list(b))
        check = PooledMap(VerifyGroup(task), workers)
        pairs = (
            grouped
            | "Verify" >> beam.ParDo(check).with_output_types(KEYED_BATCH)
            | "GroupVerified" >> beam.GroupByKey()
            | "ListVerified" >> beam.MapTuple(lambda _, batches: list(batches))
            | "Resolve" >> beam.ParDo(PooledMap(partial(removals, components=step.min_similarity is None), workers))
        )
    else:
        pairs = pairs | "Removals" >> beam.Values()
    pairs = pairs | "ByUnit" >> beam.FlatMap(by_unit).with_output_types(KEYED_BATCH)
    everyone = (
        root | "AllUnits" >> beam.Create(sorted(task.drops_after)) | "Mark" >> beam.Map(lambda unit: (unit, None))
    )
    return (
        {"pairs": pairs, "unit": everyone}
        | "GroupDrops" >> beam.CoGroupByKey()
        | "WriteDrops" >> beam.MapTuple(WriteDrops(task)).with_output_types(int)
    )


class ReadKeys(beam.DoFn):
    """A unit's keys, less those of rows and parts already dropped, split by hash into PARTITIONS batches."""

    def __init__(self, task: DedupTask) -> None:
        self._task = task

    def process(self, unit: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        columns = columns_of(map_arrow(self._task.keys[unit]), KEYS)
        dropped = read_drops(self._task.drops_before[unit])
        row = columns["node"].astype(np.int64)
        columns["node"] = nodes_of(columns["node"], unit)
        gone = dropped.column("row").to_numpy().astype(np.int64)
        parts = dropped.column("part").to_numpy()
        alive = ~np.isin(row, gone[parts < 0])
        pair = (row << 20) | (columns["part"].astype(np.int64) + 1)
        alive &= ~np.isin(pair, (gone << 20) | (parts.astype(np.int64) + 1))
        columns = {name: values[alive] for name, values in columns.items()}
        yield from split_by(batch_of(KEYS, *columns.values()), columns["lo"] % np.uint64(PARTITIONS))


class Candidates(beam.DoFn):
    """Candidate pairs of a partition of keys, spread by hash of the later node."""

    def __init__(self, proof: bool) -> None:
        self._proof = proof
        self._crowded = Metrics.counter("dedup", "crowded_keys")

    def process(self, element: tuple[int, Iterable[pa.RecordBatch]]) -> Iterator[tuple[int, pa.RecordBatch]]:
        pairs, crowded = candidate_pairs(list(element[1]), proof=self._proof)
        self._crowded.inc(crowded)
        if pairs.num_rows:
            yield from split_by(pairs, columns_of([pairs], PAIRS)["b_node"] % np.uint64(PARTITIONS))


class WriteDrops:
    """Commits a unit's drops: those it had, and this step's, with the kept row each one duplicates."""

    def __init__(self, task: DedupTask) -> None:
        self._task = task

    def __call__(self, unit: int, grouped: dict[str, Iterable[pa.RecordBatch]]) -> int:
        pairs = columns_of(list(grouped["pairs"]), PAIRS)
        order = np.lexsort([pairs["b_part"], pairs["b_node"]])
        ids = Nodes(self._task.kept).ids(pairs["a_node"][order])
        measure = self._task.step().measure
        rows = []
        for match_id, k in zip(ids, order.tolist(), strict=True):
            similarity = float(pairs["similarity"][k])
            detail = None if self._task.step().proof or np.isnan(similarity) else f"{measure} {similarity:.4f}"
            if pairs["a_part"][k] >= 0:
                detail = f"same bytes as part {pairs['a_part'][k]}"
            rows.append(
                {
                    "row": int(pairs["b_node"][k] & ROW_MASK),
                    "part": int(pairs["b_part"][k]),
                    "label": self._task.label,
                    "reason": DUPLICATE,
                    "detail": detail,
                    "match_id": match_id,
                    "spans": None,
                }
            )
        before = read_drops(self._task.drops_before[unit])
        fresh = pa.RecordBatch.from_pylist(rows, schema=DROPS)
        write_arrow(Path(self._task.drops_after[unit]), DROPS, iter([*before.to_batches(), fresh]))
        return len(rows)


def by_unit(pairs: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Pairs split by the unit of the removed node."""
    return split_by(pairs, unit_of(columns_of([pairs], PAIRS)["b_node"]))
