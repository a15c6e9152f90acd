"""`sluice explain`: one row's lines, its match, its place in the shards; and what an unknown id gets to hear."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from jobs.explain import explain
from pipeline.report.lookup import explain_rows
from schemas.errors import SchemaError, SluiceError
from tests.unit.report_fixture import build

_APP = typer.Typer()
_APP.command()(explain)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    folder = tmp_path_factory.mktemp("dataset")
    return folder, build(folder, rows=800)


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(_APP, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_rejected_duplicate_with_its_match_and_scores(dataset: tuple[Path, list[dict]]) -> None:
    folder, lines = dataset
    row = next(line for line in lines if line["reason"] == "duplicate")
    (story,) = explain_rows(folder, row["id"])
    assert story["row"] == {name: value for name, value in row.items() if "." not in name}
    assert story["scores"] == pytest.approx(
        {name: value for name, value in row.items() if "." in name and value is not None}
    )
    assert story["match"]["id"] == row["match_id"]
    assert story["places"] == []
    text = _run(str(folder), row["source"])
    for part in ("rejected by 6:text.minhash_dedup: duplicate", row["detail"], row["match_id"], "score.quality"):
        assert part in text


def test_kept_row_and_every_piece_of_it(dataset: tuple[Path, list[dict]]) -> None:
    folder, lines = dataset
    kept = [line for line in lines if line["verdict"] == "kept"]
    *short, longest = sorted(kept, key=lambda line: line["tokens.count"])
    offsets: set[int] = set()
    for row in (longest, *short[:20]):
        (story,) = explain_rows(folder, row["id"])
        assert sum(place["tokens"] for place in story["places"]) == row["tokens.count"]
        for place in story["places"]:
            table = pa.ipc.open_file(str(folder / place["shard"])).read_all()
            sequence = table.slice(place["sequence"], 1).to_pylist()[0]
            assert sequence["source_ids"][place["document"]] == row["id"]
            assert sequence["document_lengths"][place["document"]] == place["tokens"]
            assert sum(sequence["document_lengths"][: place["document"]]) == place["offset"]
            offsets.add(place["offset"])
    assert len(offsets) > 3  # not 0 all along
    row, place = longest, explain_rows(folder, longest["id"])[0]["places"][-1]
    assert f"{place['shard']}, sequence {place['sequence']}, document {place['document']}" in _run(
        str(folder), row["id"]
    )


def test_removed_parts_are_told(dataset: tuple[Path, list[dict]]) -> None:
    folder, lines = dataset
    part = next(line for line in lines if line["part"] is not None and line["step"] == "3:image.size")
    (story,) = explain_rows(folder, part["source"])
    assert [found["part"] for found in story["parts"]] == [part["part"]]
    assert story["row"]["source"] == part["source"]
    expected = f"{part['modality']} {part['part']} removed by 3:image.size, {part['reason']}: 32x17 px"
    assert expected in _run(str(folder), part["id"])


def test_a_prefix_is_enough_when_it_fits_one_row(dataset: tuple[Path, list[dict]]) -> None:
    folder, lines = dataset
    sources = [line["source"] for line in lines if line["part"] is None]
    source = next(s for s in sources if sum(other.startswith(s[:-1]) for other in sources) == 1)
    assert explain_rows(folder, source[:-1])[0]["row"]["source"] == source
    with pytest.raises(SluiceError, match=r"begins the ids or sources of \d+ rows"):
        explain_rows(folder, "forum/part-000")


def test_several_rows_of_one_id_are_all_told(tmp_path: Path) -> None:
    lines = build(tmp_path / "a", rows=40)
    rejected = [line for line in lines if line["part"] is None and line["verdict"] == "rejected"][:2]
    for line in rejected:
        line["id"] = "same"
    build(tmp_path / "b", lines=lines)
    stories = explain_rows(tmp_path / "b", "same")
    assert [story["row"]["source"] for story in stories] == sorted(line["source"] for line in rejected)


def test_the_match_shown_is_the_kept_row_of_that_id(tmp_path: Path) -> None:
    lines = build(tmp_path / "a", rows=120)
    rows = [line for line in lines if line["part"] is None]
    duplicate = next(row for row in rows if row["match_id"])
    match = next(row for row in rows if row["id"] == duplicate["match_id"])
    others = [row for row in rows if row["verdict"] == "rejected" and row is not duplicate]
    for number, row in enumerate((*others[:2], *others[-2:])):
        row.update(id=match["id"], source=f"aa/{number}")
    build(tmp_path / "b", lines=lines)
    (story,) = explain_rows(tmp_path / "b", duplicate["source"])
    assert story["match"]["source"] == match["source"]


@pytest.mark.parametrize("typo", ["wbe-000", "webb-000", "wev-000"])
def test_unknown_id_names_what_comes_near(dataset: tuple[Path, list[dict]], typo: str) -> None:
    folder, lines = dataset
    row_id = next(line["id"] for line in lines if line["id"].startswith("web-000"))
    query = typo + row_id[7:]
    with pytest.raises(SluiceError, match="has no row with the id or source") as caught:
        explain_rows(folder, query)
    assert f"'{row_id}'" in str(caught.value)
    assert CliRunner().invoke(_APP, [str(folder), query]).exit_code == 1


def test_wholly_unknown_and_empty_ids(dataset: tuple[Path, list[dict]]) -> None:
    for query in ("zzzzqqqq", ""):
        with pytest.raises(SluiceError, match="columns `id` and `source` list them"):
            explain_rows(dataset[0], query)


def test_json_is_the_stories(dataset: tuple[Path, list[dict]]) -> None:
    folder, lines = dataset
    query = lines[5]["id"]
    assert json.loads(_run(str(folder), query, "--json")) == explain_rows(folder, query)


def test_hostile_text_does_not_reach_the_terminal(tmp_path: Path) -> None:
    lines = build(tmp_path / "a", rows=3)
    lines[0].update(excerpt="\x1b]0;owned\x07 [bold]plain[/bold] \u202etxt", id="esc\x1b[2J")
    build(tmp_path / "b", lines=lines)
    for output in (
        _run(str(tmp_path / "b"), lines[0]["source"]),
        _run(str(tmp_path / "b"), lines[0]["source"], "--json"),
    ):
        assert not {"\x1b", "\x07", "\u202e"} & set(output)
        assert "[bold]plain[/bold]" in output


def test_not_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"has no manifest\.json"):
        explain_rows(tmp_path, "x")
