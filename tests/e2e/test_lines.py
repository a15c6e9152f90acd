"""A global step on lines end to end: headers and footers planted across hosts go, and nothing else does."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.curate import curate
from pipeline.graph import Launcher
from pipeline.recipe import resolve
from schemas.manifest import read_manifest
from schemas.shard import open_shard
from tests.e2e.corpus import document, shard_digests
from transforms.text.words import split_unicode
from transforms.tokens.tokenizer import Tokenizer

HOSTS = ("north.example", "south.example", "www.east.example")
STEP = "3:text.line_dedup_across"
REMOVED = "text.line_dedup_across.removed"


def write_pages(folder: Path) -> dict[str, dict[str, Any]]:
    """Pages of three hosts in four files, a header and a footer on each; returns them by id."""
    rng = random.Random(3)
    pages = {}
    for k in range(60):
        host = HOSTS[k % 3]
        body = [document(rng, 2) for _ in range(rng.randint(2, 5))]
        if k % 20 == 7:
            body = []  # nothing but boilerplate
        if k in (3, 6):
            body.insert(1, "A line that two pages of the host share is no boilerplate.")
        if k in (53, 56):
            body.insert(1, "Two pages share this line, and the second one's exact duplicate does not count.")
        if k in (0, 1, 2):
            body.insert(1, "Three pages share this line, each on a host of its own.")
        header = [f"Welcome to {host}!", "Home | News |  Contact"]
        text = "\n".join([*header, "", *body, "", f"© {host.upper()}, all rights reserved"])
        pages[f"page-{k}"] = {"id": f"page-{k}", "text": text, "url": f"https://{host}/{k}"}
    pages["page-59"]["text"] = pages["page-56"]["text"]  # an exact duplicate: gone before lines are counted
    pages["page-58"]["url"] = None  # no host, so nothing to compare with
    folder.mkdir(parents=True)
    for file in range(4):
        lines = [json.dumps(page) for page in list(pages.values())[file * 15 : file * 15 + 15]]
        (folder / f"part-{file}.jsonl").write_text("\n".join(lines) + "\n")
    return pages


def expected(pages: dict[str, dict[str, Any]], most: int = 2) -> dict[str, str]:
    """By brute force: the pages' texts without lines that more than `most` pages of their host have."""
    alive = {name: page for name, page in pages.items() if name != "page-59"}
    counts = Counter(
        (page["url"].split("/")[2], line)
        for page in alive.values()
        if page["url"]
        for line in {" ".join(line.split()).casefold() for line in page["text"].split("\n")}
    )
    left = {}
    for name, page in alive.items():
        lines = page["text"].split("\n")
        if page["url"]:
            host = page["url"].split("/")[2]
            lines = [line for line in lines if counts[host, " ".join(line.split()).casefold()] <= most or not line]
        left[name] = "\n".join(lines).strip("\n")
    return left


def recipe(folder: Path, out: Path, **changes: Any) -> Any:
    gentle = {
        "use": "text.gopher_quality",
        "with": {"min_words": 1, "min_stop_words": 0, "max_bullet_line_ratio": None},
    }
    return resolve(
        {
            "recipe": 1,
            "name": "lines",
            "inputs": [{"use": "jsonl", "with": {"paths": f"{folder}/*.jsonl"}}],
            "steps": [
                gentle,
                {"use": "text.exact_dedup"},
                {"use": "text.line_dedup_across"},
                gentle,
                {"use": "text.minhash_dedup"},
            ],
            "tokens": {"tokenizer": {"train": {"vocab_size": 300}}, "sequence_length": 1024},
            "output": {"path": str(out)},
            "unit_bytes": 2048,
        }
        | changes
    )


def ledger(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for path in sorted((folder / "ledger").iterdir()) for row in pq.read_table(path).to_pylist()}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages") / "in"
    return folder, write_pages(folder)


@pytest.fixture(scope="module")
def dataset(pages, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "lines"
    curate(recipe(pages[0], out), Launcher("direct", 1))
    return out


def test_the_kept_texts_are_those_of_brute_force(pages, dataset):
    left = expected(pages[1])
    tokenizer = Tokenizer.load(str(dataset / "tokenizer"))
    found = {}
    for entry in read_manifest(dataset).shards:
        for row in open_shard(dataset / entry.path).to_pylist():
            at = 0
            for size, name in zip(row["document_lengths"], row["source_ids"], strict=True):
                text = tokenizer.decode(row["input_ids"][at : at + size]).removesuffix("<|endoftext|>")
                found[name] = found.get(name, "") + text
                at += size
    assert found == {name: text for name, text in left.items() if text}
    assert "A line that two pages" in found["page-3"] and "Three pages share" in found["page-0"]
    assert "Two pages share" in found["page-56"]
    assert "Welcome" in found["page-58"] and sum("Welcome" in text for text in found.values()) == 1


def test_the_ledger_tells_what_happened(pages, dataset):
    rows = ledger(dataset)
    left = expected(pages[1])
    counts = read_manifest(dataset).counts
    assert counts.rows_in == len(rows) == 60
    assert counts.rejected == {"2:text.exact_dedup": {"duplicate": 1}, STEP: {"no_lines_left": 3}}
    for name, page in pages[1].items():
        row = rows[name]
        if name == "page-59":
            assert (row["reason"], row["match_id"], row[REMOVED]) == ("duplicate", "page-56", None)
            continue
        lines = [line for line in page["text"].split("\n") if line]
        assert row[REMOVED] == len(lines) - len([line for line in left[name].split("\n") if line])
        if not left[name]:
            assert (row["reason"], row["detail"]) == ("no_lines_left", "3 removed")
            assert page["text"].startswith(row["excerpt"])
        else:
            assert row["num_chars"] == len(left[name])
            assert row["signal.gopher.word_count.paper"] == len(split_unicode(left[name]))


@pytest.mark.parametrize(
    ("launcher", "changes"),
    [
        (Launcher("direct", 2), {}),
        (Launcher("direct", 1), {"unit_bytes": 900}),
        (Launcher("portable", 1, ["--job_endpoint=embed", "--environment_type=LOOPBACK"]), {}),
    ],
    ids=["two workers", "other units", "embedded job server"],
)
def test_the_same_bytes_however_it_runs(pages, dataset, tmp_path, launcher, changes):
    curate(recipe(pages[0], tmp_path / "out", **changes), launcher)
    assert shard_digests(tmp_path / "out") == shard_digests(dataset)
    assert read_manifest(tmp_path / "out").counts == read_manifest(dataset).counts
    assert ledger(tmp_path / "out") == ledger(dataset)


def test_a_changed_limit_is_another_result_and_reuses_what_comes_before(pages, dataset, tmp_path):
    kept = {"output": {"path": str(tmp_path / "out"), "keep_work": True}}
    curate(recipe(pages[0], tmp_path / "out", **kept), Launcher("direct", 1))
    assert curate(recipe(pages[0], tmp_path / "out", **kept), Launcher("direct", 1)).unchanged
    steps = recipe(pages[0], tmp_path / "out").model_dump(by_alias=True, mode="json")["steps"]
    steps[2]["with"]["max_count"] = 1
    curate(recipe(pages[0], tmp_path / "out", steps=steps, **kept), Launcher("direct", 1), overwrite=True)
    left = expected(pages[1], most=1)
    assert "A line that two pages" not in left["page-3"]
    assert {name: row["num_chars"] for name, row in ledger(tmp_path / "out").items() if row["verdict"] == "kept"} == {
        name: len(text) for name, text in left.items() if text
    }


def test_the_first_occurrence_in_the_corpus_stays(pages, tmp_path):
    steps = [{"use": "text.line_dedup_across", "with": {"preset": "ccnet", "ignore_numbers": False}}]
    tokens = {"tokenizer": {"train": {"vocab_size": 300}}, "sequence_length": 1024}
    curate(recipe(pages[0], tmp_path / "out", steps=steps, tokens=tokens), Launcher("direct", 1))
    seen: set[str] = set()
    for name, page in pages[1].items():
        lines = []
        for line in page["text"].split("\n"):
            form = " ".join(line.split()).casefold()
            if not form or form not in seen:
                lines.append(line)
            seen.add(form)
        text = "\n".join(lines).strip("\n")
        row = ledger(tmp_path / "out")[name]
        assert row["num_chars"] == len(text or page["text"])
        assert row["reason"] == (None if text else "no_lines_left")
