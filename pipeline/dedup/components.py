"""Connected components of a graph that no process holds, by alternating large and small stars (Kiveris, Lattanzi,
Mirrokni, Rastogi and Vassilvitskii 2014, "Connected Components in MapReduce and Beyond").

Records name a node `a` and a neighbour `b`, under the hash of `a`; a range of hashes has all neighbours of its nodes.
A round ties every node to the smallest node it knows of; after O(log^2 n) rounds (a handful in practice, because what
comes here was contracted where pairs were verified) each component is a star around its first node in keep order.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.dedup.graph import pairs_of, places
from pipeline.dedup.records import PAIRS
from pipeline.dedup.shuffle import (
    Columns,
    hash_range,
    num_records,
    read_range,
    read_report,
    read_reports,
    write_report,
    write_sorted,
)
from pipeline.dedup.task import Chain, DedupTask, total
from transforms.dedup.shingles import mix

#: a node `a`, by its hash, and a neighbour `b`
EDGES = pa.schema([pa.field("hash", pa.uint64(), nullable=False), *(f for f in PAIRS if f.name != "similarity")])


def connect(task: DedupTask, chain: Chain, name: str) -> tuple[str, int]:
    """Connects the pairs in the files `name`-*; returns the pattern of the files that tie each node that is not the
    first of its component (`a`), once, to that first one (`b`); and the number of rounds."""
    chain([Spread(task, name)])
    rounds = 0
    while True:
        edges = f"{name}.edges{rounds:03d}"
        chain([LargeStars(task, edges, f"{name}.large{rounds:03d}")])
        if total(read_reports(task.files(f"{name}.large{rounds:03d}-*.arrow")), "unfinished") == 0:
            return f"{name}.large{rounds:03d}-*.arrow", rounds
        chain([SmallStars(task, f"{name}.large{rounds:03d}", f"{name}.edges{rounds + 1:03d}")])
        rounds += 1


@dataclass(frozen=True, slots=True)
class Spread:
    """Every pair of a file in both directions."""

    task: DedupTask
    name: str

    def plan(self) -> list[str]:
        return [path.stem for path in self.task.files(f"{self.name}-*.arrow")]

    def __call__(self, stem: str) -> None:
        number = stem.rpartition("-")[2]
        path = self.task.file(f"{self.name}.edges000-{number}.arrow")
        if read_report(path) is None:
            pairs = read_range(self.task.files(f"{self.name}-{number}.arrow"), PAIRS, "b_node", 0, 2**64)
            _write(path, *_both_ways(places(pairs, "a"), places(pairs, "b")))


@dataclass(frozen=True, slots=True)
class _Stars:
    """One half of a round over a range of hashes, from the files `source` to files `target`."""

    task: DedupTask
    source: str
    target: str

    def plan(self) -> list[tuple[int, int]]:
        records = num_records(self.task.files(f"{self.source}-*.arrow"))
        parts = self.task.pieces(records, self.task.sizes.graph_edges)
        return [(part, parts) for part in range(parts)]

    def _edges(self, work: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(nodes, neighbours, where each node's first neighbour is), each edge once, nodes and theirs ascending."""
        found = read_range(self.task.files(f"{self.source}-*.arrow"), EDGES, "hash", *hash_range(*work))
        node, near = places(found, "a"), places(found, "b")
        order = np.lexsort([near, node])
        node, near = node[order], near[order]
        fresh = np.ones(len(node), bool)
        fresh[1:] = (node[1:] != node[:-1]) | (near[1:] != near[:-1])
        node, near = node[fresh], near[fresh]
        first = np.ones(len(node), bool)
        first[1:] = node[1:] != node[:-1]
        return node, near, np.flatnonzero(first)

    def _path(self, work: tuple[int, int]) -> Path:
        return self.task.file(f"{self.target}-{work[0]:06d}.arrow")


class LargeStars(_Stars):
    """Ties the larger neighbours of a node to the smallest it knows. Tells how many nodes show that the graph is not
    yet of stars: those with two smaller neighbours, or one and larger ones."""

    def __call__(self, work: tuple[int, int]) -> None:
        path = self._path(work)
        if read_report(path) is not None:
            return
        node, near, starts = self._edges(work)
        group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(node))))
        least = np.where(near[starts] < node[starts], near[starts], node[starts])
        larger = near > node
        smaller = np.bincount(group[~larger], minlength=len(starts))
        both = np.bincount(group[larger], minlength=len(starts)) > 0
        unfinished = int(np.count_nonzero((smaller > 1) | ((smaller == 1) & both)))
        _write(path, near[larger], least[group[larger]], unfinished=unfinished)


class SmallStars(_Stars):
    """Ties a node and its smaller neighbours to the smallest of them; both ways, for the next round."""

    def __call__(self, work: tuple[int, int]) -> None:
        path = self._path(work)
        if read_report(path) is not None:
            return
        node, near, starts = self._edges(work)
        least = np.repeat(near[starts], np.diff(np.append(starts, len(node))))
        others = near != least
        first = np.concatenate([least[starts], least[others]])
        second = np.concatenate([node[starts], near[others]])
        _write(path, *_both_ways(first, second))


def hash_of(place: np.ndarray) -> np.ndarray:
    """Hashes of PLACE, uint64, spread evenly."""
    node = np.ascontiguousarray(place).view([("rank", ">u8"), ("node", ">u8"), ("part", ">u4")])
    with np.errstate(over="ignore"):
        hashed: np.ndarray = mix(node["node"].astype(np.uint64) + mix(node["part"].astype(np.uint64)))
    return hashed


def _both_ways(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([first, second]), np.concatenate([second, first])


def _write(path: Path, node: np.ndarray, near: np.ndarray, **facts: int) -> None:
    columns: Columns = pairs_of(node, near) | {"hash": hash_of(node)}
    write_report(path, edges=write_sorted(path, EDGES, [columns], "hash"), **facts)
