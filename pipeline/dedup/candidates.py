"""Second phase: nodes with an equal key, ordered, become candidate pairs; what one crowded key may cost is bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.dedup.records import INDEX_NODE, KEYS, NO_NODE, PAIRS, nodes_of, unit_of
from pipeline.dedup.shuffle import Columns, hash_range, read_range, read_report, write_report, write_sorted
from pipeline.dedup.task import DedupTask, IndexRun
from schemas.index import INDEX_KEYS
from transforms.dedup.bloom import seen

#: A key shared by more nodes than this is crowded (a template with a million members): each member is then paired
#: with the key's first CROWD/8 nodes and its own CROWD/8 predecessors, so the work stays linear.
CROWD = 64

#: ranges of hashes that have a Bloom filter each
BLOOM_SHARDS = 256

#: pairs made at once
_PAIRS = 1 << 20


@dataclass(frozen=True, slots=True)
class FindCandidates:
    """Matches a range of key hashes of the new rows, and of the index, into pairs sorted by the later node."""

    task: DedupTask

    def plan(self) -> list[int]:
        return list(range(self.task.partitions))

    def __call__(self, part: int) -> None:
        task, step = self.task, self.task.step()
        path = task.file(f"pairs-{part:06d}.arrow")
        if read_report(path) is not None:
            return
        by_unit: Counter[int] = Counter()
        crowding: dict[str, int] = {}

        def pieces() -> Iterator[Columns]:
            if step.bloom_rate is not None:
                found = seen_before(task, part, step.bloom_rate)
            else:
                groups = KeyGroups(matched_keys(task, *hash_range(part, task.partitions)))
                crowding.update({} if step.proof else groups.crowding())
                found = groups.pairs(proof=step.proof)
            for pairs in found:
                units, counts = np.unique(unit_of(pairs["b_node"]), return_counts=True)
                by_unit.update(dict(zip(units.tolist(), counts.tolist(), strict=True)))
                yield pairs

        count = write_sorted(path, PAIRS, pieces(), "b_node")
        write_report(path, pairs=count, by_unit=by_unit, **crowding)


def matched_keys(task: DedupTask, start: int, stop: int) -> Columns:
    """The keys of new rows in a range of `lo`, and those of an index that new rows may have too, as KEYS."""
    columns = read_range(task.files("sorted-*.arrow"), KEYS, "lo", start, stop)
    known = [_known(run, columns["lo"], start, stop) for run in task.index]
    return {name: np.concatenate([*(some[name] for some in known), columns[name]]) for name in KEYS.names}


def _known(run: IndexRun, wanted: np.ndarray, start: int, stop: int) -> Columns:
    found = read_range([run.keys], INDEX_KEYS, "lo", start, stop)
    found = {name: values[np.isin(found["lo"], wanted)] for name, values in found.items()}
    node = nodes_of(found.pop("entry").astype(np.uint64), run.unit)
    return found | {"node": node, "rank": np.zeros(len(node), np.uint64)}


def seen_before(task: DedupTask, part: int, rate: float) -> Iterator[Columns]:
    """Pairs of no node (NO_NODE) and one whose key a Bloom filter has seen in keep order. A filter is of a fixed range
    of hashes, so that what it takes for seen by mistake does not depend on the partitions."""
    first, last = (-(-BLOOM_SHARDS * edge // task.partitions) for edge in (part, part + 1))
    for shard in range(first, last):
        columns = matched_keys(task, *hash_range(shard, BLOOM_SHARDS))
        order = np.lexsort([columns[name] for name in ("part", "node", "rank")])
        columns = {name: values[order] for name, values in columns.items()}
        again = seen(np.stack([columns["hi"], columns["lo"]], axis=1), rate)
        again &= columns["node"] < INDEX_NODE
        count = int(np.count_nonzero(again))
        pairs = {f"b_{name}": columns[name][again] for name in ("rank", "node", "part")}
        pairs |= {"a_rank": np.zeros(count, np.uint64), "a_node": np.full(count, NO_NODE)}
        yield pairs | {"a_part": np.full(count, -1, np.int32), "similarity": np.ones(count)}


class KeyGroups:
    """The nodes of every key that several have, in keep order."""

    def __init__(self, columns: Columns, crowd: int = CROWD) -> None:
        self._crowd = crowd
        columns = _with_company(columns)
        order = np.lexsort([columns[name] for name in ("part", "node", "rank", "lo", "hi", "band")])
        self._columns = {name: values[order] for name, values in columns.items()}
        fresh = np.ones(len(order), bool)
        for name in ("band", "hi", "lo"):
            fresh[1:] &= self._columns[name][1:] == self._columns[name][:-1]
        fresh[1:] = ~fresh[1:]
        self._starts = np.flatnonzero(fresh)
        self._sizes = np.diff(np.append(self._starts, len(order)))

    def pairs(self, *, proof: bool) -> Iterator[Columns]:
        """Pairs of nodes that share a key, `a` before `b` in keep order; a pair may come from several keys.

        With `proof` (equal keys are duplicates) each node is paired with its key's first node only.
        """
        found = self._with_first() if proof else self._neighbours()
        for first, second in _regrouped(found):
            pairs = {
                f"{side}_{name}": self._columns[name][which]
                for side, which in (("a", first), ("b", second))
                for name in ("rank", "node", "part")
            }
            pairs["similarity"] = np.full(len(first), 1.0 if proof else np.nan)
            yield distinct(pairs)

    def crowding(self) -> dict[str, int]:
        """How many keys are crowded, their members, and the pairs of members that are not compared by them."""
        large = self._sizes[self._sizes > self._crowd].astype(np.int64)
        near = self._crowd // 8
        # a member at place m is paired with its `near` predecessors and the first `near`, as far as there are as many
        compared = sum(
            int(np.minimum(np.arange(size), 2 * near).sum()) * int(count)
            for size, count in zip(*np.unique(large, return_counts=True), strict=True)
        )
        skipped = int((large * (large - 1) // 2).sum()) - compared
        return {"crowded_keys": len(large), "crowded_members": int(large.sum()), "pairs_skipped": skipped}

    def _with_first(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        heads = np.repeat(self._starts, self._sizes)
        later = np.flatnonzero(heads != np.arange(len(heads)))
        yield heads[later], later

    def _neighbours(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Index pairs within every group: all of them, or a bounded set where a group is crowded."""
        for size in np.unique(self._sizes[self._sizes > 1]).tolist():
            at = self._starts[self._sizes == size]
            if size <= self._crowd:
                a, b = np.triu_indices(size, 1)
                step = max(1, _PAIRS // len(a))
                for start in range(0, len(at), step):
                    some = at[start : start + step, None]
                    yield (some + a).ravel(), (some + b).ravel()
            else:
                for start in at.tolist():
                    yield from self._crowded(start, size)

    def _crowded(self, start: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        near = self._crowd // 8
        step = max(1, _PAIRS // (2 * near))
        for first in range(1, size, step):
            member = np.arange(first, min(first + step, size))[:, None]
            before = member - np.arange(1, near + 1)
            heads = np.where(np.arange(near) < before[:, -1:], np.arange(near), -1)
            a = np.concatenate([before, heads], axis=1).ravel()
            b = np.repeat(member.ravel(), 2 * near)
            yield start + a[a >= 0], start + b[a >= 0]


def _with_company(columns: Columns) -> Columns:
    """The keys whose `lo` occurs twice: most keys are nobody else's, and are not sorted any further."""
    order = np.argsort(columns["lo"])
    lo = columns["lo"][order]
    same = lo[1:] == lo[:-1]
    shared = order[np.append(same, False) | np.append(False, same)] if len(lo) else order
    return {name: values[shared] for name, values in columns.items()}


def _regrouped(found: Iterator[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Small arrays of pairs put together, so that few batches are written."""
    held: list[tuple[np.ndarray, np.ndarray]] = []
    count = 0
    for pair in found:
        held.append(pair)
        count += len(pair[0])
        if count >= _PAIRS:
            yield tuple(np.concatenate(side) for side in zip(*held, strict=True))  # type: ignore[misc]
            held, count = [], 0
    if held:
        yield tuple(np.concatenate(side) for side in zip(*held, strict=True))  # type: ignore[misc]


def distinct(pairs: Columns) -> Columns:
    """Each pair once, ordered by (b, a); a node is never paired with itself, and what an index holds is never `b`."""
    names = [name for name in ("a_part", "a_node", "b_part", "b_node") if not _all_equal(pairs[name])]
    order = np.lexsort([pairs[name] for name in names]) if names else np.arange(len(pairs["b_node"]))
    pairs = {name: values[order] for name, values in pairs.items()}
    keep = np.zeros(len(order), bool)
    keep[:1] = True
    for name in names:
        keep[1:] |= pairs[name][1:] != pairs[name][:-1]
    keep &= (pairs["a_node"] != pairs["b_node"]) | (pairs["a_part"] != pairs["b_part"])
    keep &= pairs["b_node"] < INDEX_NODE
    return {name: values[keep] for name, values in pairs.items()}


def _all_equal(values: np.ndarray) -> bool:
    return bool((values == values[:1]).all())
