"""A quoted passage end to end: it is cut where it comes again, or only reported, and the ledger says so."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.curate import curate
from pipeline.graph import Launcher
from pipeline.recipe import resolve
from schemas.manifest import read_manifest
from schemas.shard import open_shard
from tests.e2e.corpus import shard_digests
from transforms.tokens.tokenizer import Tokenizer

STEP = "text.substring_dedup"


def words(rng: random.Random, count: int) -> str:
    return " ".join("".join(rng.choices("abcdefghiklmnoprstuvw", k=rng.randint(2, 9))) for _ in range(count))


def write_pages(folder: Path) -> tuple[dict[str, str], str]:
    """Pages in three files, of which the second one and the last one of all quote sixty words of the first; returns
    the pages by id, and the passage."""
    rng = random.Random(11)
    passage = words(rng, 60)
    pages = {f"page-{k}": f"{words(rng, 40)}\n\n{words(rng, 49)}" for k in range(18)}
    for name in ("page-0", "page-1", "page-17"):
        before, after = pages[name].split("\n\n")
        pages[name] = f"{before} says: {passage} . And so on.\n\n{after}"
    pages["page-5"] = passage.replace(" ", "\n", 7)  # and one is nothing else
    folder.mkdir(parents=True)
    for file in range(3):
        some = list(pages.items())[file * 6 : file * 6 + 6]
        lines = [json.dumps({"id": name, "text": text}) for name, text in some]
        (folder / f"part-{file}.jsonl").write_text("\n".join(lines) + "\n")
    return pages, passage


def recipe(folder: Path, out: Path, *steps: Any, unit_bytes: int = 2048) -> Any:
    return resolve(
        {
            "recipe": 1,
            "name": "passages",
            "inputs": [{"use": "jsonl", "with": {"paths": f"{folder}/*.jsonl"}}],
            "steps": list(steps),
            "tokens": {"tokenizer": {"train": {"vocab_size": 300}}, "sequence_length": 1024},
            "output": {"path": str(out)},
            "unit_bytes": unit_bytes,
        }
    )


def ledger(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for path in sorted((folder / "ledger").iterdir()) for row in pq.read_table(path).to_pylist()}


def texts(folder: Path) -> dict[str, str]:
    tokenizer = Tokenizer.load(str(folder / "tokenizer"))
    found: dict[str, str] = {}
    for entry in read_manifest(folder).shards:
        for row in open_shard(folder / entry.path).to_pylist():
            at = 0
            for size, name in zip(row["document_lengths"], row["source_ids"], strict=True):
                text = tokenizer.decode(row["input_ids"][at : at + size]).removesuffix("<|endoftext|>")
                found[name] = found.get(name, "") + text
                at += size
    return found


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages") / "in"
    return folder, *write_pages(folder)


@pytest.fixture(scope="module")
def dataset(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "passages"
    curate(recipe(corpus[0], out, {"use": STEP}), Launcher("direct", 1))
    return out


def test_the_passage_stays_where_it_comes_first(corpus, dataset):
    _, pages, passage = corpus
    expected = {name: text for name, text in pages.items() if name != "page-5"}
    for name in ("page-1", "page-17"):
        # "says:" and ". And so on." stand around it on all three pages
        expected[name] = pages[name].replace(f" says: {passage} . And so on.", "")
    assert texts(dataset) == expected
    assert passage in expected["page-0"]


def test_the_ledger_says_what_went(corpus, dataset):
    _, pages, passage = corpus
    rows = ledger(dataset)
    quoted = f"says: {passage} . And so on."
    for name, text in pages.items():
        row = rows[name]
        if name in ("page-1", "page-17"):
            share = len(quoted) / len(text)
            assert (row[f"{STEP}.removed"], row[f"{STEP}.repeated_ratio"]) == (1, pytest.approx(share))
        elif name == "page-5":
            assert (row["reason"], row["detail"], row[f"{STEP}.removed"]) == ("no_text_left", "1 removed", 1)
            assert row[f"{STEP}.repeated_ratio"] == 1
        else:
            assert (row["verdict"], row[f"{STEP}.removed"], row[f"{STEP}.repeated_ratio"]) == ("kept", 0, 0)
    assert read_manifest(dataset).counts.rejected == {f"1:{STEP}": {"no_text_left": 1}}


def test_the_same_bytes_in_other_units_and_processes(corpus, dataset, tmp_path):
    curate(recipe(corpus[0], tmp_path / "out", {"use": STEP}, unit_bytes=900), Launcher("direct", 2))
    assert shard_digests(tmp_path / "out") == shard_digests(dataset)
    assert ledger(tmp_path / "out") == ledger(dataset)


def test_a_report_decides_nothing_and_a_range_does(corpus, tmp_path):
    folder, pages, _ = corpus
    report = {"use": STEP, "with": {"action": "report", "keep": "none"}}
    decide = {"use": "select.range", "with": {"column": f"{STEP}.repeated_ratio", "max": 0.5, "reason": "copied"}}
    curate(recipe(folder, tmp_path / "out", report, decide), Launcher("direct", 1))
    rows = ledger(tmp_path / "out")
    assert [name for name, row in rows.items() if row["reason"] == "copied"] == ["page-5"]
    kept = [name for name, row in rows.items() if row["verdict"] == "kept"]
    assert texts(tmp_path / "out") == {name: pages[name] for name in kept}
    assert sorted(n for n in rows if rows[n][f"{STEP}.repeated_ratio"]) == ["page-0", "page-1", "page-17", "page-5"]
