"""bench-dedup_semantic: embedding.semantic_dedup beside a comparison of all pairs.

    make bench-dedup_semantic        or: python -m benchmarks.dedup_semantic

Vectors are drawn: topics around a common mean, as text embeddings have them (rows of different topics at a cosine of
about .3, of one topic at about .7), and one row in ten is a copy of another at a cosine between .93 and 1. SIZE=small
takes 20,000 rows of 256 numbers, full 100,000. Brute force is numpy's matrix product; its pairs of cosine .95 and more
are the truth. Candidates are the pipeline's own, with its bound on crowded keys.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.harness import Stage, machine, our_versions, size, write_result
from benchmarks.peers.clock import cpu_s
from pipeline.dedup.candidates import KeyGroups
from pipeline.dedup.records import KEYS, columns_of, signed_batch
from pipeline.storage import write_arrow
from schemas.sample import sample_batch
from transforms.base import append_columns
from transforms.embedding.centroids import centroid_batch, train
from transforms.embedding.semantic_dedup import SemanticDedup, SemanticDedupParams

ROWS = {"small": 20_000, "full": 100_000}
WIDTH, TOPICS, LEAST = 256, 400, 0.95
_BATCH = 1_024


def drawn(rows: int) -> np.ndarray:
    """Unit vectors, float32 [rows, WIDTH]."""
    rng = np.random.default_rng(11)
    common, topics = rng.normal(size=WIDTH), rng.normal(size=(TOPICS, WIDTH))
    made = common * 0.9 + topics[rng.integers(0, TOPICS, rows)] + 0.85 * rng.normal(size=(rows, WIDTH))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    copies = rng.permutation(rows)[: 2 * (rows // 10)].reshape(2, -1)
    cosine = rng.uniform(0.93, 1, (copies.shape[1], 1))
    of = made[copies[0]]
    aside = rng.normal(size=of.shape)
    aside -= (aside * of).sum(axis=1, keepdims=True) * of
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    made[copies[1]] = cosine * of + np.sqrt(1 - cosine**2) * aside
    return made.astype(np.float32)


def brute_force(units: np.ndarray) -> np.ndarray:
    """Every pair (a < b) of cosine LEAST and more, as a << 32 | b, int64."""
    found = []
    for start in range(0, len(units), _BATCH):
        a, b = np.nonzero(units[start : start + _BATCH] @ units[start:].T >= LEAST)
        found.append((a[a < b] + start << 32) | (b[a < b] + start))
    return np.concatenate(found)


def batches(units: np.ndarray) -> list[pa.RecordBatch]:
    """Rows with these vectors."""
    made = []
    for start in range(0, len(units), _BATCH):
        some = units[start : start + _BATCH]
        rows = [{"id": str(start + k), "source": str(start + k), "text": "x"} for k in range(len(some))]
        column = pa.FixedSizeListArray.from_arrays(pa.array(some.ravel()), WIDTH)
        made.append(append_columns(sample_batch(rows), [(pa.field("embedding.vector", column.type), column)]))
    return made


def deduplicated(units: np.ndarray, centroids: str | None) -> tuple[np.ndarray, dict[str, Any]]:
    """(the verified pairs, as of `brute_force`; facts)."""
    step = SemanticDedup(SemanticDedupParams(centroids=centroids))
    given = batches(units)
    step.keys(given[0].slice(0, 2))
    signed_s, keys = cpu_s(lambda: [signed_batch(step, batch, _BATCH * k) for k, batch in enumerate(given)])

    def propose() -> tuple[np.ndarray, dict[str, int]]:
        groups = KeyGroups(columns_of(keys, KEYS))
        found = [pairs["a_node"] << np.uint64(32) | pairs["b_node"] for pairs in groups.pairs(proof=False)]
        return np.unique(np.concatenate(found).astype(np.int64)), groups.crowding()

    def verify() -> np.ndarray:
        evidence = pa.concat_arrays([step.evidence(batch, np.full(batch.num_rows, -1, np.int32)) for batch in given])
        return np.concatenate(
            [
                some[step.similarity(evidence, some >> 32, some & 0xFFFFFFFF) >= LEAST]
                for some in np.array_split(pairs, max(1, len(pairs) // 10**6))
            ]
        )

    propose_s, (pairs, crowding) = cpu_s(propose)
    verify_s, kept = cpu_s(verify)
    seconds = {"keys_s": signed_s, "candidates_s": propose_s, "verify_s": verify_s}
    return kept, seconds | {"keys": sum(batch.num_rows for batch in keys), "proposed": len(pairs)} | crowding


def run(data: Path | None = None) -> None:
    """Runs it, prints the table and writes benchmarks/results/dedup_semantic.json; it needs no data."""
    where, rows = machine(), ROWS[size()]
    units = drawn(rows)
    brute_s, truth = cpu_s(brute_force, units)
    stages: dict[str, Stage] = {}
    facts: dict[str, Any] = {"rows": rows, "width": WIDTH, "pairs of cosine .95": len(truth)}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "centroids.arrow")
        sample = units[np.random.default_rng(1).permutation(rows)[:20_000]]
        train_s, centroids = cpu_s(train, sample, TOPICS)
        made = centroid_batch(centroids)
        write_arrow(path, made.schema, iter([made]))
        facts["training_s"] = train_s
        for name, centroids_path in (("all rows", None), (f"{TOPICS} clusters", path)):
            found, told = deduplicated(units, centroids_path)
            facts[name] = told | {"not in brute force": len(np.setdiff1d(found, truth))}
            seconds = sum(told[part] for part in ("keys_s", "candidates_s", "verify_s"))
            share = len(np.intersect1d(found, truth)) / len(truth)
            stages[f"recall, {name}"] = Stage.of(share, {"brute force": 1.0}, "share of pairs")
            stages[f"cost, {name}"] = Stage.of(seconds, {"brute force": brute_s}, "CPU seconds", less_is_better=True)
            stages[f"proposed, {name}"] = Stage.of(
                told["proposed"], {"brute force": rows * (rows - 1) / 2}, "pairs", less_is_better=True
            )
    write_result("dedup_semantic", stages, machine=where, versions=our_versions(("numba", "numpy")), facts=facts)
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    run()
