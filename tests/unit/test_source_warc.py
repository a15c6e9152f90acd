"""The warc and wet sources: every record accounted for, in sound files and in damaged ones."""

import gzip
import io
import json
import random
import re
import zlib
from functools import partial

import brotli
import pytest
import zstandard
from fastwarc.warc import ArchiveIterator
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.source_rows import read, reasons, write

PAGE = b"<html><body>The ferry left early.</body></html>"

#: without the time: cases are named by their bytes, and their names must be the same in every process
gz = partial(gzip.compress, mtime=0)


def record(kind="response", block=b"", number=1, length=None, end=b"\r\n\r\n", **headers):
    """A WARC record; keyword arguments are further headers, `_` for `-`."""
    lines = {
        "WARC-Type": kind,
        "WARC-Record-ID": f"<urn:uuid:{number}>",
        "WARC-Target-URI": f"https://example.org/{number}",
        "Content-Length": str(len(block) if length is None else length),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return b"WARC/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()).encode() + b"\r\n" + block + end


def response(body=PAGE, *, status="200 OK", content_type="text/html; charset=utf-8", number=1, http="", **more):
    """A response record; `http` are further HTTP header lines."""
    typed = f"Content-Type: {content_type}\r\n" if content_type else ""
    block = f"HTTP/1.1 {status}\r\n{typed}{http}\r\n".encode() + body
    return record(block=block, number=number, Content_Type="application/http; msgtype=response", **more)


def texts(kept):
    return [row["text"] for row in kept]


def test_what_a_row_holds(tmp_path):
    info = record("warcinfo", b"software: none")
    data = info + response(
        number=7,
        http="Content-Language: en\r\nX-Robots-Tag: noai\r\n",
        WARC_Date="2024-05-18T01:58:10Z",
        WARC_Truncated="length",
    )
    [row], rejected = read("warc", write(tmp_path, "a.warc", data))
    assert rejected == []
    assert (row["id"], row["source"], row["url"]) == ("urn:uuid:7", f"set/a.warc#{len(info)}", "https://example.org/7")
    assert row["text"] == PAGE.decode()
    assert json.loads(row["meta"]) == {
        "date": "2024-05-18T01:58:10Z",
        "truncated": "length",
        "content_type": "text/html; charset=utf-8",
        "content_language": "en",
        "x_robots_tag": "noai",
        "encoding": "utf-8",
    }


def test_one_place_a_record_in_every_packing(tmp_path):
    """Plain, a member a record, one member for all, zstd: the same rows, at places that can be sought."""
    parts = [response(f"<p>page {k}</p>".encode(), number=k) for k in range(5)]
    members = [gz(part) for part in parts]
    frames = [zstandard.compress(part) for part in parts]
    whole = gz(b"".join(parts))

    def starts(pieces):
        return [str(sum(map(len, pieces[:k]))) for k in range(5)]

    inner = ["0"] + [f"0+{at}" for at in starts(parts)[1:]]
    for name, data, places in (
        ("a.warc", b"".join(parts), starts(parts)),
        ("a.warc.gz", b"".join(members), starts(members)),
        ("b.warc.gz", whole, inner),
        ("a.warc.zst", b"".join(frames), starts(frames)),
        ("misnamed.warc", whole, inner),
    ):
        kept, rejected = read("warc", write(tmp_path, name, data))
        assert (texts(kept), rejected) == ([f"<p>page {k}</p>" for k in range(5)], [])
        assert [row["source"].split("#")[1] for row in kept] == places


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (response(status="404 Not Found"), "bad_status"),
        (response(b"", status="302"), "bad_status"),
        (response(content_type="image/png"), "unsupported_content_type"),
        (response(b"%PDF-1.4", content_type=""), "unsupported_content_type"),
        (record("resource", b"a log", Content_Type="text/plain"), "unsupported_content_type"),
        (record("revisit", b"HTTP/1.1 200 OK\r\n\r\n"), "revisit"),
        (response(b""), "empty_payload"),
        (response(b" \r\n "), "empty_payload"),
        (response(bytes(range(256)) * 6), "undecodable"),
        (response(b"<p>" + b"x" * 3000), "too_long"),
        (response(b"<p>" + b"x" * 600_000), "too_long"),
        (record(block=b"nothing like HTTP", Content_Type="application/http"), "bad_http"),
        (response(gz(PAGE)[:-20] + b"junk" * 9, http="Content-Encoding: gzip\r\n"), "corrupt_payload"),
        (response(gz(bytes(10**7)), http="Content-Encoding: gzip\r\n"), "too_long"),
        (response(brotli.compress(bytes(10**7)), http="Content-Encoding: br\r\n"), "too_long"),
        (response(zstandard.compress(bytes(10**7)), http="Content-Encoding: zstd\r\n"), "too_long"),
        (response(b"5\r\nhello\r\nno chunk", http="Transfer-Encoding: chunked\r\n"), "corrupt_payload"),
        (response(b"50\r\nhello", http="Transfer-Encoding: chunked\r\n"), "corrupt_payload"),
        (response(length="many"), "corrupt"),
        (response(length=-1), "corrupt"),
        (response(WARC_Type=""), "corrupt"),
        (response(X="a" * 300_000), "corrupt"),
        (b"no archive\n" * 9, "corrupt"),
        (b":" * 300_000 + b"\n", "corrupt"),
        (response()[:-40], "truncated"),
        (response(length=10**17), "truncated"),
        (b"WARC/1.0\r\nWARC-Type: resp", "truncated"),
        (b"", "truncated"),
        (gz(response())[:-30], "truncated"),
        (gz(response())[:-4], "truncated"),
        (gz(b""), "truncated"),
        (gz(response())[:-8] + bytes(8), "corrupt_compression"),
        (zstandard.ZstdCompressor(write_checksum=True).compress(response())[:-4] + bytes(4), "corrupt_compression"),
        (zstandard.compress(response())[:-10], "truncated"),
    ],
)
def test_what_is_no_row(tmp_path, data, reason):
    kept, rejected = read("warc", write(tmp_path, "a.warc", data), max_row_bytes=2000)
    assert (kept, reasons(rejected)) == ([], [("0", reason)])


@pytest.mark.parametrize(
    ("body", "http"),
    [
        (gz(PAGE), "Content-Encoding: gzip\r\n"),
        (zlib.compress(PAGE), "Content-Encoding: deflate\r\n"),
        (zlib.compress(PAGE)[2:-4], "Content-Encoding: deflate\r\n"),
        (brotli.compress(PAGE), "Content-Encoding: br\r\n"),
        (zstandard.compress(PAGE), "Content-Encoding: zstd\r\n"),
        (gz(zlib.compress(PAGE)), "Content-Encoding: deflate, gzip\r\n"),
        (b"6;x=y\r\n<html>\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(PAGE) - 6, PAGE[6:]), "Transfer-Encoding: chunked\r\n"),
        # stored decoded, the headers as they came
        (PAGE, "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
        (PAGE, "Content-Encoding: br\r\n"),
        (PAGE, "Content-Encoding: none\r\nContent-Length: 3\r\n"),
    ],
)
def test_encoded_payloads(tmp_path, body, http):
    """The record after it is read, too."""
    kept, rejected = read("warc", write(tmp_path, "a.warc", response(body, http=http) + response(number=2)))
    assert (texts(kept), rejected) == ([PAGE.decode()] * 2, [])


POLISH = "<p>Zażółć gęślą jaźń, powiedział i wyszedł. Nikt nie zapytał, dokąd idzie ani kiedy wróci.</p>"


@pytest.mark.parametrize(
    ("body", "content_type", "text", "encoding"),
    [
        (POLISH.encode("iso8859-2"), "text/html; charset=ISO-8859-2", POLISH, "iso8859-2"),
        (b"<meta charset=iso-8859-2>" + POLISH.encode("iso8859-2"), "text/html", POLISH, "iso8859-2"),
        (
            b'<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-2">' + POLISH.encode("iso8859-2"),
            "text/html; charset=utf-8",
            POLISH,
            "iso8859-2",
        ),
        (POLISH.encode(), "text/html; charset=iso-8859-1", POLISH, "utf-8"),
        (b"\xef\xbb\xbf" + POLISH.encode(), "text/html; charset=iso-8859-2", POLISH, "utf-8"),
        (b"\xff\xfe" + POLISH.encode("utf-16-le"), "text/html", POLISH, "utf-16-le"),
        (
            "<p>\u201cquoted\u201d \u2013 caf\u00e9</p>".encode("cp1252"),
            "text/html; charset=latin1",
            "\u201cquoted\u201d",
            "cp1252",
        ),
        (
            ("<p>" + "今日は朝から雨が降っている。" * 9).encode("cp932"),
            "text/html; charset=Shift_JIS",
            "今日は",
            "cp932",
        ),
        (("<p>" + "今日は朝から雨が降っている。" * 9).encode("euc_jp"), "text/html", "今日は", "euc_jp"),
        (("<p>" + "今天下午我们要去图书馆。" * 9).encode("gbk"), "text/html; charset=gb2312", "今天下午", "gb18030"),
        (POLISH.encode()[:-6] + b"\xc5</p>", "text/html; charset=utf-8", POLISH[:20], "utf-8"),
        (b"<p>a\xef\xbf\xbcb</p>", "text/html", "<p>a b</p>", "utf-8"),
        (b"<p>plain</p>", "text/html; charset=no-such", "<p>plain</p>", "utf-8"),
        (b"<meta charset=utf-16><p>plain</p>", "text/html", "<p>plain</p>", "utf-8"),
    ],
)
def test_encodings(tmp_path, body, content_type, text, encoding):
    [row], _ = read("warc", write(tmp_path, "a.warc", response(body, content_type=content_type)))
    assert text in row["text"]
    assert json.loads(row["meta"])["encoding"] == encoding


GOOD = [response(f"<p>page {k}</p>".encode(), number=k) for k in range(3)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (response(length=20), "corrupt"),
        (response(length=len(PAGE) + 60 + 20), "corrupt"),
        (response(length=400), "corrupt"),
        (response(length=10**6), "truncated"),
        (response(length="x"), "corrupt"),
        (b"garbage\r\n\r\n", "corrupt"),
        (b"garbage", "corrupt"),
        (response(X="a" * 300_000), "corrupt"),
        (response()[:60] + b"\r\n\r\n", "corrupt"),
    ],
)
def test_a_bad_record_costs_itself_alone(tmp_path, bad, reason):
    kept, rejected = read("warc", write(tmp_path, "a.warc", GOOD[0] + bad + b"\r\n" + GOOD[1] + GOOD[2]))
    assert texts(kept) == ["<p>page 0</p>", "<p>page 1</p>", "<p>page 2</p>"]
    assert [row["reject.reason"] for row in rejected] == [reason]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (gz(response())[:-9], "corrupt_compression"),
        (gz(response())[:40] + b"\xff" * 60, "corrupt_compression"),
        (gz(response())[:-8] + bytes(8), "corrupt_compression"),
        (gz(response(length=10**6)), "truncated"),
        (gz(b"garbage\n"), "corrupt"),
        (b"not gzip at all", "corrupt_compression"),
    ],
)
def test_a_bad_member_costs_itself_alone(tmp_path, bad, reason):
    members = [gz(part) for part in GOOD]
    kept, rejected = read("warc", write(tmp_path, "a.warc.gz", members[0] + bad + members[1] + members[2]))
    assert texts(kept) == ["<p>page 0</p>", "<p>page 1</p>", "<p>page 2</p>"]
    assert [(row["source"].split("#")[1].split("+")[0], row["reject.reason"]) for row in rejected] == [
        (str(len(members[0])), reason)
    ]


def test_a_length_beyond_its_member_swallows_nothing(tmp_path):
    """Not even where too much follows to be read again."""
    large = response(random.Random(1).randbytes(10**6).hex().encode(), number=9)
    parts = [response(length=10**7), GOOD[1], large, GOOD[2]]
    path = write(tmp_path, "a.warc.gz", b"".join(gz(part, 1) for part in parts))
    kept, rejected = read("warc", path, max_row_bytes=1000)
    assert texts(kept) == ["<p>page 1</p>", "<p>page 2</p>"]
    assert [row["reject.reason"] for row in rejected] == ["truncated", "too_long"]


def test_line_ends_and_blank_lines_vary(tmp_path):
    bare = GOOD[0].replace(b"\r\n", b"\n")
    bare = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % (len(bare.split(b"\n\n", 1)[1]) - 2), bare)
    for data in (bare + GOOD[1], b"\r\n".join(GOOD[:2]), GOOD[0][:-4] + GOOD[1], GOOD[0] + GOOD[1][:-4]):
        kept, rejected = read("warc", write(tmp_path, "a.warc", data))
        assert (texts(kept), rejected) == (["<p>page 0</p>", "<p>page 1</p>"], [])


def test_arc(tmp_path):
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + PAGE
    about = b"1 0 Somebody\nURL IP-address Archive-date Content-type Archive-length\n"
    first = b"filedesc://a.arc 127.0.0.1 20140216050221 text/plain %d\n" % len(about) + about + b"\n"
    page = b"http://example.com/ 93.184.216.119 20140216050221 text/html %d\n" % len(block) + block + b"\n"
    page2 = b"http://example.com/2 1.2.3.4 20140216050221 text/html 200 - - 0 a.arc %d\n" % len(block) + block + b"\n"
    for name, data in (
        ("a.arc", first + page + page2),
        ("a.arc.gz", b"".join(map(gz, (first, page, page2)))),
    ):
        kept, rejected = read("warc", write(tmp_path, name, data))
        assert ([row["url"] for row in kept], rejected) == (["http://example.com/", "http://example.com/2"], [])
        assert json.loads(kept[0]["meta"])["date"] == "2014-02-16T05:02:21Z"
    kept, rejected = read("warc", write(tmp_path, "b.arc", first + b"garbage\n" + page))
    assert (len(kept), [row["reject.reason"] for row in rejected]) == (1, ["corrupt"])


def test_zstd_dictionary(tmp_path):
    trained = zstandard.train_dictionary(
        2048, [record(number=k, block=random.Random(k).randbytes(40)) for k in range(999)]
    )
    stored = trained.as_bytes()
    for held in (stored, zstandard.compress(stored)):
        head = b"\x5d\x2a\x4d\x18" + len(held).to_bytes(4, "little") + held
        frames = [zstandard.ZstdCompressor(dict_data=trained).compress(part) for part in GOOD]
        kept, rejected = read("warc", write(tmp_path, "a.warc.zst", head + b"".join(frames)))
        assert (len(kept), rejected) == (3, [])
    kept, rejected = read("warc", write(tmp_path, "b.warc.zst", head[:60]))
    assert (kept, reasons(rejected)) == ([], [("0", "corrupt_compression")])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=400), max_size=12), st.booleans(), st.integers(1, 4))
def test_sound_files_are_read_as_fastwarc_reads_them(tmp_path_factory, bodies, packed, per_member):
    parts = [response(b"<p>" + body.hex().encode(), number=k) for k, body in enumerate(bodies)]
    groups = [b"".join(parts[k : k + per_member]) for k in range(0, len(parts), per_member)]
    data = b"".join(gz(group) if packed else group for group in groups)
    kept, rejected = read("warc", write(tmp_path_factory.mktemp("w"), "a.warc", data), batch_rows=3)
    theirs = (
        [(page.record_id, page.reader.read().decode()) for page in ArchiveIterator(io.BytesIO(data))] if data else []
    )
    assert [(f"<{row['id']}>", row["text"]) for row in kept] == theirs
    assert len(rejected) == (0 if bodies else 1)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.binary(max_size=30), st.integers(0, 60), st.booleans())
def test_damage_anywhere_is_harmless(tmp_path_factory, at, junk, gone, packed):
    """Some bytes replaced: no crash, and what lies well before them is read."""
    parts = [gz(part) if packed else part for part in GOOD]
    data = b"".join(parts)
    at %= len(data)
    path = write(tmp_path_factory.mktemp("w"), "a.warc", data[:at] + junk + data[at + gone :])
    kept, rejected = read("warc", path)
    intact = sum(sum(map(len, parts[: k + 1])) <= at - 4 for k in range(3))
    assert texts(kept)[:intact] == [f"<p>page {k}</p>" for k in range(intact)]
    assert len(kept) + len(rejected) >= intact


def test_wet(tmp_path):
    words = "Un viaje en barca.\nY otro."
    data = record("warcinfo", b"x") + record(
        "conversion",
        words.encode(),
        number=3,
        Content_Type="text/plain",
        WARC_Date="2024-05-18T01:58:10Z",
        WARC_Identified_Content_Language="spa,cat",
    )
    for name, packed in (("a.warc.wet", data), ("a.wet.gz", gz(data))):
        [row], rejected = read("wet", write(tmp_path, name, packed))
        assert (row["id"], row["url"], row["text"], rejected) == ("urn:uuid:3", "https://example.org/3", words, [])
        assert json.loads(row["meta"]) == {"date": "2024-05-18T01:58:10Z", "languages": ["spa", "cat"]}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (record("conversion", b" \n"), "no_text"),
        (record("conversion", b"caf\xe9"), "invalid_utf8"),
        (record("conversion", b"x" * 101), "too_long"),
        (record("conversion", b"{}", Content_Type="application/json"), "unsupported_content_type"),
        (record("conversion", b"words")[:-6], "truncated"),
        (record("conversion", b"words", length=2), "corrupt"),
        (gz(record("conversion", b"words"))[:-8] + bytes(8), "corrupt_compression"),
    ],
)
def test_what_is_no_wet_row(tmp_path, data, reason):
    kept, rejected = read("wet", write(tmp_path, "a.wet", data), max_row_bytes=100)
    assert (kept, reasons(rejected)) == ([], [("0", reason)])
