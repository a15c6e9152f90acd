"""Fourth phase: from pairs to removals, by component.

Where all pairs fit one worker (Sizes.graph_edges) they are resolved at once. Else the components are found first
(pipeline.dedup.components), the pairs are spread by component, and each range of components is resolved by itself;
only a single component larger than that takes more memory than its share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.dedup.components import EDGES, connect, hash_of
from pipeline.dedup.graph import forest, greedy, pairs_of, places
from pipeline.dedup.records import INDEX_NODE, PAIRS
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
from pipeline.storage import map_arrow

#: verified pairs with the hash of their component's first node
LABELLED = pa.schema([pa.field("component", pa.uint64(), nullable=False), *PAIRS])
REMOVED = "removed-*.arrow"


@dataclass(frozen=True, slots=True)
class ResolveAtOnce:
    """All pairs in one worker; nothing to do where there are too many."""

    task: DedupTask

    def plan(self) -> list[int]:
        counts = [num_records(self.task.files(f"{name}-*.arrow")) for name in ("verified", "forest")]
        return [0] if max(counts) <= self.task.sizes.graph_edges else []

    def __call__(self, _: int) -> None:
        path = self.task.file("removed-at-once.arrow")
        if read_report(path) is not None:
            return
        trees, pairs = (
            read_range(self.task.files(f"{name}-*.arrow"), PAIRS, "b_node", 0, 2**64) for name in ("forest", "verified")
        )
        trees = forest(trees)
        removed = trees if self.task.step().min_similarity is None else greedy(pairs)
        write_sorted(path, PAIRS, [removed], "b_node")
        write_report(path, by_components=int(np.count_nonzero(trees["b_node"] < INDEX_NODE)), rounds=0)


def resolve_apart(task: DedupTask, chain: Chain) -> dict[str, int]:
    """Resolves a graph that is too large for one worker; returns what ResolveAtOnce reports."""
    ties, rounds = connect(task, chain, "forest")
    if task.step().min_similarity is None:
        chain([RemoveMembers(task, ties)])
    else:
        own, more = connect(task, chain, "verified")
        chain([Label(task, own), ResolveRange(task)])
        rounds += more
    members = (batch.column("a_node").to_numpy() for path in task.files(ties) for batch in map_arrow(path))
    return {"by_components": sum(int(np.count_nonzero(node < INDEX_NODE)) for node in members), "rounds": rounds}


@dataclass(frozen=True, slots=True)
class RemoveMembers:
    """Components as removals: all but the first node of each go."""

    task: DedupTask
    ties: str

    def plan(self) -> list[str]:
        return [path.name for path in self.task.files(self.ties)]

    def __call__(self, name: str) -> None:
        path = self.task.file(f"removed-{name.rpartition('-')[2]}")
        if read_report(path) is None:
            member, first = _ties([self.task.file(name.partition("-")[2])])
            write_report(path, pairs=write_sorted(path, PAIRS, [pairs_of(first, member)], "b_node"))


@dataclass(frozen=True, slots=True)
class Label:
    """Gives the verified pairs of a file the hash of their component."""

    task: DedupTask
    ties: str

    def plan(self) -> list[str]:
        return [path.name.partition("-")[2] for path in self.task.files("verified-*.arrow")]

    def __call__(self, name: str) -> None:
        path = self.task.file(name.replace("verified", "labelled"))
        if read_report(path) is not None:
            return
        pairs = read_range([self.task.file(name)], PAIRS, "b_node", 0, 2**64)
        node = places(pairs, "b")
        component = hash_of(node)  # of a node that is the first of its component
        for ties in self.task.files(self.ties):
            member, first = _ties([ties])
            order = np.argsort(member, kind="stable")
            at = np.minimum(np.searchsorted(member[order], node), max(len(member) - 1, 0))
            if len(member):
                known = member[order][at] == node
                component[known] = hash_of(first[order][at[known]])
        columns: Columns = pairs | {"component": component}
        write_report(path, pairs=write_sorted(path, LABELLED, [columns], "component"))


@dataclass(frozen=True, slots=True)
class ResolveRange:
    """Resolves the components whose hash is in a range."""

    task: DedupTask

    def plan(self) -> list[tuple[int, int]]:
        records = num_records(self.task.files("labelled-*.arrow"))
        parts = self.task.pieces(records, self.task.sizes.graph_edges)
        return [(part, parts) for part in range(parts)]

    def __call__(self, work: tuple[int, int]) -> None:
        path = self.task.file(f"removed-{work[0]:06d}.arrow")
        if read_report(path) is None:
            pairs = read_range(self.task.files("labelled-*.arrow"), LABELLED, "component", *hash_range(*work))
            write_report(path, pairs=write_sorted(path, PAIRS, [greedy(pairs)], "b_node"))


def _ties(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """(members, the first node of the component of each) of finished stars."""
    found = read_range(paths, EDGES, "hash", 0, 2**64)
    return places(found, "a"), places(found, "b")


def resolution(task: DedupTask) -> dict[str, int] | None:
    """What ResolveAtOnce found, or None where it had nothing to do."""
    reports = read_reports(task.files("removed-at-once.arrow"))
    return {name: total(reports, name) for name in ("by_components", "rounds")} if reports else None
