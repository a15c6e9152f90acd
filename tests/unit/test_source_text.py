import gzip

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.sample import SENTINEL
from tests.unit.source_rows import num_spans, read, reasons, write

PROSE = b"\xef\xbb\xbfone\r\ntwo\r\n\r\n \r\nthree " + SENTINEL.encode() + b"\n"


def texts(rows):
    return [(r["source"].split("#")[1], r["text"]) for r in rows]


@pytest.mark.parametrize(
    ("per", "expected"),
    [
        ("file", [("0", "one\r\ntwo\r\n\r\n \r\nthree  ")]),
        ("paragraph", [("0", "one\ntwo"), ("18", "three  ")]),
        ("line", [("0", "one"), ("8", "two"), ("18", "three  ")]),
    ],
)
def test_documents(tmp_path, per, expected):
    kept, rejected = read("text", write(tmp_path, "a.txt", PROSE), per=per)
    assert (texts(kept), rejected) == (expected, [])
    assert {(r["id"] == r["source"], r["url"], r["meta"]) for r in kept} == {(True, None, "{}")}
    for ending, packed in ((".gz", gzip.compress(PROSE)), (".zst", zstandard.compress(PROSE))):
        kept, _ = read("text", write(tmp_path, "a.md" + ending, packed), per=per)
        assert texts(kept) == [(str(k), text) for k, (_, text) in enumerate(expected)]


@pytest.mark.parametrize(
    ("data", "reason", "text"),
    [
        (b"", "no_text", ""),
        (b"\xef\xbb\xbf", "no_text", ""),
        (b" \n\n\t", "no_text", " \n\n\t"),
        ("\u3000".encode(), "no_text", "\u3000"),
        (b"caf\xe9", "invalid_utf8", "caf\ufffd"),
        (b"ab\n" * 40, "too_long", "ab\n" * 33 + "a"),
        (b"x" * 101, "too_long", "x" * 100),
    ],
)
def test_file_that_is_no_document(tmp_path, data, reason, text):
    kept, rejected = read("text", write(tmp_path, "a.txt", data), max_row_bytes=100)
    assert (kept, reasons(rejected), rejected[0]["text"]) == ([], [("0", reason)], text)


def test_a_text_as_long_as_allowed_is_kept(tmp_path):
    kept, rejected = read("text", write(tmp_path, "a.txt", b"ab\n" * 33 + b"c\n"), max_row_bytes=100)
    assert (len(kept[0]["text"]), rejected) == (100, [])


@pytest.mark.parametrize("per", ["paragraph", "line"])
def test_faults_cost_their_own_document_only(tmp_path, per):
    data = b"good\n\n\xff\xfe\n\n" + b"y" * 500 + b"\n\nalso"
    kept, rejected = read("text", write(tmp_path, "a.txt", data), per=per, max_row_bytes=100)
    assert texts(kept) == [("0", "good"), ("512", "also")]
    assert reasons(rejected) == [("6", "invalid_utf8"), ("10", "too_long")]
    assert rejected[1]["reject.detail"] == "500 bytes; at most 100"


@pytest.mark.parametrize(("per", "num_kept"), [("file", 0), ("paragraph", 1), ("line", 2)])
def test_damaged_compression(tmp_path, per, num_kept):
    whole = gzip.compress(b"a\n\nb\nc")
    kept, rejected = read("text", write(tmp_path, "a.txt.gz", whole[:-9]), per=per)
    assert (len(kept), reasons(rejected)) == (num_kept, [(str(num_kept), "truncated")])
    assert rejected[0]["text"] == "c"
    kept, rejected = read("text", write(tmp_path, "b.txt.gz", b"not gzip, this"), per=per)
    assert (kept, reasons(rejected)) == ([], [("0", "corrupt_compression")])


@settings(max_examples=30, deadline=None)
@given(
    lines=st.lists(st.sampled_from([b"a", b"", b" ", b"bb\r", b"\xff", b"x" * 40]), max_size=20),
    target=st.integers(1, 60),
)
def test_any_cut_into_lines_gives_the_same_rows(tmp_path_factory, lines, target):
    path = write(tmp_path_factory.mktemp("cut"), "a.txt", b"\n".join(lines))
    whole = read("text", path, per="line", max_row_bytes=30)
    assert read("text", path, per="line", max_row_bytes=30, target_bytes=target, batch_rows=2) == whole
    assert sum(map(len, whole)) == sum(bool(line.strip()) for line in lines)


def test_only_lines_are_cut(tmp_path):
    path = write(tmp_path, "a.txt", b"line\n" * 100)
    assert {per: num_spans("text", path, 50, per=per) for per in ("file", "paragraph", "line")} == {
        "file": 1,
        "paragraph": 1,
        "line": 10,
    }
