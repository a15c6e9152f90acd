"""Forgetting's parts: documents cut out of sequences, names matched, tombstones, and whose a document is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.forget.documents import documents_in
from pipeline.forget.lookup import Line, find_lines, rows_and_parts, survey
from pipeline.forget.places import find_places, shard_groups, to_cut
from pipeline.forget.rewrite import Rewritten, next_name, rewrite_ledger, rewrite_shard
from pipeline.forget.surgery import cut
from pipeline.forget.tombstones import FILLED, Burial, tombstone_id, tombstone_source
from pipeline.forget.wanted import Wanted, check_names, read_names
from pipeline.ledger import kept_rows, rejected_rows
from pipeline.storage import write_arrow
from schemas.errors import SluiceError
from schemas.ledger import LEDGER_FIELDS, ledger_schema
from schemas.manifest import LedgerEntry, ShardEntry
from schemas.reject import rejected_schema
from schemas.sample import SAMPLE, SENTINEL
from schemas.shard import shard_schema

LENGTH = 24
PAD = 7

Doc = dict[str, Any]


def sequence(documents: list[Doc]) -> dict[str, Any]:
    """A shard's row of documents given by themselves: the slow way to pack."""
    row: dict[str, Any] = {name: [] for name in shard_schema(LENGTH).names}
    for document in documents:
        at = len(row["input_ids"])
        for name, place in (("loss_runs", "start"), ("images", "offset"), ("audios", "offset")):
            row[name] += [entry | {place: at + entry[place]} for entry in document[name]]
        row["input_ids"] += document["tokens"]
        row["document_lengths"].append(len(document["tokens"]))
        row["source_ids"].append(document["id"])
    row["input_ids"] += [PAD] * (LENGTH - len(row["input_ids"]))
    return row


def batch_of(sequences: list[list[Doc]]) -> pa.RecordBatch:
    schema = shard_schema(LENGTH)
    return pa.RecordBatch.from_pylist([sequence(documents) for documents in sequences], schema)


@st.composite
def one_document(draw: st.DrawFn) -> Doc:
    size = draw(st.integers(1, 8))
    places = draw(st.lists(st.integers(0, size - 1), unique=True, max_size=3))
    document: Doc = {"id": draw(st.sampled_from(["a", "b", "c", "é"])), "loss_runs": [], "images": [], "audios": []}
    document["tokens"] = draw(st.lists(st.integers(0, 9), min_size=size, max_size=size))
    for place in sorted(places):
        document["loss_runs"].append({"start": place, "length": draw(st.integers(1, size - place))})
        data = draw(st.binary(max_size=4))
        if draw(st.booleans()):
            document["images"].append({"offset": place, "grid_thw": [1, 2, place], "data": data})
        else:
            document["audios"].append({"offset": place, "frames": place, "data": data})
    return document


marked = st.tuples(one_document(), st.booleans())
sequences_of = st.lists(st.lists(marked, min_size=1, max_size=3), max_size=6)


@given(sequences_of, st.integers(0, 3))
def test_the_other_documents_are_packed_as_if_the_cut_ones_had_never_been(packed, skip):
    batch = batch_of([[document for document, _ in row] for row in packed])
    batch, packed = batch.slice(skip), packed[skip:]  # a slice has offsets that a whole batch has not
    drop = np.array([gone for row in packed for _, gone in row], bool)
    left = [[document for document, gone in row if not gone] for row in packed]
    expected = batch_of([row for row in left if row])
    made = cut(batch, drop, PAD)
    assert made.to_pylist() == expected.to_pylist()
    made.validate(full=True)
    staying = [found for found, gone in zip(documents_in(batch), drop, strict=True) if not gone]
    assert list(documents_in(made)) == staying


@given(st.lists(one_document(), min_size=1, max_size=3), st.data())
def test_a_document_s_digest_tells_every_change_and_no_move(documents, data):
    (before,) = {found.digest for found in documents_in(batch_of([documents[:1]]))}
    moved = list(documents_in(batch_of([[*documents[1:], documents[0]]])))[-1]
    assert moved.digest == before
    changed = {
        name: [dict(e) for e in value] if name in ("loss_runs", "images", "audios") else value
        for name, value in documents[0].items()
    }
    parts = [entry for name in ("images", "audios") for entry in changed[name]]
    kind = data.draw(st.sampled_from(["token", "id", *(["media"] if parts else [])]))
    if kind == "token":
        changed["tokens"] = [documents[0]["tokens"][0] + 1, *documents[0]["tokens"][1:]]
    elif kind == "id":
        changed["id"] += "!"
    else:
        parts[0]["data"] += b"!"
    assert next(documents_in(batch_of([[changed]]))).digest != before


def test_names_match_whole_values_of_every_kind():
    digest = hashlib.sha256(b"picture").digest()
    wanted = Wanted(["doc", "http://x.org/?a=b", digest.hex().upper(), "%", "nothing", "doc"])
    assert wanted.names == ("doc", "http://x.org/?a=b", digest.hex().upper(), "%", "nothing")
    hits = wanted.match(
        5,
        strings=[
            pa.array(["doc", "doc-1", None, "DOC", "%"]),
            pa.array([None, "http://x.org/?a=b", "http://x.org/", None, "a"], pa.large_string()),
        ],
        digests=[pa.array([None, None, [b"0" * 32, digest], [], None], pa.list_(pa.binary(32)))],
    )
    assert hits.rows.tolist() == [True, True, True, False, True]
    assert hits.names == {"doc", "http://x.org/?a=b", digest.hex().upper(), "%"}
    flat = wanted.match(2, digests=[pa.array([digest, b"1" * 32], pa.binary(32)).slice(0, 2)])
    assert flat.rows.tolist() == [True, False]
    assert Wanted(["a", "b"]).match(1, digests=[pa.array([digest], pa.binary(32))]).names == frozenset()


@pytest.mark.parametrize(("name", "says"), [("", "empty"), ("\udcff", "not UTF-8")])
def test_a_name_that_can_be_no_row_s_is_refused(name, says):
    with pytest.raises(SluiceError, match=says):
        check_names(["fine", name])


def test_names_come_one_a_line(tmp_path):
    (tmp_path / "names").write_bytes("\ufeffone\r\n\n  two words \n\u202e\n".encode())
    assert read_names(tmp_path / "names") == ["one", "  two words ", "\u202e"]
    (tmp_path / "names").write_bytes(b"\xff")
    with pytest.raises(SluiceError, match="UTF-8"):
        read_names(tmp_path / "names")
    with pytest.raises(SluiceError, match="cannot read names"):
        read_names(tmp_path / "none")


LEDGER = ledger_schema([pa.field("tokens.count", pa.int32()), pa.field("score", pa.float64())])


def line(row_id: str, source: str, **values: Any) -> dict[str, Any]:
    blank = dict.fromkeys(LEDGER.names)
    full = {"modality": "text", "verdict": "kept", "excerpt": f"text of {source}", "num_chars": 9, "score": 0.5}
    return blank | full | {"id": row_id, "source": source, "url": f"http://{row_id}"} | values


def rejected(row_id: str, source: str, **values: Any) -> dict[str, Any]:
    return line(row_id, source, verdict="rejected", step="1:dedup", reason="duplicate", **values)


def write_ledger(folder: Path, *files: list[dict[str, Any]]) -> list[Path]:
    paths = []
    for number, lines in enumerate(files):
        paths.append(folder / f"{number}.parquet")
        pq.write_table(pa.Table.from_pylist(lines, LEDGER), paths[-1])
    return paths


def test_a_tombstone_says_that_there_was_a_row_and_nothing_else():
    text, picture = (hashlib.sha256(data).digest() for data in (b"text", b"picture"))
    lines = [
        line("a", "web/f#0", text_sha256=text, media_sha256=[picture], detail="x"),
        rejected("a", "web/f#0", part=2, modality="image", media_sha256=[picture]),
        rejected("b", "web/f#1", match_id="a", text_sha256=text, media_sha256=[picture, text]),
        line("a", "web/g#0", text_sha256=text),
        rejected("c", "web/f#2", match_id="b"),
    ]
    batch = pa.RecordBatch.from_pylist(lines, LEDGER)
    burial = Burial("", {("web/f#0", "a")})
    burial.had |= {"id": {"a"}, "text_sha256": {text}, "media_sha256": {picture}}
    burial.gone["id"] = {"a"}
    row, part, quoting, same_id, other = burial.bury(batch).to_pylist()
    name = "forgotten-" + hashlib.sha256(b"a").hexdigest()[:16]
    for stone in (row, part):
        filled = {key: value for key, value in stone.items() if value is not None}
        assert set(filled) <= set(FILLED)
        assert (stone["id"], stone["verdict"], stone["step"]) == (name, "rejected", "forget")
        assert stone["source"] == "web/forgotten-" + hashlib.sha256(b"web/f#0").hexdigest()[:16]
    assert (row["part"], part["part"], part["modality"]) == (None, 2, "image")
    changed = {"match_id": name, "excerpt": None, "text_sha256": None, "media_sha256": [text]}
    assert quoting == lines[2] | changed
    assert (same_id, other) == (lines[3], lines[4])
    burial.gone["id"] = set()  # another row has the id: the match may be that one, but its text is not shown
    assert burial.bury(batch).to_pylist()[2] == lines[2] | changed | {"match_id": "a"}
    again = burial.bury(batch)
    assert burial.bury(again).equals(again)


def test_a_rewritten_ledger_differs_in_the_forgotten_lines_only(tmp_path):
    rows = [line(f"r{k}", f"w/f#{k}", score=float("nan") if k % 2 else 0.5, part=None) for k in range(9)]
    (tmp_path / "ledger").mkdir()
    path = tmp_path / "ledger" / "0.parquet"
    pq.write_table(pa.Table.from_pylist(rows, LEDGER), path, row_group_size=4)
    entry = LedgerEntry(path="ledger/0.parquet", rows=9, bytes=0, sha256="")
    burial = Burial("", {("w/f#3", "r3"), ("w/f#8", "r8")})
    done = Rewritten()
    rewrite_ledger(tmp_path, entry, burial, done)
    made = done.ledger["ledger/0.parquet"]
    assert (made.path, made.rows) == ("ledger/0.1.parquet", 9)
    file = pq.ParquetFile(tmp_path / made.path)
    assert file.num_row_groups == 3
    assert file.schema_arrow.equals(pq.read_schema(path), check_metadata=True)
    found = file.read().to_pylist()
    assert [row["id"] for row in found if row["step"] != "forget"] == ["r0", "r1", "r2", "r4", "r5", "r6", "r7"]
    assert [k for k, row in enumerate(found) if row["step"] == "forget"] == [3, 8]


def test_a_rewritten_ledger_is_read_back(tmp_path, monkeypatch):
    paths = write_ledger(tmp_path, [line("a", "w/f#0"), line("b", "w/f#1")])
    entry = LedgerEntry(path=paths[0].name, rows=2, bytes=0, sha256="")
    monkeypatch.setattr(Burial, "bury", lambda self, batch: batch.slice(0, 1))
    with pytest.raises(AssertionError, match="a line changed"):
        rewrite_ledger(tmp_path, entry, Burial("", {("w/f#0", "a")}), Rewritten())


@pytest.mark.parametrize("fault", ["tokens", "padding"])
def test_a_rewritten_shard_is_read_back(tmp_path, monkeypatch, fault):
    blank = {"loss_runs": [], "images": [], "audios": []}
    batch = batch_of([[blank | {"id": name, "tokens": [1, 2, 3]} for name in "ab"]])
    write_arrow(tmp_path / "0.arrow", batch.schema, iter([batch]))
    entry = ShardEntry(path="0.arrow", rows=1, tokens=6, bytes=0, sha256="")
    done = Rewritten()
    rewrite_shard(tmp_path, entry, {"a": None}, PAD, done)
    assert done.shards["0.arrow"].tokens == 3
    assert (len(done.cut), done.compared) == (1, 1)

    def faulty(batch: pa.RecordBatch, drop: np.ndarray, pad_id: int) -> pa.RecordBatch:
        made = cut(batch, drop, pad_id).to_pylist()
        made[0]["input_ids"][0 if fault == "tokens" else -1] = 9
        return pa.RecordBatch.from_pylist(made, batch.schema)

    monkeypatch.setattr("pipeline.forget.rewrite.cut", faulty)
    with pytest.raises(AssertionError, match="a document changed" if fault == "tokens" else "padding"):
        rewrite_shard(tmp_path, entry, {"a": None}, PAD, Rewritten())


def test_names_of_tombstones_can_be_salted_and_hold_no_path():
    assert tombstone_id("a", "salt") != tombstone_id("a", "") == tombstone_id("a", "")
    assert tombstone_source("http:nothing", "").startswith("forgotten/forgotten-")
    assert tombstone_source("web/a/b#1", "") != tombstone_source("web/a/b#2", "")


def test_a_removed_part_is_forgotten_without_its_row(tmp_path):
    picture, other = hashlib.sha256(b"picture").digest(), hashlib.sha256(b"other").digest()
    paths = write_ledger(
        tmp_path,
        [line("a", "w/f#0", media_sha256=[other]), rejected("a", "w/f#0", part=1, media_sha256=[picture])],
        [rejected("b", "w/f#1", media_sha256=[picture]), rejected("b", "w/f#1", part=0, media_sha256=[other])],
    )
    wanted = Wanted([picture.hex()])
    found = find_lines(paths, wanted, "")
    assert found.names == {picture.hex()}
    rows, parts = rows_and_parts(found.lines, wanted)
    assert rows == {("w/f#1", "b")}
    assert parts == {("w/f#0", "a", 1)}
    known = survey(paths, Burial("", rows, parts))
    assert [entry.values["part"] for entry in known.lines] == [1, None, 0]
    assert known.files == {0, 1}
    assert known.burial.gone["media_sha256"] == {picture}  # row a still has the other one
    assert known.copies == [{"id": "a", "source": "w/f#0", "part": None, "verdict": "kept", "shares": ["media_sha256"]}]
    assert known.burial.gone["url"] == {"http://b"}


def test_rows_exploded_from_one_go_together_by_source_only(tmp_path):
    paths = write_ledger(tmp_path, [line(f"p#{k}", "w/f#0") for k in range(3)])
    for name, expected in (("w/f#0", 3), ("p#1", 1), ("p", 0)):
        wanted = Wanted([name])
        assert len(rows_and_parts(find_lines(paths, wanted, "").lines, wanted)[0]) == expected
    known = survey(paths, Burial("", {("w/f#0", "p#1")}))
    assert [copy["shares"] for copy in known.copies] == [["source"], ["source"]]
    assert known.burial.gone["source"] == set()


def test_what_was_forgotten_before_is_known_by_its_tombstone(tmp_path):
    burial = Burial("s", {("w/f#0", "a")}, had={"id": {"a"}}, gone={"id": {"a"}})
    batch = burial.bury(pa.RecordBatch.from_pylist([line("a", "w/f#0"), line("b", "w/f#1")], LEDGER))
    paths = write_ledger(tmp_path, batch.to_pylist())
    stone = tombstone_id("a", "s")
    found = find_lines(paths, Wanted(["a", "w/f#0", stone, "b", "c"]), "s")
    assert (found.names, found.buried, found.graves) == ({"b"}, {"a", "w/f#0", stone}, {stone})
    assert find_lines(paths, Wanted(["a"]), "another salt").buried == set()


def test_sums_of_tokens_tell_which_shards_hold_a_ledger_file_s_rows():
    assert shard_groups([30, 0, 12], [10, 20, 12]) == [range(2), range(2, 2), range(2, 3)]
    assert shard_groups([31, 11], [10, 20, 12]) == [range(3)] * 2  # not made in groups
    assert shard_groups([30], [10, 20, 12]) == [range(3)]
    assert shard_groups([], []) == []


def kept(file: int, row_id: str, tokens: int, source: str = "w/f") -> Line:
    return Line(file, line(row_id, f"{source}#{file}.{tokens}", **{"tokens.count": tokens}))


@pytest.mark.parametrize(
    ("going", "staying", "cuts", "joined"),
    [
        ([kept(0, "a", 5)], [], {0: {"a": None}, 1: {"a": None}}, 0),
        ([kept(0, "a", 5)], [kept(1, "a", 5)], {0: {"a": None}, 1: {"a": None}}, 0),  # another group's shards
        ([kept(0, "a", 5)], [kept(0, "a", 6)], {0: {"a": {5}}, 1: {"a": {5}}}, 0),
        ([kept(0, "a", 5)], [kept(0, "a", 6), kept(0, "a", 5, "other")], {0: {"a": {5}}, 1: {"a": {5}}}, 1),
        ([kept(0, "a", 5)], [kept(0, "a", 99), kept(0, "a", 6)], {0: {"a": None}, 1: {"a": None}}, 2),  # many pieces
        ([kept(2, "a", 5), kept(2, "b", 5)], [kept(2, "b", 6)], {3: {"a": None, "b": {5}}}, 0),
    ],
)
def test_rows_of_one_id_are_told_apart_by_group_and_length(going, staying, cuts, joined):
    places = find_places(going, staying, [range(2), range(2, 3), range(3, 4)], 10)
    assert places.cuts == cuts
    assert len(places.joined) == joined


def test_documents_to_cut_are_found_by_id_and_length():
    blank = {"loss_runs": [], "images": [], "audios": []}
    rows = [[("a", 3), ("b", 2)], [("a", 4), ("c", 1), ("b", 3)]]
    batch = batch_of([[blank | {"id": name, "tokens": [1] * size} for name, size in row] for row in rows])
    assert to_cut(batch, {"a": {4}, "b": None}).tolist() == [False, True, True, False, True]


def test_new_files_have_new_names():
    assert next_name("shards/00003.arrow") == "shards/00003.1.arrow"
    assert next_name("shards/00003.9.arrow") == "shards/00003.10.arrow"
    assert next_name("ledger/part-00000.parquet") == "ledger/part-00000.1.parquet"


def test_the_ledger_knows_urls_and_digests():
    def part(index: int, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).digest()
        return {"index": index, "kind": "image", "data": data, "mime": "image/png", "sha256": digest}

    rows = [
        {"id": "a", "source": "s#0", "url": "http://a", "text": "plain é", "media": [], "meta": "{}"},
        {"id": "b", "source": "s#1", "url": None, "text": f"x{SENTINEL}y{SENTINEL}", "meta": "{}"},
        {"id": "c", "source": "s#2", "url": None, "text": SENTINEL, "media": [part(0, b"2")], "meta": "{}"},
    ]
    rows[1]["media"] = [part(0, b"0"), part(2, b"1")]
    texts = [hashlib.sha256(text.encode()).digest() for text in ("plain é", "xy")]
    digests = {name: hashlib.sha256(name.encode()).digest() for name in "012"}
    schema = ledger_schema([])
    for skip in (0, 1):
        batch = pa.RecordBatch.from_pylist(rows, SAMPLE).slice(skip)
        made = kept_rows(batch, schema)
        assert made.column("url").to_pylist() == ["http://a", None, None][skip:]
        assert made.column("text_sha256").to_pylist() == [*texts, None][skip:]
        assert made.column("media_sha256").to_pylist() == [None, [digests["0"], digests["1"]], [digests["2"]]][skip:]
    parts = [None, 2, None]
    why = [
        pa.array(parts, pa.int32()),
        pa.array(["r"] * 3),
        pa.nulls(3, pa.string()),
        pa.nulls(3, pa.string()),
    ]
    batch = pa.RecordBatch.from_arrays(
        [*pa.RecordBatch.from_pylist(rows, SAMPLE).columns, *why], schema=rejected_schema(SAMPLE)
    )
    made = rejected_rows("1:x", batch, schema)
    assert made.column("media_sha256").to_pylist() == [None, [digests["1"]], [digests["2"]]]
    assert made.column("text_sha256").to_pylist() == [texts[0], None, None]
    empty = kept_rows(pa.RecordBatch.from_pylist([], SAMPLE), schema)
    assert empty.num_rows == 0
    assert empty.schema.names == [field.name for field in LEDGER_FIELDS]
