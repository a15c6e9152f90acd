"""embedding.semantic_dedup: candidates against the S-curve, verified pairs against brute force, clusters, and a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from jobs.cli import build_app
from pipeline.clusters import train_centroids
from pipeline.curate import curate
from pipeline.graph import Launcher
from pipeline.recipe import resolve
from pipeline.storage import write_arrow
from schemas.errors import RecipeError, SchemaError, SluiceError
from schemas.ledger import score_fields
from schemas.sample import SAMPLE, sample_batch
from tests.conformance.contract import check_dedup
from transforms.base import append_columns
from transforms.embedding.centroids import centroid_batch, load_centroids, train
from transforms.embedding.semantic_dedup import SemanticDedup, SemanticDedupParams

WIDTH = 24


def embedded(vectors: np.ndarray, missing: list[int] = ()) -> pa.RecordBatch:
    rows = [{"id": str(k), "source": str(k), "text": "x" * (k + 1)} for k in range(len(vectors))]
    mask = pa.array([k in missing for k in range(len(vectors))])
    values = np.ascontiguousarray(vectors)
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1], mask=mask)
    return append_columns(sample_batch(rows), [(pa.field("embedding.vector", column.type), column)])


def step_of(**params) -> SemanticDedup:
    step = SemanticDedup(SemanticDedupParams(**params))
    step.setup()
    return step


def groups(seed: int, count: int = 40, size: int = 4, noise: float = 0.06) -> np.ndarray:
    """Vectors in groups: some pairs of a group are more alike than .95, some less."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(count, 1, WIDTH))
    return (centres + noise * rng.normal(size=(count, size, WIDTH)) * rng.uniform(0, 6, (count, size, 1))).reshape(
        -1, WIDTH
    )


def at_cosine(cosine: float, pairs: int, seed: int = 3) -> np.ndarray:
    """Rows 2k and 2k + 1 have this cosine."""
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=(2, pairs, WIDTH))
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    other -= (other * one).sum(axis=1, keepdims=True) * one
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return np.stack([one, cosine * one + np.sqrt(1 - cosine**2) * other], axis=1).reshape(-1, WIDTH)


def proposed(step: SemanticDedup, batch: pa.RecordBatch) -> list[tuple[int, int]]:
    keys = step.keys(batch)
    holders: dict[tuple, set[int]] = {}
    for row, band, key in zip(keys.row.tolist(), keys.band.tolist(), keys.key.tolist(), strict=True):
        holders.setdefault((band, *key), set()).add(row)
    return sorted({(a, b) for rows in holders.values() for a in rows for b in rows if a < b})


def verified(step: SemanticDedup, batch: pa.RecordBatch) -> set[tuple[int, int]]:
    pairs = proposed(step, batch)
    evidence = step.evidence(batch, np.full(batch.num_rows, -1, np.int32))
    similarity = step.similarity(evidence, *np.asarray(pairs, np.int64).reshape(-1, 2).T)
    return {pair for pair, like in zip(pairs, similarity, strict=True) if like >= step.min_similarity}


def brute_force(vectors: np.ndarray, least: float) -> set[tuple[int, int]]:
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return set(zip(*(side.tolist() for side in np.nonzero(np.triu(units @ units.T >= least, 1))), strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_verified_pairs_are_those_of_brute_force(seed: int) -> None:
    """With bands enough to propose all of them."""
    vectors = groups(seed)
    expected = brute_force(vectors, 0.95)
    alike = len(brute_force(vectors, 0.9))
    assert 40 < len(expected) < alike
    assert verified(step_of(bands=200, bits_per_band=12), embedded(vectors)) == expected


@pytest.mark.parametrize(("cosine", "bands", "bits"), [(0.95, 10, 20), (0.8, 10, 8), (0.0, 30, 6)])
def test_candidates_follow_the_curve(cosine: float, bands: int, bits: int) -> None:
    pairs = 2_000
    batch = embedded(at_cosine(cosine, pairs))
    keys = step_of(bands=bands, bits_per_band=bits).keys(batch).key.reshape(pairs, 2, bands, 2)
    share = (keys[:, 0] == keys[:, 1]).all(axis=2).any(axis=1).mean()
    expected = 1 - (1 - (1 - np.arccos(cosine) / np.pi) ** bits) ** bands
    assert 0.1 < expected < 0.9
    # pairs share the hyperplanes, so their draws are not independent: three times the deviation of those that are
    assert abs(share - expected) < 9 * np.sqrt(expected * (1 - expected) / pairs)


def test_defaults_find_what_the_docstring_says() -> None:
    params = SemanticDedupParams()
    for cosine, promised in ((0.95, 0.994), (0.97, 0.9999)):
        equal = (1 - np.arccos(cosine) / np.pi) ** params.bits_per_band
        assert 1 - (1 - equal) ** params.bands >= promised - 0.0005


def test_seed_and_length_of_vectors() -> None:
    vectors = groups(0)
    keys = step_of().keys(embedded(vectors)).key
    assert (keys == step_of().keys(embedded(7.5 * vectors)).key).mean() > 0.999
    assert (keys == step_of(seed=0).keys(embedded(vectors)).key).all()
    assert (keys == step_of(seed=1).keys(embedded(vectors)).key).mean() < 0.01


def test_what_has_no_direction_has_no_key() -> None:
    vectors = groups(0)[:6]
    vectors[1] = 0
    vectors[2, 3], vectors[3, 0] = np.nan, np.inf
    batch = embedded(vectors, missing=[4])
    step = step_of()
    assert sorted(set(step.keys(batch).row.tolist())) == [0, 5]
    evidence = step.evidence(batch, np.full(6, -1, np.int32))
    assert step.similarity(evidence, np.array([0, 0, 1]), np.array([0, 1, 2])).tolist() == pytest.approx([1, 0, 0])
    nothing = np.empty(0, np.int64)
    assert step.similarity(evidence[:0], nothing, nothing).tolist() == []


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
def test_keys_keep_the_contract(dtype: str) -> None:
    keys = check_dedup(step_of(), embedded(groups(1)[:30].astype(dtype), missing=[3]))
    assert len(keys.row) == 29 * 40
    assert 0.4 < keys.key[:, 1].astype(float).mean() / 2**64 < 0.6


@pytest.fixture
def clustered(tmp_path: Path) -> tuple[np.ndarray, str]:
    """Vectors in eight directions and the centroids trained on them."""
    rng = np.random.default_rng(5)
    vectors = np.repeat(rng.normal(size=(8, WIDTH)), 40, axis=0) + 0.35 * rng.normal(size=(320, WIDTH))
    vectors[1::2] = vectors[::2] + 0.03 * rng.normal(size=(160, WIDTH))
    units = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    path = str(tmp_path / "centroids.arrow")
    batch = centroid_batch(train(units[rng.permutation(320)], 8))
    write_arrow(path, batch.schema, iter([batch]))
    return vectors, path


def test_clusters_cut_candidates_and_lose_no_duplicate_at_a_border(clustered) -> None:
    vectors, path = clustered
    batch = embedded(vectors)
    expected = brute_force(vectors, 0.95)
    assert len(expected) >= 150
    many = {"bands": 60, "bits_per_band": 8}
    alone, one, two = (
        step_of(**many, **more) for more in ({}, {"centroids": path, "num_clusters": 1}, {"centroids": path})
    )
    assert verified(alone, batch) == verified(two, batch) == expected
    assert verified(one, batch) <= expected
    assert len(proposed(one, batch)) < len(proposed(two, batch)) < len(proposed(alone, batch))
    check_dedup(two, embedded(vectors[:20]))


def test_the_farthest_from_its_centroid_is_kept(clustered) -> None:
    vectors, path = clustered
    keys = step_of(centroids=path, keep="farthest").keys(embedded(vectors))
    rank = {row: keys.rank[keys.row == row] for row in range(len(vectors))}
    centroids = load_centroids(path)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = (units @ centroids.T).max(axis=1)
    assert all(len(set(ranks.tolist())) == 1 for ranks in rank.values())
    order = sorted(rank, key=lambda row: rank[row][0])
    assert np.diff(likeness[order]).min() > -1e-6
    with pytest.raises(ValueError, match="give centroids"):
        SemanticDedupParams(keep="farthest")


def test_planning_says_what_is_wrong(clustered) -> None:
    schema = embedded(clustered[0]).schema
    step_of().check(schema)
    for given_schema, params, complaint in (
        (SAMPLE, {}, "no column 'embedding.vector'"),
        (schema, {"column": "text"}, "not vectors"),
        (schema, {"keep": {"column": "score.none"}}, "no column 'score.none'"),
        (schema, {"centroids": clustered[1], "num_clusters": 9}, "of 8 centroids"),
        (embedded(np.ones((1, 7))).schema, {"centroids": clustered[1]}, "vectors of 7 numbers"),
    ):
        with pytest.raises(SchemaError, match=complaint):
            step_of(**params).check(given_schema)


def test_what_are_no_centroids(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="there are no centroids"):
        load_centroids(str(tmp_path / "none.arrow"))
    torn, other, zero = (str(tmp_path / f"{name}.arrow") for name in ("torn", "other", "zero"))
    Path(torn).write_bytes(b"ARROW1 no more")
    write_arrow(other, SAMPLE, iter([sample_batch([])]))
    batch = centroid_batch(np.zeros((2, 3), np.float32))
    write_arrow(zero, batch.schema, iter([batch]))
    for path in (torn, other, zero):
        with pytest.raises(RecipeError, match="cannot be used as centroids"):
            load_centroids(path)
    with pytest.raises(SluiceError, match=r"1 distinct vectors .* ask for fewer"):
        train(np.ones((5, 3), np.float32), 2)


def test_an_empty_cluster_starts_anew() -> None:
    """All three start at one place, where the first takes every row from the others."""
    rng = np.random.default_rng(2)
    same = [[1, -1e-5 * k, 0] for k in range(3)]
    rows = np.concatenate([same, np.abs(rng.normal(size=(60, 3))) * 0.05 + np.eye(3)[1:].repeat(30, axis=0)])
    units = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    nearest = (units @ train(units, 3).T).argmax(axis=1)
    assert len(set(nearest.tolist())) == 3


def corpus(folder: Path) -> dict:
    """Rows of ten directions: of each three, one nearly the first and one unlike it; and rows without a vector."""
    rng = np.random.default_rng(9)
    lines = []
    for k in range(10):
        first = rng.normal(size=8)
        for name, vector in (("first", first), ("copy", 2 * first + 0.01), ("other", rng.normal(size=8))):
            lines.append({"id": f"{name}-{k}", "text": f"{name} {k}", "embedding": vector.round(6).tolist()})
    lines += [{"id": "none", "text": "no vector"}, {"id": "short", "text": "a short one", "embedding": [1.0, 2.0]}]
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {
        "recipe": 1,
        "name": "embedded",
        "inputs": [{"use": "jsonl", "with": {"paths": str(folder / "rows.jsonl")}}],
        "steps": [
            {"use": "embedding.from_meta", "with": {"width": 8}},
            {"use": "embedding.semantic_dedup", "with": {"centroids": str(folder / "centroids.arrow")}},
        ],
        "tokens": {"tokenizer": {"train": {"vocab_size": 300}}, "sequence_length": 256},
        "output": {"path": str(folder / "out")},
        "unit_bytes": 2048,
    }


def test_trained_and_run(tmp_path: Path) -> None:
    recipe = corpus(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    centroids = tmp_path / "centroids.arrow"
    done = CliRunner().invoke(build_app(), ["clusters", "train", str(path), "--clusters", "3", "--out", str(centroids)])
    assert done.exit_code == 0, done.output
    assert "3 centroids of 30 vectors (32 rows read, 30 with a vector)" in " ".join(done.output.split())
    again = train_centroids(resolve(recipe), tmp_path / "again.arrow", 3, 30)
    assert (again.rows, again.vectors, again.learned_from) == (32, 30, 30)
    assert (tmp_path / "again.arrow").read_bytes() == centroids.read_bytes()
    assert train_centroids(resolve(recipe), tmp_path / "few.arrow", 3, 5).learned_from == 5
    curate(resolve(recipe), Launcher("direct", 1))
    rows = [
        row
        for file in sorted((tmp_path / "out" / "ledger").glob("*.parquet"))
        for row in pq.read_table(file).to_pylist()
    ]
    removed = {row["id"]: row for row in rows if row["verdict"] == "rejected"}
    assert sorted(removed) == sorted(f"copy-{k}" for k in range(10))
    for name, row in removed.items():
        assert row["match_id"] == name.replace("copy", "first")
        assert row["step"] == "2:embedding.semantic_dedup" and float(row["detail"].removeprefix("cosine ")) >= 0.95
    assert "embedding.vector" not in rows[0]


def test_vectors_stay_out_of_the_ledger() -> None:
    assert score_fields(embedded(groups(0)).schema) == []
