import datetime as dt
import decimal
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources import tables
from schemas.errors import SluiceError
from schemas.sample import SENTINEL
from tests.unit.source_rows import num_spans, read, reasons, write


def parquet(folder, columns, name="a.parquet", **options):
    pq.write_table(pa.table(columns), folder / name, **options)
    return folder / name


def test_rows_columns_and_sources(tmp_path):
    path = parquet(tmp_path, {"text": ["one", "two"], "id": [5, None], "url": [None, "http://x"], "n": [1, None]})
    kept, rejected = read("parquet", path)
    assert rejected == []
    assert [(r["id"], r["source"], r["url"], r["text"], r["meta"]) for r in kept] == [
        ("5", "set/a.parquet#0", None, "one", '{"n":1}'),
        ("set/a.parquet#1", "set/a.parquet#1", "http://x", "two", '{"n":null}'),
    ]


def test_other_columns_become_json(tmp_path):
    columns = {
        "doc": pa.array([{"body": "x", "words": ["a", None]}]),
        "ns": pa.array([1], pa.timestamp("ns", tz="UTC")),
        "day": [dt.date(2020, 1, 2)],
        "took": pa.array([dt.timedelta(seconds=1)]),
        "price": [decimal.Decimal("1.20")],
        "raw": [b"\xff\x00"],
        "nan": [math.nan],
        "half": pa.array([1.5], pa.float16()),
        "tag": pa.array(["t"]).dictionary_encode(),
        "map": pa.array([[("k", dt.date(2020, 1, 2))]], pa.map_(pa.string(), pa.date32())),
        "nested": pa.array([[{"at": dt.time(1, 2, 3)}]]),
    }
    kept, _ = read("parquet", parquet(tmp_path, columns), columns={"text": "doc.body"})
    assert kept[0]["text"] == "x"
    assert json.loads(kept[0]["meta"]) == {
        "doc": {"words": ["a", None]},
        "ns": "1970-01-01 00:00:00.000000001Z",
        "day": "2020-01-02",
        "took": 1000000,
        "price": "1.20",
        "raw": "/wA=",
        "nan": None,
        "half": 1.5,
        "tag": "t",
        "map": [["k", "2020-01-02"]],
        "nested": [{"at": "01:02:03.000000"}],
    }


def test_text_stored_as_bytes_is_text(tmp_path):
    kept, rejected = read("parquet", parquet(tmp_path, {"text": pa.array([b"caf\xc3\xa9", b"caf\xe9"], pa.binary())}))
    assert ([r["text"] for r in kept], reasons(rejected)) == (["café"], [("1", "invalid_utf8")])


def test_faulty_rows(tmp_path):
    bad = pa.array([b"ok", b"b\xff", b"ok", b"ok", b"ok", b"ok"], pa.binary()).view(pa.string())
    texts = ["a" * 10, "b", "é" * 10, None, "fine " + SENTINEL, ""]
    kept, rejected = read("parquet", parquet(tmp_path, {"text": texts, "note": bad}), max_row_bytes=19)
    assert [(r["source"][-1], r["text"]) for r in kept] == [("0", "a" * 10), ("4", "fine  "), ("5", "")]
    assert reasons(rejected) == [("1", "invalid_utf8"), ("2", "too_long"), ("3", "no_text")]
    assert rejected[0]["reject.detail"] == "column 'note'"
    assert rejected[1]["reject.detail"] == "20 bytes; at most 19"


def test_media_columns(tmp_path):
    jpeg, wav = b"\xff\xd8\xff jpeg", b"RIFF\0\0\0\0WAVE"
    columns = {
        "image": pa.array([{"bytes": jpeg, "path": "a.jpg"}, None, {"bytes": None, "path": "/etc/passwd"}]),
        "audio": pa.array([[wav, wav], [], None], pa.list_(pa.binary())),
        "text": ["cap", "none", "path only"],
    }
    kept, rejected = read("parquet", parquet(tmp_path, columns))
    assert [r["text"] for r in kept] == [SENTINEL * 3 + "\ncap", "none", "path only"]
    assert [[(m["index"], m["kind"], m["data"]) for m in r["media"]] for r in kept] == [
        [(0, "image", jpeg), (1, "audio", wav), (2, "audio", wav)],
        [],
        [],
    ]
    assert [(r["source"], r["reject.part"], r["reject.reason"]) for r in rejected] == [
        ("set/a.parquet#2", 0, "bad_media")
    ]


def test_image_column_of_names_stays_in_meta_unless_asked_for(tmp_path):
    path = parquet(tmp_path, {"text": ["t"], "image": ["a.jpg"]})
    kept, rejected = read("parquet", path)
    assert (kept[0]["text"], kept[0]["meta"], rejected) == ("t", '{"image":"a.jpg"}', [])
    kept, rejected = read("parquet", path, columns={"image": "image"})
    assert (kept[0]["text"], kept[0]["meta"]) == ("t", "{}")
    assert [(r["reject.part"], r["reject.reason"]) for r in rejected] == [(0, "bad_media")]


def test_missing_text_column_is_an_error_with_the_nearest(tmp_path):
    path = parquet(tmp_path, {"texte": ["x"], "n": [1]})
    with pytest.raises(SluiceError, match=r"a\.parquet has no column 'text'; did you mean 'texte'\?"):
        read("parquet", path)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no parquet " * 99, b"PAR1" + b"\xff" * 50 + b"\x32\0\0\0PAR1"])
def test_file_that_is_not_parquet(tmp_path, data):
    kept, rejected = read("parquet", write(tmp_path, "a.parquet", data))
    assert (kept, reasons(rejected)) == ([], [("0", "corrupt")])


def test_damaged_row_group_costs_no_other(tmp_path):
    path = parquet(tmp_path, {"text": [f"{k} " * 20 for k in range(300)]}, row_group_size=100, write_page_checksum=True)
    at = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = at.dictionary_page_offset or at.data_page_offset
    data[start + 60 : start + 80] = b"\xff" * 20
    path.write_bytes(bytes(data))
    whole = read("parquet", path)
    kept, rejected = whole
    assert [int(r["text"].split()[0]) for r in kept] == [*range(100), *range(200, 300)]
    assert reasons(rejected) == [("100", "corrupt")]
    assert rejected[0]["reject.detail"].startswith("rows 100 to 199 are lost: ")
    assert read("parquet", path, target_bytes=1, batch_rows=7) == whole


def test_no_rows(tmp_path):
    assert read("parquet", parquet(tmp_path, {"text": pa.array([], pa.string())})) == ([], [])


@settings(max_examples=15, deadline=None)
@given(
    texts=st.lists(st.sampled_from(["a", "bb" * 9, None, "x" * 60]), max_size=25),
    group=st.integers(1, 9),
    target=st.integers(1, 2000),
    rows=st.integers(1, 7),
)
def test_any_cut_into_spans_gives_the_same_rows(tmp_path_factory, texts, group, target, rows):
    columns = {"text": pa.array(texts, pa.string()), "k": list(range(len(texts)))}
    path = parquet(tmp_path_factory.mktemp("cut"), columns, row_group_size=group)
    whole = read("parquet", path, max_row_bytes=50)
    assert read("parquet", path, max_row_bytes=50, target_bytes=target, batch_rows=rows) == whole
    assert sum(map(len, whole)) == len(texts)


def test_spans_are_row_groups(tmp_path):
    path = parquet(tmp_path, {"text": [str(k) * 50 for k in range(100)]}, row_group_size=10)
    assert [num_spans("parquet", path, target) for target in (1, path.stat().st_size)] == [10, 1]


def test_steps_hold_about_so_many_bytes():
    assert tables.step_rows(tables.STEP_BYTES * 10, 1000) == 100
    assert tables.step_rows(10, 10**6) == tables.MAX_STEP_ROWS
    assert tables.step_rows(tables.STEP_BYTES * 10, 1) == 1
    assert tables.step_rows(0, 0) == 1
