"""The html source: a row a file, in whatever encoding."""

import gzip
import json

import pytest
import zstandard

from tests.unit.source_rows import num_spans, read, reasons, write

PAGE = "<html><head><meta charset=windows-1251></head><body>Паром ушёл рано.</body></html>"


@pytest.mark.parametrize("pack", [("a.html", bytes), ("a.htm.gz", gzip.compress), ("a.xhtml.zst", zstandard.compress)])
def test_a_row_a_file(tmp_path, pack):
    name, compress = pack
    path = write(tmp_path, name, compress(PAGE.encode("cp1251")))
    [row], rejected = read("html", path)
    assert (row["id"], row["source"], row["url"], row["text"]) == (f"set/{name}#0", f"set/{name}#0", None, PAGE)
    assert (json.loads(row["meta"]), rejected) == ({"encoding": "cp1251"}, [])
    assert num_spans("html", path, 10) == 1


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.html", b"", "no_text"),
        ("a.html", b" \r\n", "no_text"),
        ("a.html", b"<p>" + b"x" * 100, "too_long"),
        ("a.html.gz", gzip.compress(bytes(10**7), mtime=0), "too_long"),
        ("a.html", bytes(range(128, 160)) * 3, "undecodable"),
        ("a.html", b"\0\1\2" * 30, "undecodable"),
        ("a.html.gz", gzip.compress(b"<p>x", mtime=0)[:-9], "truncated"),
        ("a.html.gz", b"<p>no gzip", "corrupt_compression"),
    ],
)
def test_what_is_no_row(tmp_path, name, data, reason):
    kept, rejected = read("html", write(tmp_path, name, data), max_row_bytes=100)
    assert (kept, reasons(rejected)) == ([], [("0", reason)])


def test_a_sentinel_is_no_media_part(tmp_path):
    [row], _ = read("html", write(tmp_path, "a.html", "<p>a\ufffcb</p>".encode()))
    assert row["text"] == "<p>a b</p>"
