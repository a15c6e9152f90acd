"""recipes/quality_classifier_v1.yaml: the commands in its head, run as they stand on a small demo corpus."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs import cli
from jobs.sample import write_sample
from jobs.sample.banks import KEPT

RECIPE = Path("recipes/quality_classifier_v1.yaml").resolve()


def commands() -> list[list[str]]:
    """The command lines of the recipe's head."""
    head = "\n".join(line[1:] for line in RECIPE.read_text().splitlines() if line.startswith("#"))
    lines = re.findall(r"^ +(sluice .*)$", head.replace("\\\n", ""), re.MULTILINE)
    return [shlex.split(line.replace("recipes/quality_classifier_v1.yaml", str(RECIPE))) for line in lines]


def test_the_recipe_does_as_its_head_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jobs.leave.leave", sys.exit)
    made, *others = commands()
    assert made == ["sluice", "sample", "demo"]
    write_sample("demo", seed=17, scale=0.25)
    assert sorted(path.name for path in Path("demo/labelled/high").iterdir()) == [f"{lang}.jsonl.gz" for lang in KEPT]
    assert [command[1] for command in others] == ["classifier", "ngram", "curate"]
    for command in others:
        extra = ["--workers", "1"] if command[1] == "curate" else []
        monkeypatch.setattr(sys, "argv", [*command, *extra])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert not left.value.code, capsys.readouterr().err
    truth = [json.loads(line) for line in Path("demo/truth.jsonl").read_text().splitlines()]
    english = {t["id"]: t for t in truth if t["modality"] == "text" and t.get("lang") == "en"}
    rows = [row for path in Path("out").rglob("ledger/*.parquet") for row in pq.read_table(path).to_pylist()]
    seen = {row["id"]: row for row in rows if row["id"] in english}
    assert len(seen) == len(english) > 100
    for name, told in english.items():
        assert told["expected"] in ("either", seen[name]["verdict"]), (told, seen[name])
    judged = [row for row in seen.values() if row["score.quality"] is not None]
    assert {row["reason"] for row in judged} >= {None, "low_quality"}
    assert all((row["score.quality"] < 0.5) == (row["reason"] == "low_quality") for row in judged)
    kept = [row for row in seen.values() if row["verdict"] == "kept"]
    assert all(row["score.perplexity"] > 1 and row["text.perplexity_bucket"] for row in kept)
