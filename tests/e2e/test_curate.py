"""A run end to end: conservation, the same bytes whatever the circumstances, resume, nothing to do."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.curate import curate
from pipeline.graph import Launcher
from schemas.errors import SluiceError
from schemas.ledger import LEDGER_FIELDS
from schemas.manifest import read_manifest
from schemas.shard import open_shard
from tests.e2e.corpus import recipe_dict, shard_digests, small_recipe, write_corpus
from transforms.tokens.tokenizer import Tokenizer

LOCAL = Launcher("direct", 1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    return folder, write_corpus(folder)


@pytest.fixture(scope="module")
def dataset(corpus, tmp_path_factory):
    """The undisturbed run every other one is compared with."""
    out = tmp_path_factory.mktemp("out") / "dataset"
    result = curate(small_recipe(corpus[0], out), LOCAL)
    assert not result.unchanged
    return out


def ledger(folder: Path) -> list[dict]:
    return [row for path in sorted((folder / "ledger").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_every_input_row_has_one_ledger_row(corpus, dataset):
    rows = [row for row in ledger(dataset) if row["part"] is None]
    assert len(rows) == sum(corpus[1].values())
    assert len({row["source"] for row in rows}) == len(rows)
    by_dataset = {name: sum(row["source"].startswith(f"{name}/") for row in rows) for name in corpus[1]}
    assert by_dataset == corpus[1]
    counts = read_manifest(dataset).counts
    assert counts.rows_in == len(rows) == counts.rows_kept + counts.rows_rejected
    assert counts.rows_kept == sum(row["verdict"] == "kept" for row in rows)


def test_planted_faults_are_found_with_their_reasons(dataset):
    counts = read_manifest(dataset).counts
    assert counts.rejected["input:jsonl"] == {"bad_json": 3, "no_text": 3, "invalid_utf8": 3}
    assert counts.rejected["5:text.exact_dedup"]["duplicate"] == 12
    assert counts.rejected["8:text.minhash_dedup"]["duplicate"] >= 3
    assert counts.rejected["7:select.sample"]["not_sampled"] > 0
    parts = {step: sum(reasons.values()) for step, reasons in counts.parts_rejected.items()}
    assert parts["2:image.decode"] == 2
    assert parts["4:audio.silence"] == 1
    assert parts["6:media.exact_dedup"] == 1


def test_a_duplicate_names_the_row_it_duplicates(dataset):
    rows = ledger(dataset)
    ids = {row["id"]: row for row in rows if row["part"] is None}
    duplicates = [row for row in rows if row["step"] == "8:text.minhash_dedup"]
    assert duplicates
    for row in duplicates:
        assert ids[row["match_id"]]["verdict"] == "kept"
        assert float(row["detail"].removeprefix("jaccard ")) >= 0.8


def test_shards_hold_every_kept_document_whole(dataset):
    manifest = read_manifest(dataset)
    tokenizer = Tokenizer.load(str(dataset / "tokenizer"))
    pieces: dict[str, list[int]] = {}
    images = 0
    for entry in manifest.shards:
        for row in open_shard(dataset / entry.path).to_pylist():
            at = 0
            assert len(row["document_lengths"]) == len(row["source_ids"])
            for size, name in zip(row["document_lengths"], row["source_ids"], strict=True):
                pieces.setdefault(name, []).extend(row["input_ids"][at : at + size])
                at += size
            images += len(row["images"])
            pad = tokenizer.special_ids["<|image_pad|>"]
            expected = sum(t * h * w // 4 for t, h, w in (image["grid_thw"] for image in row["images"]))
            assert row["input_ids"].count(pad) == expected
            assert all(row["input_ids"][image["offset"]] == pad for image in row["images"])
    kept = {row["id"]: row for row in ledger(dataset) if row["verdict"] == "kept"}
    assert set(pieces) == set(kept)
    assert {name: len(ids) for name, ids in pieces.items()} == {name: row["tokens.count"] for name, row in kept.items()}
    assert len(manifest.shards) > 1 and images == 3
    short = [row for row in kept.values() if row["modality"] == "text" and row["tokens.count"] < 256]
    assert len(short) > 50
    for row in short:  # one piece: the document can be read back
        assert tokenizer.decode(pieces[row["id"]]).startswith(row["excerpt"])
        assert tokenizer.decode(pieces[row["id"]]).endswith("<|endoftext|>")


def test_ledger_has_its_columns_and_scores(dataset):
    table = pq.read_table(dataset / "ledger" / "00000.parquet")
    assert table.schema.names[: len(LEDGER_FIELDS)] == [field.name for field in LEDGER_FIELDS]
    assert "tokens.count" in table.schema.names


def test_a_second_run_has_nothing_to_do(corpus, dataset):
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}
    assert curate(small_recipe(corpus[0], dataset), LOCAL).unchanged
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*")} == before


def test_another_recipe_does_not_overwrite_unasked(corpus, dataset, tmp_path):
    changed = small_recipe(corpus[0], dataset, seed=18)
    with pytest.raises(SluiceError, match="another recipe"):
        curate(changed, LOCAL)


def test_two_workers_and_reversed_files_give_the_same_bytes(corpus, dataset, tmp_path):
    recipe = recipe_dict(corpus[0], tmp_path / "two")
    files = sorted(str(path) for path in (corpus[0] / "text").glob("*.gz"))
    recipe["inputs"][0]["with"]["paths"] = files[::-1]
    recipe["inputs"] = recipe["inputs"][::-1]
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    sluice(["curate", str(path), "--workers", "2"], PYTHONHASHSEED="4242")
    assert shard_digests(tmp_path / "two") == shard_digests(dataset)
    assert read_manifest(tmp_path / "two").counts == read_manifest(dataset).counts


def test_killed_at_any_moment_and_rerun_gives_the_same_bytes(corpus, dataset, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe_dict(corpus[0], tmp_path / "killed")))
    rng = random.Random(11)
    for _ in range(3):
        started = subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", "curate", str(path), "--workers", "2"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(rng.uniform(4, 9))
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
        if (tmp_path / "killed" / "manifest.json").exists():
            break
    sluice(["curate", str(path), "--workers", "2"])
    assert shard_digests(tmp_path / "killed") == shard_digests(dataset)
    assert read_manifest(tmp_path / "killed").counts == read_manifest(dataset).counts
    assert not (tmp_path / "killed" / ".work").exists()


def test_a_torn_intermediate_file_is_never_read(corpus, dataset, tmp_path):
    """A worker killed while writing leaves temporary files only; they are not taken for finished ones."""
    recipe = small_recipe(corpus[0], tmp_path / "torn")
    work = tmp_path / "torn" / ".work" / "stage0"
    work.mkdir(parents=True)
    curate(recipe.model_copy(update={"output": recipe.output.model_copy(update={"keep_work": True})}), LOCAL)
    unit = next(folder for folder in work.iterdir() if (folder / "unit.json").exists())
    (unit / "unit.json").unlink()
    (unit / "kept.arrow").write_bytes(b"torn")
    (tmp_path / "torn" / "manifest.json").unlink()
    curate(recipe, LOCAL)
    assert shard_digests(tmp_path / "torn") == shard_digests(dataset)


def sluice(arguments: list[str], **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "jobs.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done


def test_no_row_at_all_is_a_dataset_with_nothing_in_it(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "empty.jsonl").write_bytes(b"")
    recipe = recipe_dict(tmp_path, tmp_path / "out")
    recipe["inputs"] = [{"use": "jsonl", "with": {"paths": f"{tmp_path}/in"}}]
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    sluice(["curate", str(path), "--workers", "1"])
    counts = read_manifest(tmp_path / "out").counts
    assert (counts.rows_in, counts.tokens) == (0, 0)
