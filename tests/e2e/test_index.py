"""New data against an index of old data: what is known is dropped from the new, and what is kept is appended."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline.curate
from pipeline.curate import curate
from pipeline.forget import forget
from pipeline.graph import Launcher
from pipeline.index.append import _with_parents
from pipeline.recipe import resolve
from pipeline.storage import map_arrow
from schemas.errors import RecipeError, SchemaError, SluiceError
from schemas.index import INDEX_ENTRIES, INDEX_KEYS, read_index
from schemas.recipe import Recipe
from tests.e2e.corpus import document, shard_digests

MINHASH = "2:text.minhash_dedup"


def write_crawls(folder: Path) -> None:
    """Three crawls. In the second, 5 pages repeat the first, 5 are edits of it, 2 are near each other; in the third, 4
    repeat the second's own pages and 3 its repeats of the first."""
    rng = random.Random(7)
    texts = {f"a{k}": document(rng, 20) for k in range(40)}
    texts |= {f"b{k}": document(rng, 20) for k in range(40)}
    texts |= {f"c{k}": document(rng, 20) for k in range(40)}
    for k in range(5):
        texts[f"b{k}"] = texts[f"a{k + 3}"]
        texts[f"b{k + 10}"] = texts[f"a{k + 20}"] + " One more sentence stands here."
    texts["b31"] = texts["b30"] + " One more sentence stands here."
    for k in range(4):
        texts[f"c{k}"] = texts[f"b{k + 20}"].upper()
    for k in range(3):
        texts[f"c{k + 10}"] = texts[f"b{k}"]
    for crawl in "abc":
        (folder / crawl).mkdir(parents=True)
        for half in range(2):
            lines = [
                json.dumps({"id": f"{crawl}{k}", "text": texts[f"{crawl}{k}"], "url": f"https://{crawl}.example/{k}"})
                for k in range(half * 20, half * 20 + 20)
            ]
            (folder / crawl / f"{crawl}-{half}.jsonl").write_text("\n".join(lines) + "\n")


def recipe(folder: Path, crawl: str, out: Path, **minhash: Any) -> Recipe:
    return resolve(
        {
            "recipe": 1,
            "name": f"crawl_{crawl}",
            "inputs": [{"use": "jsonl", "with": {"paths": str(folder / crawl / "*.jsonl")}}],
            "steps": [
                {"use": "text.exact_dedup"},
                {"use": "text.minhash_dedup", "with": minhash},
                {"use": "text.gopher_quality", "with": {"min_words": 100}},
            ],
            "tokens": {"tokenizer": "bytes", "sequence_length": 512},
            "output": {"path": str(out)},
        }
    )


def removed(out: Path) -> dict[str, tuple[str, str, str | None]]:
    """{id: (step, matched id, detail)} of the duplicates in a ledger."""
    files = sorted((out / "ledger").glob("*.parquet"))
    rows = pa.concat_tables([pq.read_table(path) for path in files]).to_pylist()
    return {row["id"]: (row["step"], row["match_id"], row["detail"]) for row in rows if row["reason"] == "duplicate"}


@pytest.fixture(scope="module")
def crawls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crawls")
    write_crawls(folder)
    return folder


@pytest.fixture(scope="module")
def indexed(crawls: Path) -> Path:
    """All three crawls, one after the other, against one index."""
    for crawl in "abc":
        curate(recipe(crawls, crawl, crawls / f"out-{crawl}"), Launcher(), index=str(crawls / "index"))
    return crawls


def test_known_rows_go_from_the_new_data_and_name_the_old(indexed: Path) -> None:
    assert removed(indexed / "out-a") == {}
    of_b = removed(indexed / "out-b")
    exact = {f"b{k}": ("1:text.exact_dedup", f"a{k + 3}", "in the index") for k in range(5)}
    assert {name: found for name, found in of_b.items() if found[0].startswith("1")} == exact
    near = {name: found[1] for name, found in of_b.items() if found[0] == MINHASH}
    assert near == {f"b{k + 10}": f"a{k + 20}" for k in range(5)} | {"b31": "b30"}
    assert of_b["b10"][2].startswith("jaccard 0.9") and of_b["b10"][2].endswith(" in the index")
    assert of_b["b31"][2].startswith("jaccard 0.9") and "index" not in of_b["b31"][2]
    matched = {name: found[1] for name, found in removed(indexed / "out-c").items()}
    # c10 to c12 repeat b0 to b2, which the second run dropped: what it kept, the first's, is named
    assert matched == {f"c{k}": f"b{k + 20}" for k in range(4)} | {f"c{k + 10}": f"a{k + 3}" for k in range(3)}


def test_the_index_holds_what_was_kept_with_identities(indexed: Path) -> None:
    index = read_index(indexed / "index")
    assert (index.generation, len(index.segments)) == (3, 3)
    for crawl, segment in zip("abc", index.segments, strict=True):
        kept = {f"{crawl}{k}" for k in range(40)} - removed(indexed / f"out-{crawl}").keys()
        assert [files.step.signed_by["use"] for files in segment.files] == ["text.exact_dedup", "text.minhash_dedup"]
        for files in segment.files:
            table = pa.Table.from_batches(map_arrow(indexed / "index" / files.entries), schema=INDEX_ENTRIES)
            assert table.num_rows == files.num_entries
            assert set(table["id"].to_pylist()) == kept
            assert set(table["url"].to_pylist()) == {f"https://{crawl}.example/{name[1:]}" for name in kept}
            assert (table["evidence"].null_count == 0) == (files.step.signed_by["use"] == "text.minhash_dedup")
    on_disk = {path.name for path in (indexed / "index" / "segments").glob("*/*")}
    assert on_disk == {Path(path).name for files in index.files for path in (files.keys, files.entries)}


def test_a_run_that_is_repeated_sees_what_it_saw(indexed: Path) -> None:
    before = (indexed / "index" / "index.json").read_bytes()
    for crawl in "abc":
        again = curate(recipe(indexed, crawl, indexed / f"out-{crawl}"), Launcher(), index=str(indexed / "index"))
        assert again.unchanged
    digests = shard_digests(indexed / "out-b")
    elsewhere = indexed / "again-b"
    result = curate(recipe(indexed, "b", elsewhere), Launcher(workers=2), index=str(indexed / "index"))
    assert not result.unchanged and shard_digests(elsewhere) == digests
    assert (indexed / "index" / "index.json").read_bytes() == before


def test_killed_between_the_commit_and_the_index(crawls: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    made, index = recipe(crawls, "a", tmp_path / "out"), str(tmp_path / "fresh")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.curate, "append_segment", killed)
        with pytest.raises(KeyboardInterrupt):
            curate(made, Launcher(), index=index)
    assert (tmp_path / "out" / "manifest.json").exists() and not read_index(tmp_path / "fresh").segments
    assert curate(made, Launcher(), index=index).unchanged
    assert [segment.dataset for segment in read_index(index).segments] == [str(tmp_path / "out")]
    assert curate(made, Launcher(), index=index).unchanged
    assert read_index(index).generation == 1
    shutil.rmtree(index)  # an index that was lost is made again
    assert not curate(made, Launcher(), index=index).unchanged
    assert len(read_index(index).segments) == 1


def test_a_killed_runs_segment_is_listed_before_another_run_goes_on(crawls: Path, tmp_path: Path, monkeypatch: Any):
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    index = str(tmp_path / "index")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.curate, "append_segment", killed)
        with pytest.raises(KeyboardInterrupt):
            curate(recipe(crawls, "a", tmp_path / "a"), Launcher(), index=index)
    curate(recipe(crawls, "b", tmp_path / "b"), Launcher(), index=index)
    assert [segment.dataset for segment in read_index(index).segments] == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert len(removed(tmp_path / "b")) == 11
    assert curate(recipe(crawls, "a", tmp_path / "a"), Launcher(), index=index).unchanged


def test_every_run_must_have_been_signed_alike(crawls: Path, tmp_path: Path) -> None:
    index = str(tmp_path / "index")
    curate(recipe(crawls, "a", tmp_path / "a"), Launcher(), index=index)
    made = recipe(crawls, "b", tmp_path / "b")
    only_exact = made.model_copy(update={"steps": [made.steps[0], made.steps[2]]})
    curate(only_exact, Launcher(), index=index)
    with pytest.raises(RecipeError, match=r"2:text.minhash_dedup makes keys that .* has none of for .*/b, so nothing"):
        curate(recipe(crawls, "c", tmp_path / "c"), Launcher(), index=index)


def test_rows_that_later_steps_took_apart_are_in_the_index() -> None:
    final = pa.array(["f/1#3\0f/1#3#0", "f/1#9\0p#1#2"])
    found = set(_with_parents(final).to_pylist())
    assert {"f/1#3\0f/1#3", "f/1#3\0f/1#3#0", "f/1#9\0p#1", "f/1#9\0p"} <= found
    assert "f/1#9\0f/1#9" not in found


def test_what_cannot_be_compared_is_an_error(indexed: Path, tmp_path: Path) -> None:
    index = indexed / "index"
    with pytest.raises(RecipeError, match=r"2:text.minhash_dedup makes keys that .* has none of.*'bands': 14"):
        curate(recipe(indexed, "b", tmp_path / "x", bands=20), Launcher(), index=str(index))
    # what decides, but does not shape the keys, may differ
    curate(recipe(indexed, "b", tmp_path / "y", verify={"jaccard": 0.9}), Launcher(), index=str(_copy(index, tmp_path)))
    with pytest.raises(SchemaError, match=r"has files but no index\.json"):
        curate(recipe(indexed, "b", tmp_path / "z"), Launcher(), index=str(indexed / "a"))
    for inside in ("w", "w/index", "."):
        with pytest.raises(SluiceError, match="are one, or one lies in the other"):
            curate(recipe(indexed, "b", tmp_path / "w"), Launcher(), index=str(tmp_path / inside))
    broken = _copy(index, tmp_path / "broken")
    for harm, told in ((_unlink, "is missing"), (_halve, "cannot be read as Arrow"), (_other, "rows, not the")):
        harm(broken / read_index(index).files[0].keys, index / read_index(index).files[-1].keys)
        with pytest.raises(SchemaError, match=f"{told}.*the index is incomplete"):
            curate(recipe(indexed, "c", tmp_path / "v"), Launcher(), index=str(broken))
        with pytest.raises(SchemaError, match=f"{told}.*the index is incomplete"):
            forget(indexed / "out-b", ["b20"], index=broken)
    (broken / "index.json").write_text('{"schema_version": 9}')
    with pytest.raises(SchemaError, match="schema version 9"):
        curate(recipe(indexed, "c", tmp_path / "v"), Launcher(), index=str(broken))


def _unlink(path: Path, _: Path) -> None:
    path.unlink()


def _halve(path: Path, other: Path) -> None:
    data = other.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _other(path: Path, other: Path) -> None:
    shutil.copy(other, path)


@pytest.mark.parametrize("path", ["../x.arrow", "/etc/x.arrow", "segments/../x.arrow", "segments/0a/../x.arrow"])
def test_an_index_names_no_files_elsewhere(indexed: Path, tmp_path: Path, path: str) -> None:
    found = json.loads((indexed / "index" / "index.json").read_bytes())
    found["segments"][0]["files"][0]["entries"] = path
    (tmp_path / "index.json").write_text(json.dumps(found))
    with pytest.raises(SchemaError, match=r"is not a valid index: segments\.0\.files\.0\.entries"):
        read_index(tmp_path)


def test_a_dataset_that_the_index_holds_is_not_replaced(indexed: Path, tmp_path: Path) -> None:
    index, out = _copy(indexed / "index", tmp_path), tmp_path / "out-b"
    shutil.copytree(indexed / "out-b", out)
    before = (out / "manifest.json").read_bytes(), (index / "index.json").read_bytes()
    with pytest.raises(SluiceError, match="would all be dropped as duplicates of the old ones"):
        curate(recipe(indexed, "b", out, verify={"jaccard": 0.9}), Launcher(), index=str(index), overwrite=True)
    assert before == ((out / "manifest.json").read_bytes(), (index / "index.json").read_bytes())


def test_what_was_forgotten_does_not_come_back_when_the_index_is_lost(indexed: Path, tmp_path: Path) -> None:
    out, index = tmp_path / "out-a", tmp_path / "index"
    shutil.copytree(indexed / "out-a", out)
    forget(out, ["a7"])
    with pytest.raises(SluiceError, match=r"lacks what .* kept, and 1 of its rows were forgotten"):
        curate(recipe(indexed, "a", out), Launcher(), index=str(index))
    assert curate(recipe(indexed, "a", out), Launcher(), index=str(indexed / "index")).unchanged


def test_killed_and_taken_up_when_the_index_has_forgotten(indexed: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    index = _without_last(_without_last(_copy(indexed / "index", tmp_path)))
    shutil.copytree(indexed / "out-a", tmp_path / "out-a")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.curate, "pack_shards", killed)
        with pytest.raises(KeyboardInterrupt):
            curate(recipe(indexed, "b", tmp_path / "out-b"), Launcher(), index=str(index))
    assert forget(tmp_path / "out-a", ["a3", "a20"], index=index)["absent"]
    curate(recipe(indexed, "b", tmp_path / "out-b"), Launcher(), index=str(index))
    # b0 repeats a3, and b10 is an edit of a20
    assert removed(tmp_path / "out-b").keys() == {"b1", "b2", "b3", "b4", "b11", "b12", "b13", "b14", "b31"}


def _copy(index: Path, folder: Path) -> Path:
    shutil.copytree(index, folder / "index")
    return folder / "index"


def test_rows_are_forgotten_in_the_index_too(indexed: Path, tmp_path: Path) -> None:
    index, out = _copy(indexed / "index", tmp_path), tmp_path / "out-b"
    shutil.copytree(indexed / "out-b", out)
    before = {path: path.read_bytes() for path in (index / "segments").glob("*/*")}
    told = forget(out, ["b20", "https://a.example/5", "b7"], index=index)
    assert told["absent"] and told["index"]["absent"] and told["missing"] == []
    # a5 is in the index only, b20 and b7 in both; each is signed by two steps
    assert (told["index"]["rows"], told["index"]["entries"]) == (3, 6)
    found = read_index(index)
    assert (found.generation, [s.rows_forgotten for s in found.segments]) == (4, [1, 2, 0])
    for files in found.files:
        table = pa.Table.from_batches(map_arrow(index / files.entries), schema=INDEX_ENTRIES)
        keys = pa.Table.from_batches(map_arrow(index / files.keys), schema=INDEX_KEYS)
        assert (table.num_rows, keys.num_rows) == (files.num_entries, files.num_keys)
        assert set(keys["entry"].to_pylist()) == set(range(table.num_rows))
        assert not {"b20", "b7", "a5"} & set(table["id"].to_pylist())
        assert keys["lo"].to_pylist() == sorted(keys["lo"].to_pylist())
    for path in (index / "segments").glob("*/*"):
        assert before.get(path) in (None, path.read_bytes())
    # what repeated b20 is not dropped for it any more, and the other repeats still are
    curate(recipe(indexed, "c", tmp_path / "c"), Launcher(), index=str(_without_last(index)))
    assert {name: found[1] for name, found in removed(tmp_path / "c").items()} == {
        f"c{k}": f"b{k + 20}" for k in range(1, 4)
    } | {"c10": "a3", "c11": "a4"}
    again = forget(out, ["b20", "a5"], index=index, missing_ok=True)
    assert again["index"]["entries"] == 0 and again["missing"] == ["a5"]
    with pytest.raises(SchemaError, match="it is no dedup index"):
        forget(out, ["b21"], index=tmp_path)


def _without_last(index: Path) -> Path:
    """The index as it was before the last run."""
    found = read_index(index)
    changed = found.model_copy(update={"segments": found.segments[:-1]})
    (index / "index.json").write_text(changed.model_dump_json())
    return index
