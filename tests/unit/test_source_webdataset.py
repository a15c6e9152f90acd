import gzip
import io
import json
import tarfile

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources import opening, registry
from pipeline.sources.base import InputFile
from pipeline.sources.tar import MAX_HEADER_BYTES
from schemas.errors import RecipeError
from schemas.sample import SENTINEL
from tests.unit.source_rows import num_spans, read, reasons, write

JPEG, PNG, WAV = b"\xff\xd8\xff jpeg", b"\x89PNG\r\n\x1a\n png", b"RIFF\0\0\0\0WAVE wav"
END = b"\0" * 1024


def member(name, data=b"", kind=tarfile.REGTYPE, form=tarfile.GNU_FORMAT, **fields):
    """One member's bytes, padding included, without an end mark."""
    info = tarfile.TarInfo(name)
    info.size, info.type = len(data), kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(form, "utf-8", "surrogateescape") + data + b"\0" * (-len(data) % 512)


def tar(*members, end=END):
    return b"".join(member(*m) if isinstance(m, tuple) else m for m in members) + end


def rows(tmp_path, data, name="a.tar", **params):
    return read("webdataset", write(tmp_path, name, data), **params)


PAIRS = [
    ("000.jpg", JPEG),
    ("000.txt", b"a cat\n"),
    ("000.json", b'{"url": "http://x", "licence": "cc0"}'),
    ("d/001.wav", WAV),
    ("d/001.caption", "\ufeffhello".encode()),
]


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.tar.zst"])
def test_samples(tmp_path, name):
    pack = {"gz": gzip.compress, "tgz": gzip.compress, "zst": zstandard.compress}.get(name.rpartition(".")[2], bytes)
    kept, rejected = rows(tmp_path, pack(tar(*PAIRS)), name)
    assert rejected == []
    assert [(r["id"], r["source"], r["url"], r["text"], r["meta"]) for r in kept] == [
        ("000", f"set/{name}#000", "http://x", SENTINEL + "\na cat\n", '{"licence":"cc0"}'),
        ("d/001", f"set/{name}#d/001", None, SENTINEL + "\nhello", "{}"),
    ]
    assert [[(m["index"], m["kind"], m["mime"], m["data"]) for m in r["media"]] for r in kept] == [
        [(0, "image", "image/jpeg", JPEG)],
        [(0, "audio", "audio/wav", WAV)],
    ]


def test_what_a_sample_may_hold(tmp_path):
    data = tar(
        ("two.left.jpg", JPEG),
        ("two.right.PNG", PNG),
        ("two.caption", b"second choice"),
        ("two.txt", b"first " + SENTINEL.encode()),
        ("two.cls", b"7"),
        ("words.txt", b"no media"),
        ("liar.jpg", b"<html>"),
        ("sniffed.img", PNG),
        ("sniffed.npy", JPEG),
        ("json.json", b'{"cap": {"en": "from json"}, "k": 1}'),
        (".hidden.jpg", JPEG),
        ("._000.jpg", JPEG),
    )
    kept, rejected = rows(tmp_path, data, caption_key="cap.en")
    assert rejected == []
    assert [(r["id"], r["text"], [(m["kind"], m["mime"]) for m in r["media"]], r["meta"]) for r in kept] == [
        (
            "two",
            SENTINEL * 2 + "\nfirst  ",
            [("image", "image/jpeg"), ("image", "image/png")],
            '{"__unread__":["cls"]}',
        ),
        ("words", "no media", [], "{}"),
        ("liar", SENTINEL, [("image", "application/octet-stream")], "{}"),
        ("sniffed", SENTINEL, [("image", "image/png")], '{"__unread__":["npy"]}'),
        ("json", "from json", [], '{"cap":{},"k":1}'),
    ]


@pytest.mark.parametrize(
    ("members", "reason", "params"),
    [
        ([("a.json", b'{"k": 1}')], "no_content", {}),
        ([("a", b"x")], "no_content", {}),
        ([("a.jpg", JPEG)], "no_text", {"require": ["text"]}),
        ([("a.txt", b"x")], "no_image", {"require": ["text", "image"]}),
        ([("a.txt", b"x"), ("a.jpg", JPEG)], "no_audio", {"require": ["audio"]}),
        ([("a.jpg", JPEG), ("a.txt", b"caf\xe9")], "invalid_utf8", {}),
        ([("a.jpg", JPEG), ("a.json", b"{")], "bad_json", {}),
        ([("a.jpg", JPEG), ("a.json", b"[]")], "not_an_object", {}),
        ([("a.jpg", JPEG), ("a.json", b'"\xff"')], "invalid_utf8", {}),
        ([("a.jpg", b"x" * 101), ("a.txt", b"x")], "too_long", {"max_member_bytes": 100}),
        ([("a.1.jpg", b"x" * 60), ("a.2.jpg", b"x" * 60)], "too_long", {"max_sample_bytes": 100}),
        ([("a.txt", b"x" * 101)], "too_long", {"max_row_bytes": 100}),
        ([(f"a.{k}.jpg", b"") for k in range(10_001)], "too_long", {}),
    ],
)
def test_sample_that_is_rejected(tmp_path, members, reason, params):
    good = [("z.jpg", JPEG), ("z.txt", b"x"), ("z.wav", WAV)]
    kept, rejected = rows(tmp_path, tar(*members, *good), **params)
    assert [r["id"] for r in kept] == ["z"]
    assert [(r["id"], r["source"], r["reject.reason"]) for r in rejected] == [("a", "set/a.tar#a", reason)]


def test_require_is_checked_by_name():
    with pytest.raises(RecipeError, match="require"):
        registry.build("webdataset", {"paths": "x", "require": ["video"]})


def test_repeated_key(tmp_path):
    data = tar(("a.jpg", JPEG), ("a.txt", b"1"), ("a.jpg", PNG), ("b.txt", b"2"), ("a.txt", b"3"))
    kept, rejected = rows(tmp_path, data)
    assert [r["id"] for r in kept] == ["a", "b"]
    assert reasons(rejected) == [("a@2048", "duplicate_key"), ("a@4096", "duplicate_key")]


@pytest.mark.parametrize(
    "name", ["../x.jpg", "/etc/x.jpg", "a/../../x.jpg", "a\nb.jpg", "caf\udce9.jpg", "n" * 1100 + ".jpg", "./"]
)
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_bad_member_name(tmp_path, name, form):
    bad = member(name, JPEG, form=form)
    kept, rejected = rows(tmp_path, tar(("a.txt", b"1"), bad, ("a.jpg", JPEG)))
    assert [(r["id"], len(r["media"])) for r in kept] == [("a", 1)]
    assert reasons(rejected)[0][1] == "bad_member_name"
    assert reasons(rejected)[0][0].startswith("@1")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.tar"]


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"6", b"S", b"M", b"Z"])
def test_unsupported_member(tmp_path, kind):
    bad = member("a.jpg", b"" if kind in b"12346" else JPEG, kind, linkname="../../etc/passwd")
    kept, rejected = rows(tmp_path, tar(bad, ("a.txt", b"1")))
    assert [r["text"] for r in kept] == ["1"]
    assert reasons(rejected) == [("@0", "unsupported_member")]


def test_pax_sparse_is_unsupported(tmp_path):
    sparse = member("a.jpg", JPEG, form=tarfile.PAX_FORMAT, pax_headers={"GNU.sparse.major": "1"})
    assert reasons(rows(tmp_path, tar(sparse))[1]) == [("@0", "unsupported_member")]


def test_names_in_every_header_form(tmp_path):
    long = "folder/" * 20 + "x"
    deep = "d" * 90 + "/" + "e" * 90
    data = tar(
        member(long + ".txt", b"gnu"),
        member(long + "2.txt", b"pax", form=tarfile.PAX_FORMAT),
        member(deep + ".txt", b"ustar", form=tarfile.USTAR_FORMAT),
        member("./ü.txt", b"dot", form=tarfile.PAX_FORMAT),
        member("folder", kind=tarfile.DIRTYPE),
        member("big.txt", b"base256"[:7], form=tarfile.GNU_FORMAT, mtime=2**40),
        tarfile.TarInfo.create_pax_global_header({"comment": "x", "path": "evil"}),
        member("last.txt", b"after a global header"),
    )
    kept, rejected = rows(tmp_path, data)
    assert rejected == []
    assert [(r["id"], r["text"]) for r in kept] == [
        (long, "gnu"),
        (long + "2", "pax"),
        (deep, "ustar"),
        ("ü", "dot"),
        ("big", "base256"),
        ("last", "after a global header"),
    ]


def test_agrees_with_tarfile(tmp_path):
    path = tmp_path / "a.tar"
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(path, "w", format=form) as archive:
            for k in range(30):
                info = tarfile.TarInfo(f"{'x' * k * 5}y/{k}.txt")
                info.size = k * 100 + 1
                archive.addfile(info, io.BytesIO(b"y" * info.size))
        kept, rejected = read("webdataset", path)
        assert [len(r["text"]) for r in kept] == [k * 100 + 1 for k in range(30)]
        assert rejected == [] and kept[3]["id"] == "x" * 15 + "y/3"


@pytest.mark.parametrize("data", [END, END * 10, b"\0" * 512])
def test_empty_archive(tmp_path, data):
    assert rows(tmp_path, data) == ([], [])


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (b"", "a.tar", "truncated"),
        (b"", "a.tar.gz", "truncated"),
        (b"short", "a.tar", "truncated"),
        (b"this is no tar archive " * 99, "a.tar", "corrupt"),
        (gzip.compress(b"this is no tar archive " * 99, mtime=0), "a.tar.gz", "corrupt"),
        (b"nor is this gzip", "a.tar.gz", "corrupt_compression"),
    ],
)
def test_file_that_is_no_archive(tmp_path, data, name, reason):
    assert reasons(rows(tmp_path, data, name)[1]) == [("@0", reason)]


WHOLE = tar(("a.txt", b"1"), ("b.jpg", b"x" * 600), ("b.txt", b"2"))


@pytest.mark.parametrize(
    ("keep", "ids", "rejected"),
    [
        (1200, ["a"], [("@1024", "truncated")]),  # in b.jpg's header
        (1700, ["a"], [("b", "truncated")]),  # in its data
        (2200, ["a"], [("b", "truncated")]),  # in its padding
        (2570, ["a", "b"], [("@2560", "truncated")]),  # in b.txt's header: what was read of b stands
        (3600, ["a", "b"], [("@3584", "truncated")]),  # in the end mark
        (len(WHOLE) - 1024, ["a", "b"], [("@3584", "truncated")]),  # before the end mark
        (len(WHOLE) - 512, ["a", "b"], []),  # half an end mark is one, as for GNU tar
    ],
)
def test_truncated(tmp_path, keep, ids, rejected):
    kept, bad = rows(tmp_path, WHOLE[:keep])
    assert ([r["id"] for r in kept], reasons(bad)) == (ids, rejected)


def test_truncated_compression(tmp_path):
    packed = gzip.compress(tar(("a.txt", b"1"), ("b.txt", bytes(range(256)) * 9)))
    kept, rejected = rows(tmp_path, packed[:-40], "a.tar.gz")
    assert [r["id"] for r in kept] == ["a"]
    assert reasons(rejected) == [("b", "truncated")]


def test_damage_after_good_samples(tmp_path):
    junk = b"\xff" * 512
    negative = bytearray(member("c.txt", b"3"))
    negative[124:136] = b"\xff" * 12
    negative[148:156] = b"%06o\0 " % (sum(negative[:512]) - sum(negative[148:156]) + 256)
    huge = bytearray(member("x", b"y", tarfile.GNUTYPE_LONGNAME))
    huge[124:136] = b"%011o\0" % (MAX_HEADER_BYTES + 1)
    huge[148:156] = b"%06o\0 " % (sum(huge[:512]) - sum(huge[148:156]) + 256)
    pax = member("x", b"99 path=short\n", tarfile.XHDTYPE)
    for bad in (junk, bytes(negative), bytes(huge), pax):
        kept, rejected = rows(tmp_path, tar(("a.txt", b"1"), bad, ("b.txt", b"2")))
        assert ([r["id"] for r in kept], reasons(rejected)) == (["a"], [("@1024", "corrupt")])


def test_concatenated_archives_are_read_to_the_end(tmp_path):
    kept, rejected = rows(tmp_path, tar(("a.txt", b"1")) + tar(("b.txt", b"2")))
    assert ([r["id"] for r in kept], rejected) == (["a", "b"], [])


def test_size_that_lies_is_truncated_not_allocated(tmp_path):
    liar = bytearray(member("a.bin"))
    liar[124:136] = b"\x80" + (2**60).to_bytes(11, "big")
    liar[148:156] = b"%06o\0 " % (sum(liar[:512]) - sum(liar[148:156]) + 256)
    kept, rejected = rows(tmp_path, tar(bytes(liar)))
    assert (kept, reasons(rejected)) == ([], [("a", "truncated")])


MEMBERS = [
    ("a.txt", b"1"),
    ("a.jpg", JPEG),
    ("b.json", b"{"),
    ("b.wav", WAV * 50),
    ("c.txt", b"3"),
    ("../x.jpg", JPEG),
    ("d/e.npy", b"n" * 700),
    member("l.jpg", kind=tarfile.SYMTYPE, linkname="a"),
    member("y" * 120 + ".txt", b"long", form=tarfile.PAX_FORMAT),
    member("folder/", kind=tarfile.DIRTYPE),
]


@settings(max_examples=50, deadline=None)
@given(
    chosen=st.lists(st.sampled_from(MEMBERS), max_size=14),
    target=st.integers(1, 6000),
    cut=st.integers(0, 3000),
    batch_rows=st.integers(1, 4),
)
def test_any_cut_into_spans_gives_the_same_rows(tmp_path_factory, chosen, target, cut, batch_rows):
    data = tar(*chosen)
    path = write(tmp_path_factory.mktemp("cut"), "a.tar", data[: max(0, len(data) - cut)])
    whole = read("webdataset", path)
    assert read("webdataset", path, target_bytes=target, batch_rows=batch_rows, batch_bytes=999) == whole


def test_any_chunking_gives_the_same_rows(tmp_path, monkeypatch):
    path = write(tmp_path, "a.tar.gz", gzip.compress(tar(*MEMBERS)))
    whole = read("webdataset", path)
    assert len(whole[0]) == 3 and len(whole[1]) == 4
    for size in (1, 7, 500, 513):
        monkeypatch.setattr(opening, "READ_BYTES", size)
        monkeypatch.setattr(opening, "GZIP_OUT_BYTES", size)
        assert read("webdataset", path) == whole


def test_spans_are_cut_between_samples(tmp_path):
    data = tar(*[(f"{k}.{e}", b"x" * 500) for k in range(9) for e in ("jpg", "txt")])
    path = write(tmp_path, "a.tar", data)
    source = registry.build("webdataset", {"paths": str(path)})
    spans = source.plan(InputFile(str(path), "x", len(data)), 4096)
    assert [(s.start, s.stop) for s in spans] == [(0, 4096), (4096, 8192), (8192, 12288), (12288, 16384), (16384, None)]
    assert num_spans("webdataset", path, len(data)) == 1


def test_meta_is_json(tmp_path):
    kept, _ = rows(tmp_path, tar(("a.txt", b"1"), ("a.json", '{"k": "ü", "n": NaN}'.encode())))
    assert json.loads(kept[0]["meta"]) == {"k": "ü", "n": None}
