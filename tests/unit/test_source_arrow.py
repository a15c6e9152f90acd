import pyarrow as pa
import pytest

from schemas.errors import SluiceError
from schemas.sample import SENTINEL
from tests.unit.source_rows import num_spans, read, reasons, write


def ipc(folder, batches, stream=False, name="a.arrow"):
    path = folder / name
    batches = [pa.record_batch(b) for b in batches]
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(str(path), batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return path


TWO = [{"text": ["a", "b", None], "n": [1, 2, 3]}, {"text": ["c " + SENTINEL], "n": [4]}]


@pytest.mark.parametrize("stream", [False, True])
def test_files_and_streams_give_the_same_rows(tmp_path, stream):
    path = ipc(tmp_path, TWO, stream)
    whole = read("arrow", path)
    kept, rejected = whole
    assert [(r["source"], r["text"], r["meta"]) for r in kept] == [
        ("set/a.arrow#0.0", "a", '{"n":1}'),
        ("set/a.arrow#0.1", "b", '{"n":2}'),
        ("set/a.arrow#1.0", "c  ", '{"n":4}'),
    ]
    assert reasons(rejected) == [("0.2", "no_text")]
    assert num_spans("arrow", path, 1) == (1 if stream else 2)
    for target in (1, 300, 10**6):
        assert read("arrow", path, target_bytes=target, batch_rows=1) == whole


@pytest.mark.parametrize("data", [b"", b"ARROW1\0\0", b"neither file nor stream " * 9])
def test_file_that_is_not_arrow(tmp_path, data):
    kept, rejected = read("arrow", write(tmp_path, "a.arrow", data))
    assert (kept, reasons(rejected)) == ([], [("0.0", "corrupt")])


@pytest.mark.parametrize("stream", [False, True])
def test_truncated(tmp_path, stream):
    path = ipc(tmp_path, TWO, stream)
    data = path.read_bytes()
    kept, rejected = read("arrow", write(tmp_path, "b.arrow", data[: -40 if stream else -10]))
    # a file's footer is gone with its end; a stream's first batch can still be read
    assert len(kept) == (2 if stream else 0)
    assert reasons(rejected)[-1] == ("1.0" if stream else "0.0", "corrupt")


def test_offsets_outside_the_data_never_reach_memory(tmp_path):
    texts = pa.array(["aaaa", "bbbb", "cccc"])
    path = ipc(tmp_path, [{"text": texts}, {"text": texts}])
    data = bytearray(path.read_bytes())
    offsets = texts.buffers()[1].to_pybytes()[:16]
    at = data.index(offsets)
    data[at + 8 : at + 12] = (2**30).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    kept, rejected = read("arrow", path)
    assert ([r["source"] for r in kept], reasons(rejected)) == (
        [f"set/a.arrow#1.{k}" for k in range(3)],
        [("0.0", "corrupt")],
    )


def test_string_that_is_not_utf8_costs_its_row_only(tmp_path):
    tags = pa.array([[b"ok"], [b"\xff"], [b"ok"]]).view(pa.list_(pa.string()))
    kept, rejected = read("arrow", ipc(tmp_path, [{"text": ["a", "b", "c"], "tags": tags}]))
    assert [r["text"] for r in kept] == ["a", "c"]
    assert (reasons(rejected), rejected[0]["reject.detail"]) == ([("0.1", "invalid_utf8")], "column 'tags'")


def test_too_long_and_bad_media(tmp_path):
    image = pa.array([{"bytes": b"x", "path": "p"}, {"bytes": None, "path": "p"}])
    kept, rejected = read("arrow", ipc(tmp_path, [{"text": ["x" * 30, "y"], "image": image}]), max_row_bytes=20)
    assert [(r["text"], r["media"]) for r in kept] == [("y", [])]
    assert reasons(rejected) == [("0.0", "too_long"), ("0.1", "bad_media")]


def test_missing_text_column_is_an_error(tmp_path):
    with pytest.raises(SluiceError, match="has no column 'text'; did you mean 'texts'"):
        read("arrow", ipc(tmp_path, [{"texts": ["x"]}]))
