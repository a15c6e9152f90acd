"""Lines and sentences compared several in a row, as C4's three-sentence spans are, against brute force."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.sample import SENTINEL
from tests.conformance.batches import media_row, numbered
from tests.unit.test_span_steps import across, run
from transforms.text.segments import normal_form, reference_segments
from transforms.text.sentences import split_sentences

LINES = st.sampled_from(["Home", "home ", "A river", "Page 1", "x", "", "日本語"])
PAGES = st.lists(st.lists(LINES, max_size=8).map("\n".join), min_size=1, max_size=6)


def left_of_lines(texts: list[str], count: int) -> list[list[str]]:
    """The lines that no repeated run of `count` holds; the first occurrence stays."""
    seen: set[tuple[str, ...]] = set()
    left = []
    for text in texts:
        lines = [line for *_, line in reference_segments(text, "line")]
        forms = [normal_form(line) for line in lines]
        gone: set[int] = set()
        for at in range(len(lines) - count + 1):
            span = tuple(forms[at : at + count])
            gone |= set(range(at, at + count)) if span in seen else set()
            seen.add(span)
        left.append([line for at, line in enumerate(lines) if at not in gone])
    return left


@settings(max_examples=80, deadline=None)
@given(PAGES, st.lists(st.integers(0, 6), max_size=2), st.integers(1, 3))
def test_runs_of_lines_are_those_of_brute_force(texts, borders, count):
    step = across(scope="corpus", keep="first", max_count=None, consecutive=count)
    left = run(step, [(text, None) for text in texts], [min(border, len(texts)) for border in borders])
    for text, mine, lines in zip(texts, left, left_of_lines(texts, count), strict=True):
        # a row of blank lines alone is left as it is
        assert [line.strip() for line in mine.split("\n") if line.strip()] == lines or not text.strip()


FIRST = "The river rose in May. It fell in June! 河水涨了。 Then it was calm."


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (FIRST, ""),
        (f"They say: Ha. {FIRST[:39].upper()}  河水涨了。 Then came ships.", "They say: Ha. Then came ships."),
        ("It fell in June! 河水涨了。\nThen it was calm.\nAnd more.", "And more."),
        ("The river rose in May. It fell in June! And more.", "The river rose in May. It fell in June! And more."),
        ("The river rose in May. It fell in June! Not so. 河水涨了。 Then it was calm.", None),
    ],
)
def test_three_sentences_that_come_again_go(text, left):
    step = across(preset="c4")
    assert run(step, [(FIRST, None), (text, None)], [1]) == [FIRST, text if left is None else left]


def test_sentences_with_media_and_runs_around_them_have_no_key():
    step = across(preset="c4", consecutive=2)
    batch = numbered([media_row(f"One is. Two are. Three {SENTINEL} are. Four go. Fünf sind.", [("png", None)])])
    keys = step.span_keys(batch)
    text = batch["text"][0].as_py().encode()
    held = [text[a:b].decode() for a, b in zip(keys.start, keys.stop, strict=True)]
    assert held == ["One is. Two are.", "Four go. Fünf sind."]


@given(st.text(alphabet="ab. !?\n é河。", max_size=40))
def test_sentences_are_those_of_split_sentences(text):
    step = across(preset="c4", consecutive=1)
    keys = step.span_keys(numbered([{"text": text}]))
    held = [text.encode()[a:b].decode() for a, b in zip(keys.start, keys.stop, strict=True)]
    assert held == [one for line in text.split("\n") for one in split_sentences(line)]


@pytest.mark.parametrize(
    ("preset", "wanted"),
    [
        ("c4", {"unit": "sentence", "consecutive": 3, "scope": "corpus", "keep": "first", "max_count": None}),
        ("dolma", {"unit": "line", "consecutive": 1, "scope": "corpus", "keep": "first", "max_count": None}),
    ],
)
def test_presets_say_what_they_are(preset: str, wanted: dict[str, Any]):
    params = across(preset=preset).params.model_dump()
    assert {name: params[name] for name in wanted} == wanted
