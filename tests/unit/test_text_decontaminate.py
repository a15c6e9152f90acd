"""text.decontaminate: n-grams against a plain reading of the definition, benchmark files, and the evidence given."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import RecipeError
from schemas.sample import sample_batch
from transforms.base import Outcome
from transforms.registry import build
from transforms.text.decontaminate_index import build_index
from transforms.text.decontaminate_items import Item
from transforms.text.decontaminate_tokens import CHUNKS, WORDS, read, roll, spans

QUESTION = "Janet's ducks lay 16 eggs per day (she sells them at the farmers' market, for $2 each). How much a week?"


def _write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def _run(texts: list[str], **params: Any) -> Outcome:
    transform = build("text.decontaminate", params)
    transform.setup()
    return transform.apply(
        sample_batch([{"id": str(at), "source": f"s#{at}", "text": text} for at, text in enumerate(texts)])
    )


@pytest.fixture
def benchmark(tmp_path: Path) -> dict[str, Any]:
    path = _write(tmp_path / "b.jsonl", [{"id": "other", "q": "x"}, {"id": "ducks", "q": QUESTION}])
    return {"name": "farm", "path": path, "columns": ["q"]}


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(1, 30))
def test_roll_is_the_polynomial_of_each_window(hashes: list[int], ngram: int) -> None:
    base = 0x9E3779B97F4A7C15
    expected = [
        sum(value * base ** (ngram - 1 - at) for at, value in enumerate(hashes[start : start + ngram])) % 2**64
        for start in range(len(hashes) - ngram + 1)
    ]
    assert roll(np.array(hashes, np.uint64), ngram).tolist() == expected


_WORDS = st.sampled_from(
    ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay", "koi", "lynx", "moth", "newt", "owl"]
)


@given(st.lists(_WORDS, min_size=7, max_size=30), st.lists(st.lists(_WORDS, max_size=40), max_size=4))
def test_index_finds_what_the_definition_says(item: list[str], documents: list[list[str]]) -> None:
    """In plain words both readings agree, and the n-grams are those of six different words or more."""
    ngram = 7

    def grams(words: list[str]) -> set[tuple[str, ...]]:
        found = {tuple(words[at : at + ngram]) for at in range(len(words) - ngram + 1)}
        return {gram for gram in found if len(set(gram)) >= 6}

    index = build_index([Item("b", "0", " ".join(item), "")], ngram, ngram)
    table = index.tables.get((ngram, False))
    for document in [*documents, item]:
        hashes = roll(read(" ".join(document))[WORDS], ngram)
        found = 0 if table is None else int((table.find(np.unique(hashes)) >= 0).sum())
        assert found == len(grams(document) & grams(item))


def test_rows_of_a_batch_are_not_read_on_into_each_other(benchmark: dict[str, Any]) -> None:
    half = len(QUESTION) // 2
    outcome = _run([QUESTION[:half], QUESTION[half:], QUESTION], benchmarks=[benchmark])
    assert outcome.rejected.column("id").to_pylist() == ["2"]


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda text: re.sub(r"\s+", "  \n", text),
        lambda text: re.sub(r"[^\w\s]", "", text),
        lambda text: re.sub(r"[^\w\s]", " ", text),
        lambda text: text.replace("'", "’").replace("$", "＄").replace("e", "é"),
        lambda text: " ".join(text.split()[:14]),
    ],
    ids=["case", "space", "punctuation deleted", "punctuation spaced", "accents", "first words"],
)
def test_altered_copies_are_found(benchmark: dict[str, Any], change: Any) -> None:
    outcome = _run(["Some text before. " + change(QUESTION) + " And after."], benchmarks=[benchmark])
    assert outcome.rejected.column("reject.match_id").to_pylist() == ["farm:ducks"]


def test_evidence_says_where(benchmark: dict[str, Any]) -> None:
    text = f"Ünrelated.\n\n{QUESTION}\n\nUnrelated."
    rejected = _run([text], benchmarks=[benchmark]).rejected.to_pylist()[0]
    assert rejected["reject.reason"] == "contaminated"
    words = len(read(QUESTION)[WORDS])
    start, end = text.index("Janet"), text.index("?\n")
    assert rejected["reject.detail"] == f'{words - 12} n-grams at chars {start}-{end}: "{QUESTION[:80]}…"'
    assert rejected["decontamination.num_ngrams"] == words - 12


def test_spans_are_those_of_the_words() -> None:
    text = "def add_two(x): # naïve ﬁx\ufffc10%  ## 東京タワー"
    assert [text[a:b] for a, b in spans(text, WORDS)] == [
        *("def", "add", "two", "x", "naïve", "ﬁx", "10"),
        *("東", "京", "タ", "ワ", "ー"),
    ]
    assert [text[a:b] for a, b in spans(text, CHUNKS)] == ["def", "add_two(x", "naïve", "ﬁx", "10", "東京タワー"]
    assert [len(words) for words in read(text)] == [12, 6]


def test_a_mark_that_stands_alone_counts_once_as_a_word() -> None:
    question = 'Add: """ Given two positive integers a and b return the even digits between them'
    item = Item("b", "0", question, question)
    ngrams = build_index([item], 13, 8).tables[12, False]
    loose = roll(read("two positive integers a and b return the even digits between them")[CHUNKS], 12)
    assert (ngrams.find(loose) >= 0).tolist() == [False]  # no mark beside it
    beside = roll(read("given two positive integers a and b return the even digits between")[CHUNKS], 12)
    assert (ngrams.find(beside) >= 0).tolist() == [True]


def test_min_ngrams_is_of_all_ngrams_but_whole_short_items(tmp_path: Path) -> None:
    numbers = "one two three four five six seven eight nine ten eleven"
    path = _write(tmp_path / "b.jsonl", [{"id": 7, "q": f"Add: -- {numbers}"}])
    params = {"benchmarks": [{"name": "b", "path": path, "columns": ["q"]}]}
    assert _run([f"{numbers} add"], **params).kept.num_rows == 1
    whole = _run([f"So: add {numbers}."], min_ngrams=99, **params)
    assert whole.rejected.column("reject.match_id").to_pylist() == ["b:7"]


def test_files_of_every_kind_give_one_index(tmp_path: Path) -> None:
    rows = [{"q": QUESTION, "c": ["one", "two"]}]
    plain = _write(tmp_path / "b.jsonl", rows)
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(Path(plain).read_bytes()))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet")
    (tmp_path / "b.txt").write_text(f"# a comment\n\n{QUESTION}\n", encoding="utf-8")
    details = set()
    for name, columns in [
        ("b.jsonl", ["q", "c"]),
        ("b.jsonl.gz", ["q", "c"]),
        ("b.parquet", ["q", "c"]),
        ("b.txt", []),
    ]:
        benchmark = {"name": "farm", "path": str(tmp_path / name), "columns": columns}
        rejected = _run([QUESTION], benchmarks=[benchmark]).rejected
        assert rejected.column("reject.match_id").to_pylist() == ["farm:0"]
        details.add(rejected.column("reject.detail")[0].as_py())
    assert len(details) == 1


def test_item_with_most_ngrams_is_named(tmp_path: Path) -> None:
    stem = "For which of these two scenarios does the main character do something clearly wrong today? "
    rows = [
        {"id": f"m{at}", "q": stem + f"The {animal} ate all of the {animal} food."}
        for at, animal in enumerate(["dog", "cat", "hen"])
    ]
    benchmark = {"name": "moral", "path": _write(tmp_path / "m.jsonl", rows), "columns": ["q"]}
    outcome = _run([rows[2]["q"], stem], benchmarks=[benchmark])
    assert outcome.rejected.column("reject.match_id").to_pylist() == ["moral:m2", "moral:m0"]


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("absent.jsonl", None, ["q"], "cannot open"),
        ("b.jsonl", b'{"question": "x"}', ["questoin"], "did you mean 'question'"),
        ("b.jsonl", b'{"q": 1}\n{"q": ', ["q"], "line 2"),
        ("b.jsonl", b"[1]", ["q"], "not an object"),
        ("b.jsonl", b'{"q": "too short"}', ["q"], "no item long enough"),
        ("b.jsonl", b'{"q": "x"}', [], "say which columns"),
        ("b.jsonl.gz", gzip.compress(b'{"q": "x"}', mtime=0)[:-12], ["q"], "cannot be read"),
        ("b.parquet", b"PAR1 or not", ["q"], "cannot be read as Parquet"),
        ("b.csv", b"q\nx", ["q"], "is none of"),
        ("b.txt", b"x", ["q"], "has no columns"),
    ],
)
def test_unusable_files_are_errors(
    tmp_path: Path, name: str, content: bytes | None, columns: list[str], message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RecipeError, match=re.escape(message)):
        _run(["x"], benchmarks=[{"name": "b", "path": str(tmp_path / name), "columns": columns}])


def test_names_must_differ(benchmark: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="one name"):
        build("text.decontaminate", {"benchmarks": [benchmark, benchmark]})


def test_a_long_chunk_is_read_once(benchmark: dict[str, Any]) -> None:
    """A megabyte without a space, and one of marks alone, cost no more than their length."""
    outcome = _run(["a" * 1_000_000, "a.1" * 300_000, "-" * 1_000_000, "\ufffd " * 300_000], benchmarks=[benchmark])
    assert outcome.kept.column("decontamination.num_ngrams").to_pylist() == [0, 0, 0, 0]
