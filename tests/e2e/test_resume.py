"""Work that is reused is reused rightly: new input, changed steps, changed files, and folders that are not ours."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.curate import curate
from pipeline.graph import Launcher
from pipeline.recipe import resolve
from schemas.errors import SluiceError
from schemas.manifest import read_manifest
from tests.e2e.corpus import shard_digests
from tests.fixtures import media_fixture

LOCAL = Launcher("direct", 1)


def text(number: int) -> str:
    return " ".join(f"word{k}x{number}" for k in range(60))


def write(path: Path, *rows: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(folder: Path, out: Path, *steps: dict, **changes):
    recipe = {
        "recipe": 1,
        "name": "resume",
        "inputs": [{"use": "jsonl", "with": {"paths": str(folder)}}],
        "steps": list(steps),
        "tokens": {"tokenizer": "bytes", "sequence_length": 1024, "image": {"min_pixels": 1024}},
        "output": {"path": str(out), "keep_work": True},
    } | changes
    return curate(resolve(recipe), LOCAL, overwrite=True)


def ledger(out: Path) -> dict[tuple[str, int | None], dict]:
    rows = [row for path in (out / "ledger").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    return {(row["id"], row["part"]): row for row in rows}


EXACT = {"use": "text.exact_dedup"}


def test_a_file_that_sorts_before_the_others_gives_what_a_fresh_run_gives(tmp_path):
    write(tmp_path / "in" / "b.jsonl", {"id": "b0", "text": text(1)}, {"id": "b1", "text": text(2)})
    write(tmp_path / "in" / "c.jsonl", {"id": "c0", "text": text(3)}, {"id": "c1", "text": text(1)})
    run(tmp_path / "in", tmp_path / "out", EXACT)
    write(tmp_path / "in" / "a.jsonl", *({"id": f"a{k}", "text": text(10 + k)} for k in range(3)))
    run(tmp_path / "in", tmp_path / "out", EXACT)
    run(tmp_path / "in", tmp_path / "fresh", EXACT)
    assert ledger(tmp_path / "out") == ledger(tmp_path / "fresh")
    assert shard_digests(tmp_path / "out") == shard_digests(tmp_path / "fresh")
    assert ledger(tmp_path / "out")[("c1", None)]["match_id"] == "b0"


def test_a_changed_later_step_reuses_the_first_stage(tmp_path):
    write(
        tmp_path / "in" / "a.jsonl", {"id": "a", "text": text(1)}, {"id": "b", "text": text(1)}, {"id": "c", "text": ""}
    )
    sample = {"use": "select.sample", "with": {"fraction": 1.0}}
    language = {"use": "text.language", "with": {"min_score": 0.0}}
    run(tmp_path / "in", tmp_path / "out", sample, EXACT)
    first = sorted((tmp_path / "out" / ".work" / "stage0").iterdir())
    run(tmp_path / "in", tmp_path / "out", sample, EXACT, language)
    assert sorted((tmp_path / "out" / ".work" / "stage0").iterdir()) == first
    assert ledger(tmp_path / "out")[("a", None)]["text.lang"] is not None
    assert ledger(tmp_path / "out")[("b", None)]["text.lang"] is None


def test_a_tokenizer_with_other_content_is_another_recipe(tmp_path):
    write(tmp_path / "in" / "a.jsonl", {"id": "a", "text": text(1)})
    tokens = {"tokenizer": str(tmp_path / "tok"), "sequence_length": 1024}
    from transforms.tokens.train import train_bpe

    train_bpe([text(1)], 300).save(tmp_path / "tok")
    run(tmp_path / "in", tmp_path / "out", tokens=tokens)
    assert run(tmp_path / "in", tmp_path / "out", tokens=tokens).unchanged
    train_bpe(["other letters make other merges " * 9], 300).save(tmp_path / "tok")
    assert not run(tmp_path / "in", tmp_path / "out", tokens=tokens).unchanged


def test_a_part_that_cannot_be_read_is_a_ledger_row(tmp_path):
    png = base64.b64encode(media_fixture("png")).decode()
    write(tmp_path / "in" / "a.jsonl", {"id": "a", "text": "two pictures", "img": [png, "%%%"]})
    source = {"use": "jsonl", "with": {"paths": str(tmp_path / "in"), "columns": {"image": "img"}}}
    run(tmp_path / "in", tmp_path / "out", {"use": "image.decode"}, inputs=[source])
    rows = ledger(tmp_path / "out")
    assert rows[("a", None)]["verdict"] == "kept"
    assert {row["verdict"] for (_, part), row in rows.items() if part is not None} == {"rejected"}
    assert read_manifest(tmp_path / "out").counts.rows_in == 1


def test_text_dedup_sees_the_rows_that_media_dedup_left(tmp_path):
    """The first row keeps the picture; the others become equal text rows, of which one stays. No picture is lost."""
    png = base64.b64encode(media_fixture("png")).decode()
    rows = [
        {"id": name, "text": said, "img": [png]} for name, said in (("z", "a cat"), ("a", "a   cat"), ("c", "a cat"))
    ]
    write(tmp_path / "in" / "a.jsonl", *rows)
    source = {"use": "jsonl", "with": {"paths": str(tmp_path / "in"), "columns": {"image": "img"}}}
    longest = {"use": "text.exact_dedup", "with": {"keep": "longest"}}
    run(tmp_path / "in", tmp_path / "out", {"use": "media.exact_dedup"}, longest, inputs=[source])
    found = ledger(tmp_path / "out")
    assert [found[(name, None)]["verdict"] for name in "zac"] == ["kept", "kept", "rejected"]
    assert found[("c", None)]["match_id"] == "a"


def test_a_full_ledger_scores_rejected_rows_with_part_columns(tmp_path):
    png = base64.b64encode(media_fixture("png")).decode()
    write(tmp_path / "in" / "a.jsonl", {"id": "a", "text": "x", "img": [png]}, {"id": "b", "text": "y", "img": [png]})
    source = {"use": "jsonl", "with": {"paths": str(tmp_path / "in"), "columns": {"image": "img"}}}
    steps = [
        {"use": "select.sample", "with": {"fraction": 0.0}},
        {"use": "image.decode"},
        {"use": "image.size", "with": {"min_side_px": 10}},
        {"use": "text.language", "with": {"min_score": 0.0}},
    ]
    output = {"path": str(tmp_path / "out"), "ledger": "full"}
    run(tmp_path / "in", tmp_path / "out", *steps, inputs=[source], output=output)
    rows = ledger(tmp_path / "out")
    assert {row["reason"] for row in rows.values()} == {"not_sampled"}
    assert all(row["text.lang_score"] is not None for row in rows.values())


def test_folders_that_are_not_a_datasets_are_left_alone(tmp_path):
    write(tmp_path / "in" / "a.jsonl", {"id": "a", "text": text(1)})
    (tmp_path / "out" / "tokenizer").mkdir(parents=True)
    (tmp_path / "out" / "tokenizer" / "mine.txt").write_text("mine")
    with pytest.raises(SluiceError, match="no dataset of sluice's"):
        run(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer" / "mine.txt").read_text() == "mine"


def test_a_commit_that_was_interrupted_is_repeated(tmp_path, monkeypatch):
    write(tmp_path / "in" / "a.jsonl", {"id": "a", "text": text(1)})
    import pipeline.commit as commit

    def dies(*_: object) -> None:
        raise RuntimeError("killed here")

    with monkeypatch.context() as broken:
        broken.setattr(commit, "recount", dies)
        with pytest.raises(RuntimeError, match="killed here"):
            run(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    run(tmp_path / "in", tmp_path / "out")
    run(tmp_path / "in", tmp_path / "fresh")
    assert shard_digests(tmp_path / "out") == shard_digests(tmp_path / "fresh")


def test_a_list_with_other_content_is_another_recipe(tmp_path):
    write(tmp_path / "in" / "a.jsonl", {"id": "a", "text": text(1), "url": "https://one.example/page"})
    blocked = tmp_path / "domains.txt"
    blocked.write_text("two.example\n")
    # a parameter that is no path must not be taken for one, however odd it is
    step = {"use": "text.url_block", "with": {"domain_lists": [str(blocked)], "strict_words": ["x" * 400]}}
    run(tmp_path / "in", tmp_path / "out", step)
    assert run(tmp_path / "in", tmp_path / "out", step).unchanged
    blocked.write_text("one.example\n")
    assert not run(tmp_path / "in", tmp_path / "out", step).unchanged
    assert ledger(tmp_path / "out")[("a", None)]["reason"] == "blocked_domain"
