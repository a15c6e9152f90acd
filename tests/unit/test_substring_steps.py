"""Passages that recur, found in two rounds, against brute force over all runs of tokens, whatever the units."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.records import SPAN_COUNTS, SPAN_KEYS, columns_of, signed_batch
from pipeline.dedup.spans import Prove, chosen_keys, counted, merged, proven_path, removed_spans, span_drops
from pipeline.dedup.task import DedupTask
from pipeline.storage import map_arrow, write_arrow
from pipeline.workdir import DROPS
from schemas.errors import RecipeError
from schemas.sample import SAMPLE, SENTINEL
from tests.conformance.batches import media_row, numbered
from tests.conformance.contract import check_dedup
from transforms.dedup.spans import SPANS, with_blanks
from transforms.dedup.substrings import SubstringDedup, covered_ratio, reference_tokens
from transforms.registry import build

Spans = list[tuple[int, int]]


def substrings(**params: Any) -> SubstringDedup:
    step: SubstringDedup = build("text.substring_dedup", params)
    step.setup()
    return step


class Task(DedupTask):
    """A task of one step, without a recipe."""

    def span_step(self) -> SubstringDedup:
        return self.key  # type: ignore[return-value]


def found(step: SubstringDedup, texts: list[str], borders: list[int], folder: Any) -> list[Spans]:
    """The spans of each text that the pipeline's functions find, without a pipeline: both rounds, by unit."""
    batch = numbered([{"text": text} for text in texts])
    units = [batch.slice(a, b - a) for a, b in itertools.pairwise([0, *sorted(borders), len(texts)])]
    keys, kept, after = ({n: f"{folder}/{kind}-{n}.arrow" for n in range(len(units))} for kind in ("keys", "kept", "d"))
    counts = dict.fromkeys(keys, 0)
    task = Task(step, "1:step", keys, counts, kept, dict.fromkeys(keys), after, str(folder), 1)  # type: ignore[arg-type]
    for number, unit in enumerate(units):
        cut = unit.num_rows // 2  # batch borders too
        pieces = [unit.slice(0, cut), unit.slice(cut)]
        write_arrow(kept[number], SAMPLE, iter(pieces))
        write_arrow(
            keys[number], SPAN_KEYS, iter([signed_batch(step, pieces[0], 0), signed_batch(step, pieces[1], cut)])
        )
    first = [counted(columns_of(map_arrow(keys[n]), SPAN_KEYS), n, by_occurrence=True) for n in keys]
    shared = pa.Table.from_batches(first).filter(pa.array(chosen_keys(columns_of(first, SPAN_COUNTS), 1)))
    second: list[pa.RecordBatch] = []
    for n in keys:
        mine = shared.filter(pa.array(shared.column("unit").to_numpy() == n)).to_batches()
        second += [batch for _, batch in Prove(task)(n, {"keys": mine})]
    columns = columns_of(second, SPAN_COUNTS)
    gone = chosen_keys(columns, step.max_rows)
    spans: list[Spans] = []
    for n, unit in enumerate(units):
        mine_ = {name: values[gone & (columns["unit"] == n)] for name, values in columns.items()}
        proven = columns_of(map_arrow(proven_path(task, n)), SPAN_KEYS)
        mask = removed_spans(proven, mine_, keep_first=step.max_rows is None)
        drops = span_drops(merged({name: values[mask] for name, values in proven.items()}), "1:step")
        of_row = dict(zip(drops["row"].to_pylist(), drops["spans"].to_pylist(), strict=True))
        spans += [[(span["start"], span["stop"]) for span in of_row.get(row, [])] for row in range(unit.num_rows)]
    return spans


def brute_force(texts: list[str], length: int, *, keep_first: bool) -> list[Spans]:
    """The same from all runs of `length` tokens, compared as strings."""
    runs = [
        (row, run[at][0], run[at + length - 1][1], tuple(token for *_, token in run[at : at + length]))
        for row, text in enumerate(texts)
        for run in reference_tokens(text)
        for at in range(len(run) - length + 1)
    ]
    counts = Counter(tokens for *_, tokens in runs)
    seen: set[tuple[str, ...]] = set()
    spans: list[Spans] = [[] for _ in texts]
    for row, start, stop, tokens in runs:
        goes = tokens in seen if keep_first else counts[tokens] > 1
        seen.add(tokens)
        if goes and spans[row] and start < spans[row][-1][1]:
            spans[row][-1] = (spans[row][-1][0], stop)
        elif goes:
            spans[row].append((start, stop))
    return spans


TOKENS = st.sampled_from(["a", "b", "c", "Río", "river,", "河", "水", SENTINEL])
GAPS = st.sampled_from([" ", " ", " ", "\n", "\n\n"])
PASSAGES = st.lists(st.tuples(TOKENS, GAPS), min_size=1, max_size=12).map(lambda ps: "".join(a + b for a, b in ps))


@st.composite
def planted(draw: Any) -> list[str]:
    """Texts made of few passages, so that many come again, in parts and on top of each other."""
    pool = draw(st.lists(PASSAGES, min_size=1, max_size=4))
    return draw(st.lists(st.lists(st.sampled_from(pool), max_size=4).map("".join), min_size=1, max_size=6))


@settings(max_examples=100, deadline=None)
@given(planted(), st.lists(st.integers(0, 6), max_size=3), st.integers(2, 9), st.sampled_from(["first", "none"]))
def test_the_spans_are_those_of_brute_force_in_whatever_units(tmp_path_factory, texts, borders, length, keep):
    step = substrings(min_tokens=length, keep=keep)
    borders = [min(border, len(texts)) for border in borders]
    mine = found(step, texts, borders, tmp_path_factory.mktemp("units"))
    assert mine == brute_force(texts, length, keep_first=keep == "first")


@pytest.mark.parametrize("keep", ["first", "none"])
def test_planted_passages_of_fifty_tokens_and_no_shorter_ones_go(tmp_path, keep):
    rng = random.Random(5)
    words = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("a", "e", "io", "und", "ing")]

    def some(count: int) -> str:
        return " ".join(rng.choices(words, k=count))

    long, short, exact = some(80), some(49), some(50)
    texts = [f"{some(rng.randint(20, 90))} {part} {some(rng.randint(20, 90))}" for part in (long, short, exact) * 3]
    step = substrings(keep=keep)
    mine = found(step, texts, [2, 5], tmp_path)
    assert mine == brute_force(texts, 50, keep_first=keep == "first")
    cut = [[text.encode()[a:b].decode() for a, b in spans] for text, spans in zip(texts, mine, strict=True)]
    first = [[], [], []] if keep == "first" else [[long], [], [exact]]
    assert cut == [*first, *[[long], [], [exact]] * 2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", "Río", "x."]), max_size=12), max_size=4), st.integers(2, 4))
def test_what_is_left_are_the_other_tokens_and_nothing_runs_together(tmp_path_factory, rows, length):
    rng = random.Random(len(rows))
    texts = ["".join(token + rng.choice([" ", "  ", "\n", "\n\n"]) for token in tokens) for tokens in rows]
    step = substrings(min_tokens=length, keep="none", min_chars_left=1)
    spans = found(step, texts, [], tmp_path_factory.mktemp("units"))
    batch = numbered([{"text": text} for text in texts])
    column = pa.array([[{"start": a, "stop": b} for a, b in row] for row in spans], SPANS.type)
    outcome = step.apply(batch.append_column(SPANS, column))
    left = {row["source"]: row["text"] for row in outcome.kept.to_pylist()}
    for source, text, gone in zip(batch["source"].to_pylist(), texts, spans, strict=True):
        tokens = [token for a, b, token in reference_tokens(text)[0] if not any(x <= a and b <= y for x, y in gone)]
        assert left.get(source, "").split() == tokens
        assert (source in left) == bool(tokens or not gone)


def test_a_passage_that_repeats_itself_keeps_its_first_time(tmp_path):
    texts = [f"so it goes: {'la li lu ' * 4}and ends"]
    assert found(substrings(min_tokens=5), texts, [], tmp_path) == [[(len("so it goes: la li lu "), len(texts[0]) - 9)]]


def test_rows_that_are_dropped_before_do_not_count(tmp_path):
    step = substrings(min_tokens=3)
    texts = ["one two three four", "one two three four", "one two three five"]
    batch = numbered([{"text": text} for text in texts])
    drops = {"row": 0, "part": -1, "label": "0:x", "reason": "duplicate", "detail": None, "match_id": "", "spans": None}
    paths = {name: {0: str(tmp_path / f"{name}.arrow")} for name in ("keys", "kept", "before", "after")}
    write_arrow(paths["before"][0], DROPS, iter([pa.RecordBatch.from_pylist([drops], schema=DROPS)]))
    write_arrow(paths["kept"][0], SAMPLE, iter([batch]))
    write_arrow(paths["keys"][0], SPAN_KEYS, iter([signed_batch(step, batch, 0)]))
    task = Task(
        step,  # type: ignore[arg-type]
        "1:step",
        paths["keys"],
        {0: 0},
        paths["kept"],
        dict(paths["before"]),
        paths["after"],
        str(tmp_path),
        1,
    )
    columns = columns_of([signed_batch(step, batch, 0)], SPAN_KEYS)
    shared = counted(columns, 0, by_occurrence=True)
    list(Prove(task)(0, {"keys": [shared]}))
    assert set(columns_of(map_arrow(proven_path(task, 0)), SPAN_KEYS)["row"].tolist()) == {1, 2}


def test_a_key_that_comes_twice_in_a_row_counts_twice():
    columns = {name: np.asarray(values, np.uint64) for name, values in {"hi": [1, 1, 2], "lo": [1, 1, 2]}.items()}
    columns["row"] = np.asarray([0, 0, 0], np.uint32)
    assert counted(columns, 0, by_occurrence=True)["rows"].to_pylist() == [2, 1]
    assert counted(columns, 0)["rows"].to_pylist() == [1, 1]


def test_the_second_round_signs_all_runs_around_what_is_shared():
    batch = numbered(
        [media_row(f"a b c a b {SENTINEL} a b c a b", [("png", None)]), {"text": "a b c"}, {"text": "x y z"}]
    )
    step = substrings(min_tokens=3)
    keys = check_dedup(step, batch)
    runs = step.proven(batch, keys.key[keys.row < 2])
    texts = [text.encode() for text in batch["text"].to_pylist()]
    held = [texts[r][a:b].decode() for r, a, b in zip(runs.row, runs.start, runs.stop, strict=True)]
    assert held == ["a b c", "b c a", "c a b"] * 2 + ["a b c"]


@pytest.mark.parametrize(
    ("text", "span", "left"),
    [
        ("one [two three] four", "[two three]", "one four"),
        ("[one two] three", "[one two]", "three"),
        ("one [two three]", "[two three]", "one"),
        ("one [two]\nthree", "[two]", "one\nthree"),
        ("one\n[two]\nthree", "[two]", "one\nthree"),
        ("one\n\n[two]\n\nthree", "[two]", "one\n\nthree"),
        ("one\n [two] three", "[two]", "one\n three"),
        ("河[two]水", "[two]", "河水"),
        ("one [two\nthree] four", "[two\nthree]", "one four"),
    ],
)
def test_no_blanks_are_left_over(text, span, left):
    start = len(text[: text.index(span)].encode())
    spans = pa.array([[{"start": start, "stop": start + len(span.encode())}]], SPANS.type)
    step = substrings(min_tokens=2, min_chars_left=1)
    kept = step.apply(numbered([{"text": text}]).append_column(SPANS, spans)).kept
    assert kept["text"].to_pylist() == [left]


def test_the_ratio_is_of_characters_and_counts_none_twice():
    text = pa.array(["", "河水abcd", "河水abcd"], pa.large_string()).slice(1)
    spans = np.asarray([[0, 6], [3, 7], [9, 99]])
    assert covered_ratio(text, np.asarray([0, 0, 1]), spans).tolist() == [3 / 6, 1 / 6]
    nothing = np.empty((0, 2), np.int64)
    assert covered_ratio(text.slice(0, 0), np.empty(0, np.int64), nothing).tolist() == []
    assert np.array_equal(with_blanks(text, np.empty(0, np.int64), nothing), nothing)


@pytest.mark.parametrize("params", [{"min_tokens": 1}, {"keep": "last"}, {"action": "mark"}, {"preset": "lee"}])
def test_parameters_are_checked(params):
    with pytest.raises(RecipeError, match=next(iter(params))):
        substrings(**params)


def test_spans_that_overlap_become_one_and_others_stay_apart():
    spans = [(0, 0, 5), (0, 3, 7), (0, 7, 9), (1, 8, 12), (1, 11, 13), (1, 12, 15), (2, 1, 2)]
    columns = dict(zip(("row", "start", "stop"), np.asarray(spans).T, strict=True))
    one = merged(columns)
    assert list(zip(*(one[name].tolist() for name in ("row", "start", "stop")), strict=True)) == [
        (0, 0, 7),
        (0, 7, 9),
        (1, 8, 15),
        (2, 1, 2),
    ]
    assert all(len(values) == 0 for values in merged({name: values[:0] for name, values in columns.items()}).values())
