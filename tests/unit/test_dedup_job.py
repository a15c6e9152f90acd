"""The global step on rows and parts: every phase and the whole, against brute force, however the work is cut."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.dedup.components import connect
from pipeline.dedup.graph import forest, greedy
from pipeline.dedup.job import run_dedup
from pipeline.dedup.records import INDEX_UNIT, KEYS, PAIRS, batch_of
from pipeline.dedup.shuffle import Columns, read_reports, write_sorted
from pipeline.dedup.task import DedupTask, IndexRun, Phase, Sizes, neighbours
from pipeline.dedup.verify import VerifyPairs
from pipeline.storage import write_arrow
from pipeline.workdir import DROPS, read_drops
from schemas.index import INDEX_KEYS
from schemas.sample import sample_batch
from transforms.base import Params
from transforms.dedup.base import Dedup, Keys
from transforms.dedup.shingles import mix

SMALL = Sizes(run_keys=7, partition_keys=5, verify_pairs=6, graph_edges=4, fewest=1)


def here(phases: Sequence[Phase]) -> None:
    """Runs phases in this process."""
    for phase in phases:
        for work in phase.plan():
            phase(work)


class Letters(Dedup[Params]):
    """Rows that share a letter are candidates; a letter is a band. Alike as their letters overlap."""

    name, version = "test.letters", 1
    measure = "letters"
    proof = False  # type: ignore[assignment]
    min_similarity = 0.6  # type: ignore[assignment]

    def keys(self, batch: pa.RecordBatch) -> Keys:
        raise NotImplementedError

    def evidence(self, batch: pa.RecordBatch, part: np.ndarray) -> pa.LargeBinaryArray:
        return pa.array([text.encode() for text in batch.column("text").to_pylist()], pa.large_binary())

    def similarity(self, evidence: pa.LargeBinaryArray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        sets = [set(value) for value in evidence.to_pylist()]
        return np.asarray([overlap(sets[a], sets[b]) for a, b in zip(first, second, strict=True)], float)


class Proof(Letters):
    proof = True  # type: ignore[assignment]


class Filtered(Proof):
    bloom_rate = 1e-9  # type: ignore[assignment]


class Careless(Proof):
    bloom_rate = 0.4  # type: ignore[assignment]


class Components(Letters):
    min_similarity = None


def overlap(a: set, b: set) -> float:
    return len(a & b) / len(a | b)


@dataclass(frozen=True)
class Key:
    """Stands for a StageKey."""

    step: Dedup

    def ready_dedup(self, label: str) -> Dedup:
        return self.step


def keys_of(rows: list[tuple[str, int]], *, whole: bool) -> pa.RecordBatch:
    """Keys of (text, rank): one a letter, or one of the whole text."""
    node, band, key, rank = [], [], [], []
    for at, (text, order) in enumerate(rows):
        for letter in [text] if whole else sorted(set(text)):
            node.append(at)
            band.append(0 if whole else ord(letter))
            key.append(int.from_bytes(letter.encode()[:8], "big"))
            rank.append(order)
    lo = mix(np.asarray(key, np.uint64))
    part = np.full(len(node), -1, np.int32)
    return batch_of(KEYS, *map(np.asarray, (band, key, lo, rank, node)), part)


def make_task(
    folder: Path, step: Dedup, units: list[list[tuple[str, int]]], sizes: Sizes, workers: int = 2, old: Any = ()
) -> DedupTask:
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, dict[int, Any]] = {name: {} for name in ("keys", "kept", "before", "after", "counts")}
    for number, rows in enumerate(units):
        keys = keys_of(rows, whole=step.proof)
        kept = [{"id": f"{number}/{k}", "source": f"{number}/{k}", "text": text} for k, (text, _) in enumerate(rows)]
        for name in ("keys", "kept", "after"):
            paths[name][number] = str(folder / f"{name}{number}.arrow")
        write_arrow(paths["keys"][number], KEYS, iter([keys]))
        batch = sample_batch(kept)
        write_arrow(paths["kept"][number], batch.schema, iter([batch.slice(0, 2), batch.slice(2)]))
        paths["before"][number] = None
        paths["counts"][number] = keys.num_rows
    index = []
    for at, rows in enumerate(old):
        keys = keys_of(rows, whole=step.proof)
        columns = {name: keys.column(name).to_numpy() for name in KEYS.names}
        columns["entry"] = columns["node"].astype(np.uint32)
        run = IndexRun(INDEX_UNIT + at, str(folder / f"old{at}.arrow"), str(folder / f"entries{at}.arrow"))
        write_sorted(Path(run.keys), INDEX_KEYS, [columns], "lo")
        texts = [text for text, _ in rows]
        entries = pa.record_batch(
            {"id": [f"old{at}/{k}" for k in range(len(rows))], "evidence": pa.array(texts, pa.large_binary())}
        )
        write_arrow(run.entries, entries.schema, iter([entries]))
        index.append(run)
    names = ("keys", "counts", "kept", "before", "after")
    scratch = str(folder / "scratch")
    key: Any = Key(step)
    return DedupTask(key, "1:t", *(paths[name] for name in names), scratch, workers, tuple(index), sizes)


def outcome(task: DedupTask) -> tuple[dict[str, tuple[str, str | None]], dict[str, Any]]:
    """({removed id: (id it duplicates, detail)}, what was counted)."""
    Path(task.scratch).mkdir(exist_ok=True)
    counted = run_dedup(task, here)
    removed = {}
    for unit, path in task.drops_after.items():
        table = read_drops(path)
        assert table.schema == DROPS
        for drop in table.to_pylist():
            assert f"{unit}/{drop['row']}" not in removed
            removed[f"{unit}/{drop['row']}"] = (drop["match_id"], drop["detail"])
    assert counted["removed"] == len(removed)
    return removed, counted


def everyone(units: list[list[tuple[str, int]]]) -> list[tuple[int, int, int, str, str]]:
    """(rank, unit, row, id, text) of all rows, in keep order."""
    rows = [
        (rank, unit, row, f"{unit}/{row}", text)
        for unit, rows in enumerate(units)
        for row, (text, rank) in enumerate(rows)
    ]
    return sorted(rows)


def greedily(units: list[list[tuple[str, int]]], least: float) -> dict[str, float]:
    """Readable reference: {removed id: similarity of its best kept anchor}."""
    kept: list[str] = []
    removed = {}
    for *_, name, text in everyone(units):
        near = [overlap(set(text), set(other)) for other in kept if set(text) & set(other)]
        if near and max(near) >= least:
            removed[name] = max(near)
        else:
            kept.append(text)
    return removed


def components(units: list[list[tuple[str, int]]]) -> set[str]:
    """Readable reference: all but the first of every component."""
    rows = everyone(units)
    group = list(range(len(rows)))
    for a, b in itertools.combinations(range(len(rows)), 2):
        if set(rows[a][4]) & set(rows[b][4]):
            low, high = sorted((group[a], group[b]))
            group = [low if g == high else g for g in group]
    return {row[3] for at, row in enumerate(rows) if group[at] != at}


ROWS = st.tuples(st.text("abcdefghijkl", min_size=1, max_size=4), st.integers(1, 3))
UNITS = st.lists(st.lists(ROWS, min_size=1, max_size=6), min_size=1, max_size=5)
quick = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def fresh(tmp_path: Path):
    """Folders that are not there yet."""
    return (tmp_path / str(number) for number in itertools.count())


@quick
@given(UNITS, st.sampled_from([SMALL, Sizes()]), st.integers(1, 3))
def test_verified_rows_go_for_a_direct_match_with_a_kept_row(fresh, units, sizes, workers):
    removed, counted = outcome(make_task(next(fresh), Letters(Params()), units, sizes, workers))
    expected = greedily(units, 0.6)
    assert {name: detail for name, (_, detail) in removed.items()} == {
        name: f"letters {similarity:.4f}" for name, similarity in expected.items()
    }
    assert not {anchor for anchor, _ in removed.values()} & removed.keys()
    assert counted["removed_by_components"] == len(components(units))


@quick
@given(UNITS, st.sampled_from([SMALL, Sizes()]))
def test_components_keep_their_first(fresh, units, sizes):
    removed, counted = outcome(make_task(next(fresh), Components(Params()), units, sizes))
    assert removed.keys() == components(units)
    assert counted["removed_by_components"] == len(removed)
    assert {detail for _, detail in removed.values()} <= {None}


@quick
@given(UNITS, st.sampled_from([SMALL, Sizes()]))
def test_equal_keys_of_an_exact_step_keep_their_first(fresh, units, sizes):
    removed, _ = outcome(make_task(next(fresh), Proof(Params()), units, sizes))
    first: dict[str, str] = {}
    expected = {}
    for *_, name, text in everyone(units):
        if text[:8] in first:
            expected[name] = (first[text[:8]], None)
        first.setdefault(text[:8], name)
    assert removed == expected


@quick
@given(UNITS, st.sampled_from([SMALL, Sizes()]))
def test_a_bloom_filter_finds_what_comparing_finds_and_names_nothing(fresh, units, sizes):
    exact, _ = outcome(make_task(next(fresh), Proof(Params()), units, sizes))
    removed, _ = outcome(make_task(next(fresh), Filtered(Params()), units, sizes))
    assert removed == dict.fromkeys(exact, (None, "bloom filter, false positive rate 1e-09"))


def test_what_a_bloom_filter_gets_wrong_does_not_depend_on_the_work_s_shares(tmp_path):
    random = np.random.default_rng(3)
    units = [[("".join(random.choice(list("abcdefgh"), 6)), 1) for _ in range(300)] for _ in range(4)]
    found = [
        outcome(make_task(tmp_path / str(k), Careless(Params()), units, sizes, workers))[0]
        for k, (sizes, workers) in enumerate([(Sizes(), 2), (SMALL, 1), (Sizes(partition_keys=90, fewest=1), 3)])
    ]
    exact, _ = outcome(make_task(tmp_path / "exact", Proof(Params()), units, Sizes()))
    assert found[0] == found[1] == found[2]
    assert exact.keys() < found[0].keys()


@quick
@given(UNITS, UNITS, st.sampled_from([SMALL, Sizes()]))
def test_an_index_comes_before_everything_and_loses_nothing(fresh, units, old, sizes):
    removed, counted = outcome(make_task(next(fresh), Letters(Params()), units, sizes, old=old))
    known = [set(text) for rows in old for text, _ in rows]
    new_kept: list[str] = []
    expected = set()
    for *_, name, text in everyone(units):
        near = [overlap(set(text), other) for other in [*known, *map(set, new_kept)]]
        if max(near) >= 0.6:
            expected.add(name)
        else:
            new_kept.append(text)
    assert removed.keys() == expected
    of_index = [name for name, (anchor, _) in removed.items() if anchor.startswith("old")]
    assert counted["removed_of_index"] == len(of_index)
    assert all((removed[name][1] or "").endswith(" in the index") for name in of_index)
    # with clustering: the new rows that are not the first of their component, in which the old rows come first
    clustered, told = outcome(make_task(next(fresh), Components(Params()), units, sizes, old=old))
    ordered = [[(text, 0) for text, _ in rows] for rows in old] + units
    shifted = {f"{int(name.split('/')[0]) - len(old)}/{name.split('/')[1]}" for name in components(ordered)}
    new = {name for name in shifted if not name.startswith("-")}
    assert clustered.keys() == new
    assert counted["removed_by_components"] == told["removed_by_components"] == len(new)


@pytest.mark.parametrize("sizes", [SMALL, Sizes(graph_edges=1, fewest=1), Sizes()])
def test_what_components_would_remove_is_new(tmp_path, sizes):
    old = [[("abc", 1), ("def", 1)]]  # tied to each other by a new row
    _, counted = outcome(make_task(tmp_path / "a", Letters(Params()), [[("ad", 1)]], sizes, old=old))
    assert (counted["removed"], counted["removed_by_components"]) == (0, 1)
    removed, counted = outcome(make_task(tmp_path / "b", Components(Params()), [[("ad", 1)]], sizes, old=old))
    assert (removed.keys(), counted["removed_by_components"]) == ({"0/0"}, 1)


def test_one_unit_with_very_many_pairs_is_verified_in_pieces(tmp_path):
    letters = "abcdefghijkl"
    units = [[("xyz", 1)], [(letters[k % 12] + letters[k // 12 % 12] + "xyz", 1 + k % 3) for k in range(1000)]]
    whole = make_task(tmp_path / "whole", Letters(Params()), units, Sizes())
    task = make_task(tmp_path / "pieces", Letters(Params()), units, Sizes(verify_pairs=20_000, fewest=1))
    assert outcome(task) == outcome(whole)
    counts = [report["candidate_pairs"] for report in read_reports(task.files("verified-*.arrow"))]
    assert len(counts) == 4 == len(VerifyPairs(task).plan())
    assert len(VerifyPairs(whole).plan()) == 1


def test_a_chain_does_not_remove_its_end(tmp_path):
    units = [[("abcde", 1), ("abcdef", 1), ("abcdfg", 1)]]
    removed, _ = outcome(make_task(tmp_path / "a", Letters(Params()), units, Sizes()))
    assert removed == {"0/1": ("0/0", "letters 0.8333")}
    removed, _ = outcome(make_task(tmp_path / "b", Components(Params()), units, Sizes()))
    assert removed.keys() == {"0/1", "0/2"}


def test_killed_and_taken_up_with_other_workers_gives_the_same(tmp_path):
    units = [[("abcd", 1), ("abce", 1)], [("abcd", 1), ("xyz", 2)], [("xyzw", 1), ("abc", 1)]]
    whole, _ = outcome(make_task(tmp_path / "whole", Letters(Params()), units, SMALL))
    for stop in range(1, 12):
        done = 0

        def until(phases: Sequence[Phase], stop: int = stop) -> None:
            nonlocal done
            for phase in phases:
                for work in phase.plan():
                    done += 1
                    if done > stop:
                        raise KeyboardInterrupt
                    phase(work)

        killed = make_task(tmp_path / f"killed{stop}", Letters(Params()), units, SMALL, workers=3)
        Path(killed.scratch).mkdir()
        with pytest.raises(KeyboardInterrupt):
            run_dedup(killed, until)
        for workers in (3, 1):
            again = make_task(tmp_path / f"killed{stop}", Letters(Params()), units, SMALL, workers=workers)
            assert outcome(again)[0] == whole


def graph_of(edges: list[tuple[int, int, float]]) -> Columns:
    a, b = (np.asarray([e[k] for e in edges], np.uint64) for k in (0, 1))
    part, rank = np.full(len(edges), -1, np.int32), np.ones(len(edges), np.uint64)
    return dict(zip(PAIRS.names, (rank, a, part, rank, b, part, np.asarray([e[2] for e in edges], float)), strict=True))


def test_the_most_similar_anchor_is_named():
    removed = greedy(graph_of([(0, 3, 0.8), (1, 3, 0.95), (2, 3, 0.9)]))
    assert (removed["a_node"].tolist(), removed["similarity"].tolist()) == ([1], [0.95])
    assert removed["b_part"].tolist() == [-1]


@pytest.mark.parametrize("shape", ["chain", "reverse chain", "star", "random", "two cliques"])
def test_components_that_no_worker_holds(tmp_path, shape):
    count = 200
    random = np.random.default_rng(5)
    edges = {
        "chain": [(k, k + 1) for k in range(count)],
        "reverse chain": [(int(a), int(b)) for a, b in itertools.pairwise(random.permutation(count))],
        "star": [(0, k) for k in range(1, count)] + [(3, 7)],
        "random": [(int(a), int(b)) for a, b in random.integers(0, count, (140, 2)) if a != b],
        "two cliques": [*itertools.combinations(range(15), 2), *itertools.combinations(range(20, 33), 2)],
    }[shape]
    ordered = sorted({(min(edge), max(edge)) for edge in edges})
    task = make_task(tmp_path, Letters(Params()), [[("a", 1)]], Sizes(graph_edges=20, fewest=1), workers=1)
    whole = forest(graph_of([(a, b, 1.0) for a, b in ordered]))
    for at in range(0, len(ordered), 17):
        columns = graph_of([(a, b, 1.0) for a, b in ordered[at : at + 17]])
        write_sorted(task.file(f"verified-{at:04d}.arrow"), PAIRS, [columns], "b_node")
    ties, rounds = connect(task, here, "verified")
    assert rounds <= 12
    found = {}
    for path in task.files(ties):
        for batch in pa.ipc.open_file(str(path)).read_all().to_batches():
            for a, b in zip(batch["a_node"].to_pylist(), batch["b_node"].to_pylist(), strict=True):
                assert a not in found
                found[a] = b
    assert found == dict(zip(whole["b_node"].tolist(), whole["a_node"].tolist(), strict=True))


def test_neighbours_stay_together_up_to_the_most():
    assert neighbours({0: 3, 1: 3, 2: 9, 5: 1, 7: 0}, 6) == [[0, 1], [2], [5, 7]]
