"""Global steps on spans of text against brute force, whatever the units; how the pipeline plans and carries them."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.records import SPAN_COUNTS, SPAN_KEYS, columns_of, signed_batch, split_by
from pipeline.dedup.spans import chosen_keys, counted, merged, removed_spans, span_drops
from pipeline.plan import compile_plan
from pipeline.recipe import resolve
from pipeline.rows import survivors
from pipeline.specs import stage_specs
from pipeline.storage import write_arrow
from pipeline.workdir import DROPS
from schemas.errors import RecipeError
from schemas.sample import SAMPLE, SENTINEL
from tests.conformance.batches import media_row, numbered
from transforms.dedup.lines import LineDedupAcross, LineDedupAcrossParams
from transforms.dedup.spans import SPANS, SpanDedup
from transforms.registry import build
from transforms.text.segments import normal_form, reference_segments

LINES = st.sampled_from(["Home", "home ", "A river", "Page 1", "Page 22", "x", "", " ", "日本語", "Straße", "STRASSE"])
URLS = st.sampled_from(
    ["https://a.example/1", "http://www.a.example/2", "https://b.example/", "no host at all !", None]
)
PAGES = st.lists(st.tuples(st.lists(LINES, max_size=7).map("\n".join), URLS), min_size=1, max_size=8)


def across(**params: Any) -> LineDedupAcross:
    step: LineDedupAcross = build("text.line_dedup_across", params)
    step.setup()
    return step


def run(step: SpanDedup, pages: list[tuple[str, str | None]], borders: list[int]) -> list[str]:
    """The texts that the pipeline's functions leave, without a pipeline: keys by unit, one reduction, drops by unit."""
    batch = numbered([{"text": text, "url": url} for text, url in pages])
    ends = [0, *sorted(borders), len(pages)]
    units = [batch.slice(a, b - a) for a, b in itertools.pairwise(ends)]
    signed = [columns_of([signed_batch(step, unit, 0)], SPAN_KEYS) for unit in units]
    counts = columns_of([counted(keys, number) for number, keys in enumerate(signed)], SPAN_COUNTS)
    gone = chosen_keys(counts, step.max_rows)
    texts: list[str] = []
    for number, (unit, keys) in enumerate(zip(units, signed, strict=True)):
        mine = {name: values[gone & (counts["unit"] == number)] for name, values in counts.items()}
        mask = removed_spans(keys, mine, keep_first=step.max_rows is None)
        drops = span_drops(merged({name: values[mask] for name, values in keys.items()}), "3:step")
        spans = dict(zip(drops["row"].to_pylist(), drops["spans"].to_pylist(), strict=True))
        column = pa.array([spans.get(row) for row in range(unit.num_rows)], SPANS.type)
        outcome = step.apply(unit.append_column(SPANS, column))
        left = {row["source"]: row["text"] for row in outcome.kept.to_pylist()}
        texts += [left.get(source, "") for source in unit.column("source").to_pylist()]
    return texts


def brute_force(params: LineDedupAcrossParams, pages: list[tuple[str, str | None]]) -> list[str]:
    """The same from strings, one page after the other."""
    hosts = {"https://a.example/1": "a", "http://www.a.example/2": "a", "https://b.example/": "b"}
    found: list[list[tuple[int, int, tuple[str, str] | None]]] = []
    for text, url in pages:
        lines = reference_segments(text, params.unit)
        entries: list[tuple[int, int, tuple[str, str] | None]] = []
        for at, (start, stop, line) in enumerate(lines):
            is_edge = at < params.edge_lines or at >= len(lines) - params.edge_lines
            host = hosts.get(url or "") if params.scope == "host" else "all"
            is_key = host and (params.position == "any" or is_edge) and len(line) >= params.min_chars
            form = normal_form(line, one_number=params.ignore_numbers)
            entries.append((start, stop, (host, form) if host and is_key else None))
        found.append(entries)
    counts = Counter(key for entries in found for key in {key for _, _, key in entries if key})
    seen: set[tuple[str, str]] = set()
    texts = []
    for (text, _), entries in zip(pages, found, strict=True):
        data, left, at = text.encode(), b"", 0
        for start, stop, key in entries:
            gone = key is not None and (
                key in seen if params.keep == "first" else counts[key] > (params.max_count or 0)
            )
            if key is not None:
                seen.add(key)
            if gone:
                left, at = left + data[at:start], stop
                while data[at : at + 1] == b"\n" and (not left or left == b"\n" or left.endswith(b"\n\n")):
                    at += 1
                if at == len(data):
                    left = left.rstrip(b"\n")
        texts.append((left + data[at:]).decode())
    return texts


@settings(max_examples=150, deadline=None)
@given(
    PAGES,
    st.lists(st.integers(0, 8), max_size=3),
    st.fixed_dictionaries(
        {
            "unit": st.sampled_from(["line", "paragraph"]),
            "scope": st.sampled_from(["host", "corpus"]),
            "position": st.sampled_from(["any", "edges"]),
            "edge_lines": st.integers(1, 2),
            "min_chars": st.sampled_from([1, 5]),
            "ignore_numbers": st.booleans(),
        }
    ),
    st.sampled_from([{"keep": "first", "max_count": None}, {"max_count": 1}, {"max_count": 2}]),
)
def test_the_texts_are_those_of_brute_force_in_whatever_units(pages, borders, params, rule):
    step = across(**params, **rule)
    left = run(step, pages, [min(border, len(pages)) for border in borders])
    for (text, _), mine, expected in zip(pages, left, brute_force(step.params, pages), strict=True):
        # a row that has nothing left is rejected, one that had nothing is kept
        assert mine == (expected if expected.strip() or not text.strip() else "")


def test_a_million_occurrences_cost_one_record_a_unit():
    count = 1_000_000
    columns = {"hi": np.full(count, 7, np.uint64), "lo": np.full(count, 9, np.uint64)}
    columns["row"] = np.arange(count, dtype=np.uint32) // 2
    counts = counted(columns, 3)
    assert counts.to_pylist() == [{"hi": 7, "lo": 9, "unit": 3, "rows": count // 2}]
    assert chosen_keys(columns_of([counts], SPAN_COUNTS), 499_999).tolist() == [True]
    assert chosen_keys(columns_of([counts], SPAN_COUNTS), 500_000).tolist() == [False]


@pytest.mark.parametrize("numbers", [[], [3], [3, 1, 3, 1, 2]])
def test_batches_are_split_by_number(numbers):
    batch = pa.RecordBatch.from_pydict({"at": pa.array(range(len(numbers)), pa.int64())})
    parts = [(number, part["at"].to_pylist()) for number, part in split_by(batch, np.asarray(numbers, np.uint32))]
    assert parts == [(n, [at for at, m in enumerate(numbers) if m == n]) for n in sorted(set(numbers))]


def test_lines_with_media_and_short_lines_have_no_key():
    step = across(scope="corpus", min_words=2)
    batch = numbered([media_row(f"a line {SENTINEL}\nanother line\nword", [("png", None)])])
    keys = step.span_keys(batch)
    size = len(f"a line {SENTINEL}\n".encode())
    assert (keys.start.tolist(), keys.stop.tolist()) == ([size], [size + len("another line\n")])


def test_too_few_words_left_is_for_rows_that_lost_some():
    step = across(min_words_left=3)
    spans = pa.array([[{"start": 0, "stop": 5}], None], SPANS.type)
    batch = numbered([{"text": "gone\none two"}, {"text": "one two"}]).append_column(SPANS, spans)
    outcome = step.apply(batch)
    assert outcome.kept.column("text").to_pylist() == ["one two"]
    assert outcome.rejected.column("text").to_pylist() == ["gone\none two"]
    assert outcome.rejected.column("reject.detail").to_pylist() == ["1 removed; words 2 < 3"]


def test_a_second_step_adds_to_what_the_first_removed():
    step = across()
    spans = pa.array([[{"start": 0, "stop": 5}], None], SPANS.type)
    batch = numbered([{"text": "gone\none two"}, {"text": "one two"}]).append_column(SPANS, spans)
    again = step.apply(step.apply(batch).kept.append_column(SPANS, spans)).kept
    assert again.column(step.removed_field().name).to_pylist() == [2, 0]
    assert again.column("text").to_pylist() == ["wo", "one two"]


@pytest.mark.parametrize("params", [{"keep": "first"}, {"max_count": None}])
def test_one_rule_at_a_time(params):
    with pytest.raises(RecipeError, match="keep: first goes with max_count: null"):
        across(**params)


def recipe(*steps: Any) -> Any:
    return resolve(
        {
            "recipe": 1,
            "name": "plan",
            "inputs": [{"use": "jsonl", "with": {"paths": "*.jsonl"}}],
            "steps": [{"use": step} if isinstance(step, str) else step for step in steps],
            "tokens": {"tokenizer": "none", "sequence_length": 64},
            "output": {"path": "out"},
        }
    )


def test_a_span_step_ends_its_stage_and_begins_the_next():
    across_, exact = "text.line_dedup_across", "text.exact_dedup"
    plan = compile_plan(recipe("text.normalize", exact, across_, exact, "text.normalize"))
    shape = [([s.label for s in stage.steps], [label for label, _ in stage.dedups]) for stage in plan.stages]
    assert shape == [
        (["1:text.normalize"], ["2:text.exact_dedup", "3:text.line_dedup_across"]),
        (["3:text.line_dedup_across"], ["4:text.exact_dedup"]),
        (["5:text.normalize", "6:tokens.encode"], []),
    ]
    assert SPANS.name not in plan.stages[1].schema.names
    assert "text.line_dedup_across.removed" in plan.ledger.names
    specs = stage_specs(plan)
    assert specs[0][-1] == specs[1][0] and specs[0][-1]["with"]["max_count"] == 2


def test_signals_are_computed_anew_after_lines_went():
    plan = compile_plan(recipe("text.gopher_quality", "text.line_dedup_across", "text.gopher_quality"))
    first, second = plan.stages[0].steps[0].transform, plan.stages[1].steps[0].transform
    assert first.signals() and second.edits_text


def test_drops_of_rows_and_of_spans_are_applied_together(tmp_path):
    batch = numbered([{"text": text} for text in ("one\ntwo\n", "three", "four\nfive", "six")])
    write_arrow(tmp_path / "kept.arrow", SAMPLE, iter([batch.slice(0, 2), batch.slice(2)]))
    nothing = {"part": -1, "reason": None, "detail": None, "match_id": None, "spans": None}
    drops = [
        nothing | {"row": 1, "label": "2:exact", "reason": "duplicate", "match_id": "row-0"},
        nothing | {"row": 2, "label": "3:lines", "spans": [{"start": 0, "stop": 5}]},
    ]
    write_arrow(tmp_path / "drops.arrow", DROPS, iter([pa.RecordBatch.from_pylist(drops, schema=DROPS)]))
    first, second = survivors(tmp_path / "kept.arrow", str(tmp_path / "drops.arrow"))
    assert first.batch.column("text").to_pylist() == ["one\ntwo\n"] and SPANS.name not in first.batch.schema.names
    assert [(label, rows.column("reject.reason").to_pylist()) for label, rows in first.rejected] == [
        ("2:exact", ["duplicate"])
    ]
    assert second.rejected == [] and second.rows.tolist() == [2, 3]
    assert second.batch.column(SPANS.name).to_pylist() == [[{"start": 0, "stop": 5}], None]
    assert across().apply(second.batch).kept.column("text").to_pylist() == ["five", "six"]
