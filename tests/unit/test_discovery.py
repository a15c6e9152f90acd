import os
import subprocess
import sys

import fsspec
import pytest

from pipeline.discovery import find_files
from pipeline.sources import registry
from schemas.errors import SluiceError
from tests.unit.source_rows import read


def find(paths, use="jsonl", **params):
    return find_files(registry.build(use, {"paths": paths, **params}), "inputs[0] (jsonl)")


def labels(paths, **params):
    return [file.label for file in find(paths, **params)]


@pytest.fixture
def tree(tmp_path):
    names = ["b.jsonl", "a/x.jsonl.gz", "a/b/y.ndjson", "a/b/z.txt", "a/UP.JSON"]
    hidden = [".h.jsonl", "_SUCCESS", "a/_temporary/t.jsonl", "a/w.jsonl.tmp", ".git/g.jsonl", "_metadata.json"]
    for name in names + hidden:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text("{}")
    return tmp_path / "in"


def test_folder_means_every_matching_file_below(tree):
    files = find(str(tree))
    assert [f.label for f in files] == ["jsonl/a/UP.JSON", "jsonl/a/b/y.ndjson", "jsonl/a/x.jsonl.gz", "jsonl/b.jsonl"]
    assert [(f.path, f.size) for f in files][1] == (str(tree / "a/b/y.ndjson"), 2)
    assert labels(str(tree) + "/") == [f.label for f in files]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jsonl", ["b.jsonl"]),
        ("**/*.jsonl", ["b.jsonl"]),
        ("**", ["a/UP.JSON", "a/b/y.ndjson", "a/b/z.txt", "a/x.jsonl.gz", "b.jsonl"]),
        ("*/*", ["a/UP.JSON", "a/x.jsonl.gz"]),
        ("a/**/*.ndjson", ["b/y.ndjson"]),
        ("a/[xU]*", ["UP.JSON", "x.jsonl.gz"]),
        ("a/?.jsonl.gz", ["x.jsonl.gz"]),
        ("_SUCCES?", ["_SUCCESS"]),
        ("b.jsonl", ["b.jsonl"]),
        ("a/b/z.txt", ["z.txt"]),
    ],
)
def test_globs_and_their_labels(tree, pattern, expected):
    assert labels(f"{tree}/{pattern}", name="web/en") == [f"web/en/{label}" for label in expected]


def test_each_file_once_whatever_the_order(tree):
    paths = [str(tree / "b.jsonl"), str(tree), f"{tree}/*.jsonl", f"{tree}/a/../b.jsonl", f"file://{tree}/b.jsonl"]
    assert find(paths) == find(paths[::-1]) == find(str(tree))


def test_relative_and_home_paths_become_absolute(tree, monkeypatch):
    monkeypatch.chdir(tree / "a")
    monkeypatch.setenv("HOME", str(tree))
    for path in ("../*.jsonl", "~/*.jsonl", "../b.jsonl"):
        assert [(f.path, f.label) for f in find(path)] == [(str(tree / "b.jsonl"), "jsonl/b.jsonl")]


def test_a_name_with_wildcard_characters_is_a_name_first(tree):
    (tree / "c[1].jsonl").write_text("{}")
    (tree / "c1.jsonl").write_text("{}")
    assert labels(str(tree / "c[1].jsonl")) == ["jsonl/c[1].jsonl"]


def test_links_to_folders_are_followed_but_not_in_circles(tree, tmp_path):
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "e.jsonl").write_text("{}")
    (tree / "linked").symlink_to(tmp_path / "else")
    (tree / "a" / "loop").symlink_to(tree)
    assert labels(f"{tree}/**/*.jsonl") == ["jsonl/b.jsonl", "jsonl/linked/e.jsonl"]
    assert labels(f"{tree}/*/e.jsonl") == ["jsonl/linked/e.jsonl"]
    assert "jsonl/linked/e.jsonl" in labels(str(tree))


def test_other_file_systems():
    memory = fsspec.filesystem("memory")
    memory.pipe({"/bucket/in/b.jsonl": b'{"text": "b"}', "/bucket/in/d/a.jsonl": b"{}", "/bucket/in/.x.jsonl": b""})
    try:
        expected = [
            ("memory:///bucket/in/b.jsonl", "jsonl/b.jsonl"),
            ("memory:///bucket/in/d/a.jsonl", "jsonl/d/a.jsonl"),
        ]
        assert [(f.path, f.label) for f in find("memory://bucket/in")] == expected
        assert [(f.path, f.label) for f in find("memory://bucket/in/**/*.jsonl")] == expected
        assert [(f.path, f.label) for f in find("memory://bucket/in/*.jsonl")] == expected[:1]
        file = find("memory://bucket/in/b.jsonl")[0]
        source = registry.build("jsonl", {"paths": file.path})
        outcomes = [o for span in source.plan(file, 5) for o in source.read(span, 10, 100)]
        assert [o.kept.column("source").to_pylist() for o in outcomes] == [["jsonl/b.jsonl#0"]]
        with pytest.raises(SluiceError, match=r"nothing matches 'memory://bucket/inn'.*did you mean 'in'"):
            find("memory://bucket/inn")
    finally:
        memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{tree}/a/b/*.csv", r"nothing matches .*; the folder .*/a/b exists and holds 2 entries \(1 .ndjson, 1 .txt\)"),
        ("{tree}/c.jsonl", r"nothing matches .*; .*/in exists; did you mean 'b.jsonl'"),
        ("{tree}/aa/x.jsonl", r"nothing matches .*; .*/in exists; did you mean 'a'"),
        ("{tree}/empty", r"looked for files ending \.jsonl, .*; the folder .*/empty exists, but is empty"),
        ("{tree}/texts", r"looked for files ending .*holds 3 entries \(2 .txt, 1 without an ending\)"),
        ("/no-such-root-folder/x", "nothing matches"),
        ("bogus://x", "'bogus://x' cannot be opened: Protocol not known: bogus"),
        ("zip://a::memory://x", "a chain of file systems"),
        ("{tree}/a**b", "is not a pattern"),
    ],
)
def test_nothing_found_says_what_is_there(tree, path, message):
    (tree / "empty").mkdir()
    (tree / "texts").mkdir()
    for name in ("1.txt", "2.txt", "README"):
        (tree / "texts" / name).write_text("")
    with pytest.raises(SluiceError, match=message) as error:
        find(path.format(tree=tree))
    assert str(error.value).startswith("inputs[0] (jsonl): ")


def test_empty_list():
    with pytest.raises(SluiceError, match="paths is an empty list"):
        find([])


def test_two_files_of_one_label(tree):
    (tree / "a" / "b.jsonl").write_text("{}")
    with pytest.raises(SluiceError, match=r"would both be called 'jsonl/b\.jsonl' in the ledger; make them two inputs"):
        find([f"{tree}/b.jsonl", f"{tree}/a/b.jsonl"])


@pytest.mark.parametrize("name", ["", "/abs", "../up", "a/../b", "a//b", "nl\n"])
def test_a_dataset_name_must_be_a_relative_path(tree, name):
    with pytest.raises(SluiceError, match="name"):
        find(str(tree), name=name)


def test_what_cannot_be_read_is_an_error_at_planning(tree):
    (tree / "dead.jsonl").symlink_to(tree / "nowhere")
    for path in (tree, f"{tree}/*.jsonl", tree / "dead.jsonl"):
        with pytest.raises(SluiceError, match=r"dead\.jsonl is a link to nothing; restore it or take it out"):
            find(str(path))
    (tree / "dead.jsonl").unlink()
    os.mkfifo(tree / "pipe.jsonl")
    with pytest.raises(SluiceError, match=r"pipe\.jsonl is not a regular file"):
        find(str(tree))


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up root's rights to be refused; others are refused as they are")
def test_a_file_without_read_permission_as_root(tree):
    for folder in (tree.parent, tree, tree / "a"):
        folder.chmod(0o755)
    (tree / "b.jsonl").chmod(0)
    code = (
        "import os, sys\n"
        "from pipeline.discovery import find_files\n"
        "from pipeline.sources import registry\n"
        "source = registry.build('jsonl', {'paths': sys.argv[1]})\n"
        "os.setuid(65534)\n"
        "find_files(source, 'inputs[0]')\n"
    )
    # pytest's folders above are 0700, so the child works from inside
    command = [sys.executable, "-c", code, "b.jsonl"]
    done = subprocess.run(
        command, cwd=tree, env=os.environ | {"PYTHONPATH": os.getcwd()}, capture_output=True, text=True
    )
    assert "b.jsonl may not be read by this user; grant read permission (chmod +r)" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission(tree):
    (tree / "b.jsonl").chmod(0)
    with pytest.raises(SluiceError, match=r"b\.jsonl may not be read by this user; grant read permission"):
        find(str(tree))


def test_a_file_name_that_is_not_utf8_still_gets_a_label(tree):
    name = os.fsencode(tree) + b"/caf\xe9.jsonl"
    with open(name, "wb") as file:
        file.write(b'{"text": "x"}')
    assert labels(f"{tree}/caf*") == ["jsonl/caf\\xe9.jsonl"]


def test_every_source_is_found_by_name_and_reads_its_own_suffixes(tmp_path):
    catalog = registry.catalog()
    assert list(catalog) == ["arrow", "html", "jsonl", "parquet", "text", "warc", "webdataset", "wet"]
    for use, source in catalog.items():
        assert (source.name, source.version) == (use, 1)
        folder = tmp_path / use
        folder.mkdir()
        for suffix in source.suffixes:
            (folder / f"x{suffix}").write_bytes(b"")
            read(use, folder / f"x{suffix}")
        assert len(find(str(folder), use=use)) == len(source.suffixes)
