"""`sluice forget` on a curated dataset of text, pictures and sounds: gone, proved gone, and nothing else touched."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import shutil
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.curate import curate
from pipeline.forget import forget, job
from pipeline.forget.documents import Packed, packed_documents
from pipeline.forget.tombstones import FILLED, tombstone_id
from pipeline.graph import Launcher
from pipeline.recipe import resolve
from pipeline.report import write_report
from pipeline.storage import sha256_file
from schemas.errors import SluiceError
from schemas.manifest import read_manifest
from schemas.shard import open_shard
from tests.e2e.corpus import document
from tests.fixtures import media_fixture
from transforms.tokens.tokenizer import Tokenizer

PICTURE = hashlib.sha256(media_fixture("png")).hexdigest()


def texts() -> dict[str, list[dict[str, Any]]]:
    """Three files: pages with URLs, and two whose ids repeat (the second of them once with a text of equal length)."""
    rng = random.Random(3)
    pages = [
        {"id": f"page-{k:02d}", "url": f"https://example.org/{k}", "text": document(rng, 2 + k % 5)} for k in range(20)
    ]
    pages[3]["text"] = document(rng, 40)  # many sequences long
    pages[8]["text"] = pages[2]["text"]  # an exact duplicate
    pages[9]["text"] = pages[4]["text"] + " One."  # a near duplicate
    pages[11]["url"] = pages[10]["url"]
    short = [{"id": str(k), "text": document(rng, k + 1)} for k in range(3)]
    other = [{"id": str(k), "text": document(rng, k + 2)} for k in range(2)]
    other.append({"id": "2", "text": short[2]["text"][::-1]})
    return {"a": pages, "b": short, "c": other}


def write_inputs(folder: Path) -> None:
    (folder / "text").mkdir(parents=True)
    for name, rows in texts().items():
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        (folder / "text" / f"{name}.jsonl.gz").write_bytes(gzip.compress(data, mtime=0))
    (folder / "media").mkdir()
    members = {
        "cat.png": media_fixture("png"),
        "cat.txt": b"a picture of a cat",
        "dog.jpg": media_fixture("jpeg"),
        "dog.txt": b"a picture of a dog",
        "torn.jpg": media_fixture("jpeg_truncated"),
        "torn.txt": b"a torn picture",
        "song.wav": media_fixture("wav"),
        "song.txt": b"a sound of some length",
    }
    with tarfile.open(folder / "media" / "pairs.tar", "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def recipe(inputs: Path, out: Path) -> dict[str, Any]:
    return {
        "recipe": 1,
        "name": "small",
        "inputs": [
            {"use": "jsonl", "with": {"paths": f"{inputs}/text", "name": "text"}},
            {"use": "webdataset", "with": {"paths": f"{inputs}/media", "name": "media"}},
        ],
        "steps": [
            {"use": "image.decode"},
            {"use": "audio.decode"},
            {"use": "text.exact_dedup"},
            {"use": "text.minhash_dedup", "with": {"ngram": 3, "verify": {"jaccard": 0.8}}},
        ],
        "tokens": {
            "tokenizer": "bytes",
            "sequence_length": 512,
            "image": {"min_pixels": 1024, "max_pixels": 65536},
        },
        "output": {"path": str(out), "shard_tokens": 4096, "keep_work": True},
        "unit_bytes": 3000,
    }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def curated(inputs, tmp_path_factory):
    """The dataset every test takes a copy of; it kept its intermediate files."""
    out = tmp_path_factory.mktemp("curated") / "out"
    curate(resolve(recipe(inputs, out)), Launcher("direct", 1))
    return out


@pytest.fixture
def dataset(curated, tmp_path):
    shutil.copytree(curated, tmp_path / "out")
    return tmp_path / "out"


def lines(folder: Path) -> list[dict[str, Any]]:
    return [row for entry in read_manifest(folder).ledger for row in pq.read_table(folder / entry.path).to_pylist()]


def documents(folder: Path) -> list[Packed]:
    return [found for entry in read_manifest(folder).shards for found in packed_documents(folder / entry.path)]


def files(folder: Path) -> dict[str, tuple[str, int]]:
    """Digest and time of change of the files the manifest lists."""
    manifest = read_manifest(folder)
    paths = [entry.path for entry in manifest.shards] + [entry.path for entry in manifest.ledger]
    return {path: (sha256_file(folder / path), (folder / path).stat().st_mtime_ns) for path in paths}


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_rest(before: Path, after: Path, ids: Counter[str]) -> None:
    """Every packed document but those of `ids` (so many pieces each) is what it was; the manifest is true."""
    left = Counter(found.digest for found in documents(before))
    gone = left - Counter(found.digest for found in documents(after))
    assert Counter(f.digest for f in documents(after)) - left == Counter()
    names = Counter()
    for found in documents(before):
        if gone[found.digest]:
            gone[found.digest] -= 1
            names[found.source_id] += 1
    assert names == ids
    manifest = read_manifest(after)
    for entry in (*manifest.shards, *manifest.ledger):
        assert sha256_file(after / entry.path) == entry.sha256
        assert (after / entry.path).stat().st_size == entry.bytes
    assert {path for path in bytes_of(after) if path.startswith(("shards", "ledger"))} == set(files(after))
    write_report(after)  # recounts everything, and raises when the manifest says other


def test_a_row_is_cut_out_and_nothing_else_changes(curated, dataset):
    assert (dataset / ".work").exists()
    before = files(dataset)
    certificate = forget(dataset, ["page-05"])
    assert certificate["absent"] and certificate["searched"]["found"] == []
    check_rest(curated, dataset, Counter({"page-05": 1}))
    after = files(dataset)
    assert {path: value for path, value in after.items() if path in before}.items() <= before.items()
    assert {old: new in after for old, new in certificate["rewritten"].items()} == {
        path: True for path in before if path not in after
    }
    assert len(certificate["rewritten"]) == 2 < len(before)
    for old, new in certificate["rewritten"].items():
        if new.endswith(".arrow"):
            assert open_shard(curated / old).num_rows >= open_shard(dataset / new).num_rows
    everything = b"".join(data for path, data in bytes_of(dataset).items() if not path.startswith("tokenizer"))
    for secret in (b"page-05", b"https://example.org/5", texts()["a"][5]["text"][:60].encode()):
        assert secret not in everything
    assert not (dataset / ".work").exists()
    (stone,) = [line for line in lines(dataset) if line["step"] == "forget"]
    assert {name for name, value in stone.items() if value is not None} <= set(FILLED)
    assert stone["id"] == tombstone_id("page-05", "")
    manifest, old = read_manifest(dataset), read_manifest(curated)
    assert (manifest.forgotten, old.forgotten) == (1, 0)
    assert manifest.counts.rows_in == old.counts.rows_in
    assert manifest.counts.rows_kept == old.counts.rows_kept - 1
    assert manifest.counts.rejected["forget"] == {"forgotten": 1}
    assert manifest.run_fingerprint == old.run_fingerprint


@pytest.mark.parametrize("salt", ["", "pepper"])
def test_other_lines_stay_as_they_were(curated, dataset, salt):
    forget(dataset, ["text/a.jsonl.gz#5"], salt=salt)
    assert tombstone_id("page-05", salt) in {line["id"] for line in lines(dataset)}
    others = [line for line in lines(dataset) if line["step"] != "forget"]
    assert others == [line for line in lines(curated) if line["source"] != "text/a.jsonl.gz#5"]


def test_a_long_document_goes_with_all_its_pieces(curated, dataset):
    pieces = sum(found.source_id == "page-03" for found in documents(curated))
    assert pieces > 3
    certificate = forget(dataset, ["https://example.org/3"])
    assert certificate["documents_cut"] == pieces
    check_rest(curated, dataset, Counter({"page-03": pieces}))


@pytest.mark.parametrize("name", ["cat", PICTURE, "song"])
def test_pictures_and_sounds_go_with_their_rows(curated, dataset, name):
    row = "song" if name == "song" else "cat"
    certificate = forget(dataset, [name])
    assert [found["id"] for found in certificate["rows"]] == [row]
    check_rest(curated, dataset, Counter({row: 1}))
    data = media_fixture("wav" if row == "song" else "png")
    assert any(data in content for content in bytes_of(curated).values())
    assert not any(data in content for content in bytes_of(dataset).values())
    assert certificate["searched"]["media"] == 2


def test_a_removed_picture_is_forgotten_by_its_digest(curated, dataset):
    digest = hashlib.sha256(media_fixture("jpeg_truncated")).hexdigest()
    certificate = forget(dataset, [digest])
    assert certificate["absent"]
    assert (certificate["rows"], certificate["part_lines"]) == ([], 1)
    check_rest(curated, dataset, Counter())
    assert {line["id"]: line["verdict"] for line in lines(dataset)}["torn"] == "kept"


def test_what_was_removed_as_its_duplicate_no_longer_quotes_it(curated, dataset):
    was = {line["id"]: line for line in lines(curated)}
    assert (was["page-08"]["match_id"], was["page-09"]["match_id"]) == ("page-02", "page-04")
    assert was["page-08"]["text_sha256"] == was["page-02"]["text_sha256"]
    certificate = forget(dataset, ["page-02", "page-04"])
    assert certificate["duplicates_cleared"] == 2
    now = {line["id"]: line for line in lines(dataset)}
    for copy, original in (("page-08", "page-02"), ("page-09", "page-04")):
        assert now[copy]["match_id"] == tombstone_id(original, "")
        assert now[copy]["excerpt"] is None
    assert now["page-08"]["text_sha256"] is None
    assert now["page-09"]["text_sha256"] == was["page-09"]["text_sha256"]  # another text
    check_rest(curated, dataset, Counter({"page-02": 1, "page-04": 1}))
    assert certificate["copies"]["ledger_lines"] == 0


def test_a_rejected_row_changes_the_ledger_only_and_its_twin_is_named(curated, dataset):
    certificate = forget(dataset, ["page-08"])
    assert certificate["absent"]
    assert [Path(path).parent.name for path in certificate["rewritten"]] == ["ledger"]
    check_rest(curated, dataset, Counter())
    (copy,) = certificate["copies"]["shown"]
    assert (copy["id"], copy["verdict"], copy["shares"]) == ("page-02", "kept", ["match_id", "text_sha256"])


def test_a_text_s_digest_names_all_rows_that_have_it(curated, dataset):
    digest = hashlib.sha256(texts()["a"][2]["text"].encode()).hexdigest()
    certificate = forget(dataset, [digest])
    assert sorted(row["id"] for row in certificate["rows"]) == ["page-02", "page-08"]
    check_rest(curated, dataset, Counter({"page-02": 1}))


def test_a_url_names_all_rows_of_it_and_an_id_leaves_the_other(curated, dataset):
    certificate = forget(dataset, ["page-10"])
    assert certificate["absent"]
    assert [(copy["id"], copy["shares"]) for copy in certificate["copies"]["shown"]] == [("page-11", ["url"])]
    certificate = forget(dataset, ["https://example.org/10"])
    assert [row["id"] for row in certificate["rows"]] == ["page-11"]
    check_rest(curated, dataset, Counter({"page-10": 1, "page-11": 1}))
    assert read_manifest(dataset).forgotten == 2
    shards = [entry.path for entry in read_manifest(dataset).shards if entry.path.count(".") == 2]
    assert shards  # a second rewriting of one file has a name of its own, or both had one each
    assert read_manifest(dataset).counts.rejected["forget"] == {"forgotten": 2}


def test_rows_of_one_id_are_told_apart_by_source(curated, dataset):
    was = [found for found in documents(curated) if found.source_id == "1"]
    assert len(was) == 2
    certificate = forget(dataset, ["text/c.jsonl.gz#1"])
    assert certificate["absent"]
    assert [row["indistinguishable"] for row in certificate["rows"]] == [False]
    (left,) = [found for found in documents(dataset) if found.source_id == "1"]
    assert left.length == len(texts()["b"][1]["text"].encode()) + 1
    check_rest(curated, dataset, Counter({"1": 1}))
    assert forget(dataset, ["1"])["rows"][0]["source"] == "text/b.jsonl.gz#1"


def test_rows_that_the_shards_cannot_tell_apart_go_together(curated, dataset):
    certificate = forget(dataset, ["text/c.jsonl.gz#2"])
    told = {row["source"]: row["indistinguishable"] for row in certificate["rows"]}
    assert told == {"text/c.jsonl.gz#2": False, "text/b.jsonl.gz#2": True}
    check_rest(curated, dataset, Counter({"2": 2}))


def test_everything_can_be_forgotten(curated, dataset):
    names = {line["source"] for line in lines(curated)}
    certificate = forget(dataset, names)
    assert certificate["absent"]
    manifest = read_manifest(dataset)
    assert (manifest.shards, manifest.counts.rows_kept, manifest.counts.tokens) == ([], 0, 0)
    assert manifest.counts.rows_in == manifest.forgotten == read_manifest(curated).counts.rows_in
    assert write_report(dataset)["counts"]["rows_in"] == manifest.counts.rows_in


HOSTILE = [
    *(
        "page-0",
        "PAGE-05",
        "page-05\n",
        "\u202epage-05",
        "%",
        "*",
        "../../etc/passwd",
        "'; DROP TABLE rows; --",
        "\x00",
    ),
    *("[red]x", "a" * 100_000, PICTURE[:-1], "0" * 64, "text/a.jsonl.gz", "text", "kept", "en", "{}"),
]


def test_a_name_that_is_no_row_s_changes_nothing(curated, dataset):
    for name in HOSTILE:
        with pytest.raises(SluiceError, match="nothing was changed"):
            forget(dataset, ["page-05", name])
    assert bytes_of(dataset) == bytes_of(curated)


def test_names_that_are_no_row_s_can_be_let_pass(curated, dataset):
    certificate = forget(dataset, [*HOSTILE, "page-05"], missing_ok=True)
    assert certificate["missing"] == HOSTILE
    assert certificate["absent"]
    check_rest(curated, dataset, Counter({"page-05": 1}))
    certificate = forget(dataset, HOSTILE, missing_ok=True)
    assert certificate["absent"] and "rows" not in certificate


def test_a_folder_that_is_no_dataset_is_left_alone(tmp_path):
    with pytest.raises(SluiceError, match="not a finished dataset"):
        forget(tmp_path / "none", ["x"])
    assert not (tmp_path / "none").exists()


def test_a_ledger_of_version_1_can_be_forgotten_from(curated, dataset):
    manifest = json.loads((dataset / "manifest.json").read_bytes())
    del manifest["forgotten"]
    for entry in manifest["ledger"]:
        table = pq.read_table(dataset / entry["path"]).drop_columns(["url", "media_sha256", "text_sha256"])
        pq.write_table(table, dataset / entry["path"])
        entry["sha256"] = sha256_file(dataset / entry["path"])
        entry["bytes"] = (dataset / entry["path"]).stat().st_size
    (dataset / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SluiceError, match="before version 2"):
        forget(dataset, ["https://example.org/3"])
    assert forget(dataset, ["page-02", "cat"])["absent"]
    check_rest(curated, dataset, Counter({"page-02": 1, "cat": 1}))


class Killed(BaseException):
    """A process that is no more."""


#: (what it is killed in, at which call, whether before or after it did its work)
STEPS = [
    ("rewrite_shard", 2, "before"),
    ("rewrite_ledger", 1, "after"),
    ("write_bytes", 1, "before"),  # the journal
    ("write_bytes", 1, "after"),
    ("write_bytes", 2, "before"),  # the manifest
    ("write_bytes", 2, "after"),
    ("rmtree", 1, "before"),
    ("write_report", 1, "before"),
    ("search", 1, "before"),
    ("search", 1, "after"),
]
NAMES = ["page-03", "cat", "https://example.org/10", "text/c.jsonl.gz#1"]


@pytest.fixture(scope="module")
def undisturbed(curated, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    shutil.copytree(curated, folder)
    return folder, forget(folder, NAMES)


@pytest.mark.parametrize(("step", "times", "when"), STEPS)
def test_killed_at_any_point_it_is_before_or_after_and_goes_on(
    curated, dataset, undisturbed, monkeypatch, step, times, when
):
    with monkeypatch.context() as patch:
        holder = job.shutil if step == "rmtree" else job
        real, calls = getattr(holder, step), []

        def die(*args: Any, **kwargs: Any) -> Any:
            calls.append(args)
            if len(calls) < times:
                return real(*args, **kwargs)
            if when == "after":
                real(*args, **kwargs)
            patch.setattr(job, "_sweep", lambda *_: None)  # the dead tidy nothing up
            raise Killed

        patch.setattr(holder, step, die)
        with pytest.raises(Killed):
            forget(dataset, NAMES)
    (dataset / "shards" / ".00000.arrow.xyz.tmp").write_bytes(b"torn")
    before, after = read_manifest(curated), read_manifest(undisturbed[0])
    assert read_manifest(dataset) in (before, after)
    for path, (digest, _) in files(dataset).items():
        assert digest in {entry.sha256 for entry in (*before.shards, *before.ledger, *after.shards, *after.ledger)}, (
            path
        )
    write_report(dataset)  # whatever it is, it is sound
    certificate = forget(dataset, NAMES)
    assert bytes_of(dataset) == bytes_of(undisturbed[0])
    told = undisturbed[1]
    assert certificate | {"dataset": "", "work_deleted": None} == told | {"dataset": "", "work_deleted": None}


def test_another_command_finishes_what_a_killed_one_began(dataset, undisturbed, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(job, "write_report", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            forget(dataset, NAMES)
    assert (dataset / job.JOURNAL).exists() and not (dataset / "report.json").exists()
    assert forget(dataset, ["dog"])["absent"]
    assert read_manifest(dataset).forgotten == read_manifest(undisturbed[0]).forgotten + 1
    assert not (dataset / job.JOURNAL).exists()


def test_an_error_on_the_way_leaves_no_files(curated, dataset, monkeypatch):
    monkeypatch.setattr(job, "recount", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        forget(dataset, ["page-05"])
    assert bytes_of(dataset) == bytes_of(curated)


def test_a_run_of_the_recipe_does_not_bring_the_rows_back(inputs, dataset, tmp_path, sluice):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe(inputs, dataset)))
    code, out, _ = sluice("forget", dataset, "page-05", "cat")
    assert code == 0
    for told in ("forgotten: page-05 (text/a.jsonl.gz#5, was kept)", "2 rows", "absent", "--overwrite", "tokenizer"):
        assert told in out
    before = bytes_of(dataset)
    for flags in ([], ["--overwrite"]):
        code, out, _ = sluice("curate", path, "--workers", 1, *flags)
        assert code == 0 and "nothing to do" in out
    assert bytes_of(dataset) == before
    code, out, _ = sluice("explain", dataset, tombstone_id("cat", ""))
    assert code == 0 and "rejected by forget: forgotten" in out


def test_the_command_line(dataset, tmp_path, sluice):
    (tmp_path / "names").write_text("page-05\npage-06\n")
    code, out, err = sluice("forget", dataset, "nobody", "--from", tmp_path / "names")
    assert (code, out) == (1, "") and "'nobody'" in err and "--missing-ok" in err
    code, out, _ = sluice("forget", dataset, "nobody", "--from", tmp_path / "names", "--missing-ok", "--json")
    certificate = json.loads(out)
    assert code == 0 and certificate["absent"] and certificate["missing"] == ["nobody"]
    assert [row["id"] for row in certificate["rows"]] == ["page-05", "page-06"]
    code, out, _ = sluice("forget", dataset, "page-05")
    assert code == 0 and "forgotten before: page-05" in out
    code, _, err = sluice("forget", dataset)
    assert code == 1 and "nothing to forget" in err


def test_a_copy_beside_the_dataset_fails_the_proof(dataset, sluice):
    (dataset / "notes").mkdir()
    (dataset / "notes" / "mail.txt").write_text("please delete https://example.org/5, thanks")
    code, out, err = sluice("forget", dataset, "https://example.org/5", "--json")
    assert code == 1 and "notes/mail.txt" in err
    assert not json.loads(out)["absent"]
    (dataset / "notes" / "mail.txt").unlink()
    code, out, err = sluice("forget", dataset, "https://example.org/5")  # the same command finishes
    assert code == 0, err
    assert "forgotten: page-05" in out


def test_what_is_found_is_what_is_left(curated, dataset):
    """The search alone, over a dataset that still has everything: the certificate is no empty word."""
    row = next(line for line in lines(curated) if line["id"] == "cat")
    needles = job.Needles(
        ["page-05"],
        id=["dog"],
        source=["text/b.jsonl.gz#0"],
        url=["https://example.org/7"],
        text_sha256=[next(line["text_sha256"] for line in lines(curated) if line["id"] == "page-06").hex()],
        media_sha256=[row["media_sha256"][0].hex()],
    )
    found = job.search(dataset, needles, but=job.JOURNAL).found
    for told in ("a name 'page-05'", "id 'dog'", "source 'text/b.jsonl.gz#0'", "url 'https://example.org/7'"):
        assert any(told in one for one in found), told
    for told in ("text_sha256", "media_sha256"):
        assert any(told in one for one in found), told
    for told in ("a document of 'page-05'", "a document of 'dog'", f"media {PICTURE}"):
        assert any(told in one and one.startswith("shards/") for one in found), told
    assert any(one.startswith("report.json") for one in found)
    (dataset / "report.html").write_text("page-05")
    assert "report.html shows other than report.json" in job.search(dataset, needles, but=job.JOURNAL).found


def test_documents_of_other_rows_with_the_same_tokens_are_told(curated, dataset):
    tokens = next(found for found in documents(curated) if found.source_id == "page-07")
    result = job.search(dataset, job.Needles([], tokens={tokens.tokens.hex(): tokens.length}), but=job.JOURNAL)
    assert [(copy["id"], copy["shares"]) for copy in result.copies] == [("page-07", ["tokens"])]
    assert result.found == []


def test_the_tokens_left_read_as_they_did(dataset):
    forget(dataset, ["page-05"])
    tokenizer = Tokenizer.load(str(dataset / "tokenizer"))
    by_id = {row["id"]: row["text"] for row in texts()["a"]}
    seen = 0
    for entry in read_manifest(dataset).shards:
        for row in open_shard(dataset / entry.path).to_pylist():
            at = 0
            for size, name in zip(row["document_lengths"], row["source_ids"], strict=True):
                if name in by_id and name != "page-03":
                    assert tokenizer.decode(row["input_ids"][at : at + size]) == by_id[name] + "<|endoftext|>"
                    seen += 1
                at += size
            assert set(row["input_ids"][at:]) <= {tokenizer.special_ids["<|endoftext|>"]}
    assert seen == 16
