import base64
import gzip
import json
import os
import subprocess
import sys

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources import opening, registry
from pipeline.sources.base import Span
from schemas.errors import RecipeError, SluiceError
from schemas.sample import SENTINEL
from tests.unit.source_rows import input_file, num_spans, read, reasons, spans, write

LINES = b'{"text": "one", "id": "a", "url": "http://x/1", "lang": "en"}\n\n{"text": "two"}\n'


def pack(data: bytes, ending: str) -> bytes:
    return {"": lambda d: d, ".gz": gzip.compress, ".zst": zstandard.compress}[ending](data)


@pytest.mark.parametrize(("ending", "second"), [("", "63"), (".gz", "1"), (".zst", "1")])
def test_rows_columns_and_sources(tmp_path, ending, second):
    name = f"a.jsonl{ending}"
    kept, rejected = read("jsonl", write(tmp_path, name, pack(LINES, ending)))
    assert rejected == []
    assert [(r["id"], r["source"], r["url"], r["text"], r["meta"], r["media"]) for r in kept] == [
        ("a", f"set/{name}#0", "http://x/1", "one", '{"lang":"en"}', []),
        (f"set/{name}#{second}", f"set/{name}#{second}", None, "two", "{}", []),
    ]


def test_columns_map_nested_and_literal_keys(tmp_path):
    rows = [{"doc": {"body": "x", "n": 1}, "key": 7}, {"doc.body": "y", "doc": {"body": "z"}}]
    path = write(tmp_path, "a.jsonl", b"\n".join(json.dumps(r).encode() for r in rows))
    kept, _ = read("jsonl", path, columns={"text": "doc.body", "id": "key", "url": None})
    assert [(r["id"], r["text"], r["meta"]) for r in kept] == [
        ("7", "x", '{"doc":{"n":1}}'),
        ("set/a.jsonl#41", "y", '{"doc":{"body":"z"}}'),
    ]


@pytest.mark.parametrize("bad", ["", 1.5, True, ["x"], "a\nb", "x" * 2000])
def test_unusable_id_stays_in_meta(tmp_path, bad):
    path = write(tmp_path, "a.jsonl", json.dumps({"id": bad, "text": "t"}).encode())
    kept, _ = read("jsonl", path)
    assert kept[0]["id"] == kept[0]["source"]
    assert json.loads(kept[0]["meta"]) == {"id": bad}


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (b'{"text": "x"', "bad_json", "unexpected end"),
        (b"[" * 100_000, "bad_json", ""),
        (b'["x"]', "not_an_object", "array"),
        (b"null", "not_an_object", "null"),
        (b"12", "not_an_object", "number"),
        (b'{"content": "x"}', "no_text", "'content'"),
        (b'{"text": null}', "no_text", "null"),
        (b'{"text": 3}', "no_text", "int"),
        (b'{"text": "\xff"}', "invalid_utf8", "byte 10 of 13: 0xff"),
        ('{"text": "x"}'.encode("utf-16"), "invalid_utf8", "byte 0"),
        (b'{"text": "' + b"x" * 1000 + b'"}', "too_long", "a line of 1012 bytes; at most 1000"),
    ],
)
def test_bad_line_is_one_rejected_row(tmp_path, line, reason, detail):
    good = b'{"text": "good"}\n'
    if line.startswith(b"\xff\xfe"):
        line = line.replace(b"\n", b"")
    most = {"max_row_bytes": 1000} if reason == "too_long" else {}
    kept, rejected = read("jsonl", write(tmp_path, "a.jsonl", good + line + b"\n" + good), **most)
    assert [r["source"] for r in kept] == ["set/a.jsonl#0", f"set/a.jsonl#{17 + len(line) + 1}"]
    assert reasons(rejected) == [("17", reason)]
    assert detail in rejected[0]["reject.detail"]
    assert rejected[0]["id"] == "set/a.jsonl#17"
    assert 0 < len(rejected[0]["text"]) <= 200


def test_text_of_a_bad_row_is_a_readable_excerpt(tmp_path):
    _, rejected = read("jsonl", write(tmp_path, "a.jsonl", b'{"text": "a\xff\x00\x1b b' + SENTINEL.encode()))
    assert rejected[0]["text"] == '{"text": "a\ufffd\ufffd\ufffd b\ufffd'


def test_what_published_dumps_hold_is_read(tmp_path):
    lines = [
        b'\xef\xbb\xbf{"text": "bom"}',
        b'{"text": "lone \\ud800 pair \\ud83d\\ude00 nul \\u0000", "k\\udc00": 1}',
        b'{"text": "nan", "a": NaN, "b": -Infinity, "c": [1, NaN]}',
        b'{"text": "big", "n": 123456789012345678901234567890, "x": NaN}\r',
        b" \t\r",
        b'{"text": "fake \\ufffc sentinel"}',
    ]
    kept, rejected = read("jsonl", write(tmp_path, "a.jsonl", b"\n".join(lines)))
    assert rejected == []
    assert [r["text"] for r in kept] == ["bom", "lone \ufffd pair 😀 nul \0", "nan", "big", "fake   sentinel"]
    assert kept[1]["meta"] == '{"k\ufffd":1}'
    assert kept[2]["meta"] == '{"a":null,"b":null,"c":[1,null]}'
    assert json.loads(kept[3]["meta"]) == {"n": 123456789012345678901234567890, "x": None}


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"])
@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_empty_file_has_no_rows(tmp_path, data, ending):
    assert read("jsonl", write(tmp_path, "a.jsonl" + ending, pack(data, ending))) == ([], [])


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_zero_byte_compressed_file_is_truncated(tmp_path, ending):
    _, rejected = read("jsonl", write(tmp_path, "a.jsonl" + ending, b""))
    assert reasons(rejected) == [("0", "truncated")]
    assert "0 bytes" in rejected[0]["reject.detail"]


ROWS = b"".join(b'{"text": "%d", "pad": "%s"}\n' % (k, os.urandom(40).hex().encode()) for k in range(2000))


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize("missing", [1, 5, 9, 2_000, 50_000])
def test_truncated_stream_keeps_the_rows_before(tmp_path, ending, missing):
    packed = pack(ROWS, ending)[:-missing]
    kept, rejected = read("jsonl", write(tmp_path, "a.jsonl" + ending, packed))
    assert [r["text"] for r in kept] == [str(k) for k in range(len(kept))]
    assert reasons(rejected) == [(str(len(kept)), "truncated")]
    if ending == ".gz":  # a zstd block (128 KiB here) decodes whole or not at all
        assert len(kept) == 2000 if missing < 10 else 0 < len(kept) < 2000


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_rows_before_a_truncation_are_all_kept(tmp_path, ending):
    # two members, the second cut after its header: every row of the first must be there
    packed = pack(ROWS, ending) + pack(ROWS, ending)[:12]
    kept, rejected = read("jsonl", write(tmp_path, "a.jsonl" + ending, packed))
    assert (len(kept), reasons(rejected)) == (2000, [("2000", "truncated")])


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize("where", ["start", "after", "block"])
def test_corrupt_compression(tmp_path, ending, where):
    packed = pack(ROWS, ending)
    # a block of the reserved type 3, which neither format has: RFC 1951 3.2.3, RFC 8878 3.1.1.2.2
    reserved = pack(b"", ".gz")[:10] + b"\x07" if ending == ".gz" else packed[:5] + b"\0" * 3 + b"\x07" * 9
    data = {"start": b"not packed" * 9, "after": packed + b"junk" * 9, "block": packed + reserved}[where]
    kept, rejected = read("jsonl", write(tmp_path, "a.jsonl" + ending, data))
    assert [r["text"] for r in kept] == [str(k) for k in range(len(kept))]
    assert reasons(rejected) == [(str(len(kept)), "corrupt_compression")]
    assert len(kept) == (0 if where == "start" else 2000)


def test_checksum_of_gzip_is_verified(tmp_path):
    packed = bytearray(gzip.compress(ROWS))
    packed[-6] ^= 1
    _, rejected = read("jsonl", write(tmp_path, "a.jsonl.gz", bytes(packed)))
    assert [r["reject.reason"] for r in rejected] == ["corrupt_compression"]


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_many_members_and_padding(tmp_path, ending):
    padding = b"\0" * 700 if ending == ".gz" else b"\x50\x2a\x4d\x18\x04\0\0\0skip"  # a skippable zstd frame
    packed = b"".join(pack(b'{"text": "%d"}\n' % k, ending) + padding for k in range(300))
    kept, rejected = read("jsonl", write(tmp_path, "a.jsonl" + ending, packed))
    assert ([r["text"] for r in kept], rejected) == ([str(k) for k in range(300)], [])


def test_bomb_and_50_mb_line_in_bounded_memory(tmp_path):
    """A 128 MB line (gzip, zstd) and a plain 50 MB one, read by a fresh process under a memory limit."""
    head, tail = b'{"text": "', b'"}\n{"text": "after"}\n'
    gz = [gzip.compress(head), *[gzip.compress(b"0" * 2**20)] * 128, gzip.compress(tail)]
    write(tmp_path, "gz.jsonl.gz", b"".join(gz))
    write(
        tmp_path,
        "zst.jsonl.zst",
        zstandard.compress(head) + zstandard.compress(bytes(2**27)) + zstandard.compress(tail),
    )
    write(tmp_path, "plain.jsonl", head + b"0" * 50_000_000 + tail)
    code = (
        "import sys, pathlib, resource\n"
        "from tests.unit.source_rows import read\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    kept, rejected = read('jsonl', path, max_row_bytes=4 * 2**20)\n"
        "    print(path.name, len(kept), [r['reject.reason'] for r in rejected], rejected[0]['reject.detail'])\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    *lines, grown_mb = done.stdout.splitlines()
    size = 2**27 + 12
    assert lines == [
        f"gz.jsonl.gz 1 ['too_long'] a line of {size} bytes; at most 4194304",
        "plain.jsonl 1 ['too_long'] a line of 50000012 bytes; at most 4194304",
        f"zst.jsonl.zst 1 ['too_long'] a line of {size} bytes; at most 4194304",
    ]
    assert int(grown_mb) < 110


def test_media_columns(tmp_path):
    jpeg, wav = b"\xff\xd8\xff not really", b"RIFF\0\0\0\0WAVE"
    uri = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
    rows = [
        {"text": "cap", "img": uri, "snd": [base64.b64encode(wav).decode()] * 2},
        {"img": {"bytes": base64.b64encode(jpeg).decode(), "path": "x.jpg"}},
        {"text": "t", "img": ["***", uri, {"bytes": None, "path": "../../etc/passwd"}]},
        {"img": "***"},
        {"text": "only"},
    ]
    path = write(tmp_path, "a.jsonl", b"\n".join(json.dumps(r).encode() for r in rows))
    kept, rejected = read("jsonl", path, columns={"image": "img", "audio": "snd"})
    assert [r["text"] for r in kept] == [SENTINEL * 3 + "\ncap", SENTINEL, SENTINEL + "\nt", "only"]
    assert [[(m["index"], m["kind"], m["mime"]) for m in r["media"]] for r in kept] == [
        [(0, "image", "image/jpeg"), (1, "audio", "audio/wav"), (2, "audio", "audio/wav")],
        [(0, "image", "image/jpeg")],
        [(1, "image", "image/jpeg")],
        [],
    ]
    assert kept[0]["media"][0]["data"] == jpeg
    parts = [(r["id"], r["reject.part"], r["reject.reason"]) for r in rejected]
    assert parts == [
        (kept[2]["id"], 0, "bad_media"),
        (kept[2]["id"], 2, "bad_media"),
        (rejected[2]["source"], None, "no_text"),
    ]


record = st.sampled_from(
    [b'{"text":"a"}', b'{"text":"bb","n":[1,2]}', b"", b"  ", b"{", b"[]", b'{"x":1}', b'{"text":"\xff"}', b"x" * 90]
)


@settings(max_examples=40, deadline=None)
@given(lines=st.lists(record, max_size=30), target=st.integers(1, 120), end=st.booleans(), rows=st.integers(1, 9))
def test_any_cut_into_spans_gives_the_same_rows(tmp_path_factory, lines, target, end, rows):
    path = write(tmp_path_factory.mktemp("cut"), "a.jsonl", b"\n".join(lines) + (b"\n" if end else b""))
    whole = read("jsonl", path, max_row_bytes=64)
    assert read("jsonl", path, max_row_bytes=64, target_bytes=target, batch_rows=rows, batch_bytes=rows * 100) == whole
    assert len(whole[0]) + len(whole[1]) == sum(bool(line.strip()) for line in lines)


def test_any_chunking_gives_the_same_rows(tmp_path, monkeypatch):
    data = b"\xef\xbb\xbf" + b"\n".join([*LINES.split(b"\n"), b"x" * 200, b'{"text": "' + b"y" * 70 + b'"}'])
    paths = [write(tmp_path, "a.jsonl" + e, pack(data, e)) for e in ("", ".gz", ".zst")]
    whole = [read("jsonl", path, max_row_bytes=100) for path in paths]
    assert [len(kept) for kept, _ in whole] == [3, 3, 3]
    for size in (1, 2, 3, 7, 64):
        for name in ("READ_BYTES", "GZIP_OUT_BYTES", "ZSTD_IN_BYTES", "ZSTD_OUT_BYTES"):
            monkeypatch.setattr(opening, name, size)
        assert [read("jsonl", path, max_row_bytes=100, target_bytes=50) for path in paths] == whole


def test_spans(tmp_path):
    path = write(tmp_path, "a.jsonl", LINES * 10)
    size = path.stat().st_size
    assert [(s.start, s.stop) for s in spans("jsonl", path, size // 2)] == [(0, size // 2), (size // 2, None)]
    assert num_spans("jsonl", write(tmp_path, "a.jsonl.gz", gzip.compress(LINES * 10)), 10) == 1


def test_batches_respect_rows_and_bytes(tmp_path):
    path = write(tmp_path, "a.jsonl", b'{"text": "' + b"x" * 900 + b'"}\n' + b'{"text": "y"}\n' * 99)
    source = registry.build("jsonl", {"paths": str(path)})
    sizes = [o.kept.num_rows for o in source.read(Span(input_file(path)), 40, 10**9)]
    assert sizes == [40, 40, 20]
    sizes = [o.kept.num_rows for o in source.read(Span(input_file(path)), 1000, 1000)]
    assert sizes[0] == 1 and sum(sizes) == 100 and max(sizes) <= 10


def test_file_that_is_gone_or_changed_stops_the_run(tmp_path):
    path = write(tmp_path, "a.jsonl", LINES)
    source = registry.build("jsonl", {"paths": str(path)})
    span = Span(input_file(path))
    path.write_bytes(LINES * 2)
    with pytest.raises(SluiceError, match=r"a\.jsonl is 158 bytes, but was 79 when the run was planned"):
        list(source.read(span, 10, 1000))
    path.unlink()
    with pytest.raises(SluiceError, match=r"a\.jsonl does not exist any more; restore it"):
        list(source.read(span, 10, 1000))


def test_forbidden_file_stops_the_run(tmp_path, monkeypatch):
    path = write(tmp_path, "a.jsonl", LINES)
    source = registry.build("jsonl", {"paths": str(path)})

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    # as root every file can be read, so the refusal is played
    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.open", refuse)
    with pytest.raises(SluiceError, match=r"a\.jsonl may not be read by this user; grant read permission"):
        list(source.read(Span(input_file(path)), 10, 1000))


def test_wrong_parameters_name_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'columns'"):
        registry.build("jsonl", {"paths": "x", "colums": {}})
    with pytest.raises(RecipeError, match="unknown source 'json'; did you mean 'jsonl'"):
        registry.get("json")
