"""Lines and paragraphs by kernel against the readable reference, and cuts against Python's slices."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.sample import SENTINEL
from transforms.kernels.segments import count_rows, first_of_equal
from transforms.text.segments import (
    Unit,
    count_words,
    is_repeat,
    normal_form,
    reference_segments,
    segments,
    without,
)

PIECES = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["\n", "\n\n", " \n", "\r\n", "\t", "\u2028", "\u3000", SENTINEL, "STRASSE", "Straße", "ǅ", "İ"]),
    st.sampled_from(["12", "٣", "Ⅷ", "²", "a\u0301", "กำลัง", "日本語", "ーー", "한국어", "x" * 70, "🫠", "\ufffd"]),
)
TEXTS = st.lists(PIECES, max_size=14).map("".join)


def column(*texts: str) -> pa.Array:
    return pa.array(texts, pa.large_string())


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS, max_size=4), st.sampled_from(["line", "paragraph"]), st.booleans())
@example(["a\n\nb\n", "", "\n", "a\nb\n \nc"], "paragraph", False)
@example(["0", "\U00018d80"], "line", True)  # a letter that Python does not know yet
def test_segments_are_the_references(texts: list[str], unit: Unit, one_number: bool) -> None:
    found = segments(column(*texts), unit, one_number=one_number)
    expected = [(row, segment) for row, text in enumerate(texts) for segment in reference_segments(text, unit)]
    assert found.row.tolist() == [row for row, _ in expected]
    assert found.spans.tolist() == [[start, stop] for _, (start, stop, _) in expected]
    held = [segment for _, (_, _, segment) in expected]
    assert found.chars.tolist() == list(map(len, held))
    assert found.words.tolist() == list(map(count_words, held))
    assert found.uppers.tolist() == [sum(map(str.isupper, segment)) for segment in held]
    assert found.digits.tolist() == [sum(map(str.isdigit, segment)) for segment in held]
    assert found.media.tolist() == [SENTINEL in segment for segment in held]
    lines = [texts[row].encode()[start:stop].decode().split("\n") for row, (start, stop, _) in expected]
    assert found.length.tolist() == [sum(map(len, some)) for some in lines]
    forms = [normal_form(segment, one_number=one_number) for segment in held]
    keys = list(map(tuple, found.keys.tolist()))
    assert [keys.index(key) for key in keys] == [forms.index(form) for form in forms]
    seen = [(row, form) for (row, _), form in zip(expected, forms, strict=True)]
    assert is_repeat(found).tolist() == [pair in seen[:at] for at, pair in enumerate(seen)]


def test_keys_do_not_depend_on_where_a_segment_stands() -> None:
    alone = segments(column("The river rose."), "line").keys[0].tolist()
    amid = segments(column("x", "first\n\n  the RIVER\trose. \nlast").slice(1), "line").keys.tolist()
    assert amid.index(alone) == 1


def sliced(text: str, spans: list[tuple[int, int]]) -> str:
    """What `without` does, by slices."""
    data, left, at = text.encode(), b"", 0
    for start, stop in spans:
        left += data[at : max(at, start)]
        at = max(at, stop)
        while data[at : at + 1] == b"\n" and (not left or left == b"\n" or left.endswith(b"\n\n")):
            at += 1
        if at == len(data):
            left = left.rstrip(b"\n")
    return (left + data[at:]).decode()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(TEXTS, st.lists(st.booleans(), max_size=12)), max_size=4), st.sampled_from(["line", "paragraph"])
)
def test_cuts_are_slices(rows: list[tuple[str, list[bool]]], unit: Unit) -> None:
    texts = [text for text, _ in rows]
    found = segments(column(*texts), unit)
    marks = [
        mark for text, marks in rows for mark in [*marks, *[False] * len(text)][: len(reference_segments(text, unit))]
    ]
    gone = np.asarray(marks, bool)
    left = without(column("other", *texts).slice(1), found.row[gone], found.spans[gone])
    left.validate(full=True)
    expected = []
    for row, text in enumerate(texts):
        expected.append(sliced(text, [tuple(span) for span in found.spans[gone & (found.row == row)].tolist()]))
    assert left.to_pylist() == expected


@pytest.mark.parametrize(
    ("text", "gone", "left"),
    [
        ("a\n\nb\n\nc", "b", "a\n\nc"),
        ("a\nb\n\nc", "b", "a\n\nc"),
        ("a\n\nb\nc", "b", "a\n\nc"),
        ("a\n\nb", "a", "b"),
        ("a\n\nb\n", "b", "a"),
        ("a\n", "a", ""),
        ("\n\na\nb", "a", "\n\nb"),
    ],
)
def test_no_blank_lines_pile_up(text: str, gone: str, left: str) -> None:
    at = text.index(gone)
    stop = min(at + 2, len(text))
    assert without(column(text), np.array([0]), np.array([[at, stop]])).to_pylist() == [left]


def test_spans_may_overlap() -> None:
    spans = np.array([[1, 4], [2, 3], [3, 6], [8, 9]])
    assert without(column("0123456789"), np.zeros(4, np.int64), spans).to_pylist() == ["0679"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 5)), max_size=40))
def test_equal_keys_are_grouped_and_their_rows_counted(entries: list[tuple[int, int, int]]) -> None:
    entries.sort(key=lambda entry: entry[2])
    hi, lo, row = (np.asarray([entry[k] for entry in entries], np.uint64) for k in range(3))
    group = np.empty(len(hi), np.int64)
    firsts = first_of_equal(hi, lo, group)
    pairs = [(a, b) for a, b, _ in entries]
    distinct = list(dict.fromkeys(pairs))
    assert group.tolist() == [distinct.index(pair) for pair in pairs]
    assert firsts.tolist() == [pairs.index(pair) for pair in distinct]
    counts = np.zeros(len(distinct), np.int64)
    count_rows(group, row, counts)
    assert counts.tolist() == [len({r for a, b, r in entries if (a, b) == pair}) for pair in distinct]
