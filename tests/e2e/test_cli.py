"""The command line as a person meets it: errors in one paragraph, exit codes, and input that means harm."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml


def recipe(folder: Path, **changes: object) -> Path:
    """A small text recipe over `folder/in`."""
    made = {
        "recipe": 1,
        "name": "small",
        "inputs": [{"use": "jsonl", "with": {"paths": str(folder / "in"), "max_row_bytes": 2**20}}],
        "steps": [{"use": "text.normalize"}],
        "tokens": {"tokenizer": "bytes", "sequence_length": 256},
        "output": {"path": str(folder / "out")},
    } | changes
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(made))
    return path


def verdicts(out: Path) -> Counter:
    rows = [row for path in (out / "ledger").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    return Counter((row["verdict"], row["reason"]) for row in rows)


def test_help_lists_every_command(sluice):
    code, out, _ = sluice("--help")
    assert code == 0
    for command in (
        "sample",
        "curate",
        "report",
        "explain",
        "forget",
        "transforms",
        "tokenizer",
        "train",
        "generate",
        "eval",
        "ablate",
    ):
        assert command in out


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"steps": [{"use": "text.normalise"}]},
            "steps[0] (text.normalise): unknown transform 'text.normalise'; did",
        ),
        ({"steps": [{"use": "select.sample", "with": {"fractoin": 1}}]}, "did you mean 'fraction'?"),
        (
            {"steps": [{"use": "text.line_dedup_across", "with": {"keep": "first"}}]},
            "steps[0] (text.line_dedup_across): keep: first goes with max_count: null",
        ),
        ({"steps": [{"use": "image.size"}]}, "image.decode"),
        ({"inputs": [{"use": "json", "with": {"paths": "x"}}]}, "did you mean 'jsonl'?"),
        ({"token": {}}, "token: no such parameter; did you mean 'tokens'?"),
        ({"name": "a b"}, "name:"),
        ({"steps": [{"use": "text.exact_dedup", "when": {"modality": "text"}}]}, "takes no `when`"),
    ],
)
def test_a_wrong_recipe_is_one_clear_paragraph(sluice, tmp_path, changes, expected):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text('{"text": "x"}\n')
    code, out, err = sluice("curate", recipe(tmp_path, **changes))
    assert (code, out) == (1, "")
    assert err.startswith("error: recipe 'small'" if "name" not in changes else "error: recipe 'a b'")
    assert expected in err
    assert "Traceback" not in err and err.count("\n") <= 2


def test_overrides_change_a_step_by_name_or_number(sluice, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text('{"text": "x"}\n')
    steps = [{"use": "select.sample", "with": {"fraction": 1.0}}]
    for place in ("steps.select.sample.fraction", "steps.0.fraction"):
        code, _, err = sluice("curate", recipe(tmp_path, steps=steps), "--set", f"{place}=2", "--workers", "1")
        assert code == 1 and "fraction" in err and "(got 2)" in err
    code, _, err = sluice("curate", recipe(tmp_path, steps=steps), "--set", "steps.sample.fraction=1")
    assert code == 1 and "no such step; did you mean steps.select.sample" in err


def test_nothing_to_read_says_what_was_looked_for(sluice, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "data.csv").write_text("a,b")
    code, _, err = sluice("curate", recipe(tmp_path))
    assert code == 1 and str(tmp_path / "in") in err and ".jsonl" in err
    code, _, err = sluice("curate", tmp_path / "none.yaml")
    assert code == 1 and "none.yaml" in err


def test_an_unknown_runner_is_refused_before_anything_runs(sluice, tmp_path):
    code, _, err = sluice("curate", recipe(tmp_path), "--runner", "dask")
    assert code == 1 and "unknown runner 'dask'; known: direct, prism" in err
    flag = "--direct_running_mode=multi_threading"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text('{"text": "x"}\n')
    code, _, err = sluice("curate", recipe(tmp_path), "--workers", "1", "--", flag)
    assert code == 1 and "loses rows" in err


def test_harmful_input_becomes_ledger_rows(sluice, tmp_path):
    """A 50 MB line, invalid UTF-8, a truncated gzip, an empty file, a bomb: reasons, not crashes; good rows stay."""
    folder = tmp_path / "in"
    folder.mkdir()
    good = json.dumps({"text": "A plain good row of text."}).encode() + b"\n"
    (folder / "a.jsonl").write_bytes(good + b'{"text": "' + b"x" * 50_000_000 + b'"}\n' + good)
    (folder / "b.jsonl").write_bytes(good + b'{"text": "\xff\xfe\xfa"}\n')
    (folder / "c.jsonl").write_bytes(b"")
    packed = gzip.compress(b"".join(json.dumps({"text": f"Row {k} of many."}).encode() + b"\n" for k in range(20_000)))
    (folder / "d.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    (folder / "e.jsonl.gz").write_bytes(gzip.compress(b'{"text": "' + b"\0" * 40_000_000 + b'"}\n' + good))
    (folder / "f.jsonl").write_bytes(b"[" * 100_000 + b"\n" + good)
    code, _, err = sluice("curate", recipe(tmp_path), "--workers", "1")
    assert code == 0, err
    found = verdicts(tmp_path / "out")
    assert found[("rejected", "too_long")] == 2
    assert found[("rejected", "invalid_utf8")] == 1
    assert found[("rejected", "truncated")] == 1
    assert found[("rejected", "bad_json")] == 1
    assert found[("kept", None)] > 1000
    code, out, _ = sluice("report", tmp_path / "out", "--json")
    assert code == 0 and json.loads(out)


def test_explain_tells_a_rows_story(sluice, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    rows = [{"id": "first", "text": "The same words."}, {"id": "second", "text": "the  same words."}]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, err = sluice("curate", recipe(tmp_path, steps=[{"use": "text.exact_dedup"}]), "--workers", "1")
    assert code == 0, err
    code, out, _ = sluice("explain", tmp_path / "out", "second")
    assert code == 0
    for word in ("rejected", "1:text.exact_dedup", "duplicate", "first"):
        assert word in out
    code, _, err = sluice("explain", tmp_path / "out", "secnd")
    assert code == 1 and "second" in err
    code, _, err = sluice("explain", tmp_path, "second")
    assert code == 1 and "manifest.json" in err


def test_transforms_are_listed_with_their_reasons(sluice):
    code, out, _ = sluice("transforms", "--json")
    listed = json.loads(out)
    assert code == 0
    assert listed["text.minhash_dedup"]["global"] is True
    assert "too_few_parts" in listed["select.media"]["reasons"]
    code, out, err = sluice("transforms", "text.minhash")
    assert code == 1 and "text.minhash_dedup" in err


def test_a_tokenizer_is_trained_from_files(sluice, tmp_path):
    (tmp_path / "in").mkdir()
    lines = [json.dumps({"body": "the quick brown fox jumps over the lazy dog " * 20}) for _ in range(50)]
    (tmp_path / "in" / "a.jsonl").write_text("\n".join(lines))
    arguments = ("tokenizer", "train", tmp_path / "in", "--out", tmp_path / "tok", "--vocab-size", 320)
    code, out, err = sluice(*arguments, "--column", "body")
    assert code == 0, err
    assert (tmp_path / "tok" / "tokenizer.json").exists() and "fingerprint" in out


def test_a_place_where_nothing_can_be_written_is_told_in_a_line(sluice, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text(json.dumps({"text": "One line of text."}) + "\n")
    (tmp_path / "file").write_text("")
    code, _, err = sluice("curate", recipe(tmp_path), "--workers", "1", "--out", tmp_path / "file" / "out")
    assert code == 1 and "Traceback" not in err
    assert "Not a directory" in err and str(tmp_path / "file") in err
