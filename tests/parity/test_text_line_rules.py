"""text.refinedweb_lines against its rules written out a line at a time, and every entry of the phrase lists at work."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.batches import numbered
from transforms.registry import build
from transforms.text.line_phrases import citation_marks, consists_of, counts, holds, phrases
from transforms.text.segments import count_words

PHRASES = ("Sign-in", "sign-in ", "items in cart", "Read more...", "read more…", "HOME", "3", " likes", "1.2K views")
WORDS = (
    "the river",
    "12",
    "٣",
    " ",
    "K",
    "コメント",
    "日本",
    "\u3000",
    "ǅ",
    "É",
    "…",
    "(",
    ")",
    "one two three four five",
)
PIECES = st.sampled_from((*PHRASES, *WORDS))
PAGES = st.lists(st.lists(PIECES, max_size=5).map(" ".join), max_size=8)
COUNTER = re.compile(
    counts("counters").removeprefix("(?i)").replace(r"\pL\pM\pN", r"\w").replace(r"\p{Nd}", r"\d"), re.I
)


def by_hand(line: str) -> str | None:
    """A line under the rules: edited, or None when it goes."""
    if sum(map(str.isupper, line)) / len(line) > 0.5 or sum(map(str.isdigit, line)) / len(line) > 0.999999:
        return None
    if COUNTER.search(line.strip()) or count_words(line) < 2:
        return None
    if count_words(line) > 10:
        return line
    edited = re.sub(r"\s?items in cart|^\s*sign-in\s?|\s?read more(\.\.\.|…)(?=\s*$)", "", line, flags=re.I)
    return edited if edited.strip() else None


@settings(max_examples=200, deadline=None)
@given(st.lists(PAGES, min_size=1, max_size=4))
def test_refinedweb_lines_are_those_of_the_rules(pages: list[list[str]]) -> None:
    step = build("text.refinedweb_lines", {"max_removed_word_ratio": None})
    step.setup()
    outcome = step.apply(numbered([{"text": "\n".join(lines)} for lines in pages]))
    left = {row["source"]: row for row in outcome.kept.to_pylist()}
    for at, lines in enumerate(pages):
        whole = [line for line in lines if line.strip()]
        kept = [line for line in map(by_hand, whole) if line is not None]
        row = left.get(f"conformance#{at}")
        assert (row is None) == (bool(whole) and not kept)
        if row is not None:
            assert [line for line in row["text"].split("\n") if line.strip()] == kept
            assert row["text.refinedweb_lines.removed"] == len(whole) - len(kept)


def matches(patterns: list[str], lines: list[str]) -> list[bool]:
    column = pa.array(lines, pa.large_string())
    found = [pc.match_substring_regex(column, pattern).to_pylist() for pattern in patterns]
    return [any(line) for line in zip(*found, strict=True)]


@pytest.mark.parametrize("name", ["navigation", "policy_names"])
def test_lines_of_listed_phrases_are_found_and_longer_ones_are_not(name: str) -> None:
    listed = phrases(name)
    assert all(matches(consists_of(name), [f"» {phrase.capitalize()} | {phrase} …" for phrase in listed]))
    assert not any(matches(consists_of(name), [f"{phrase} 12x" for phrase in listed]))


@pytest.mark.parametrize("name", ["cookies", "policies"])
def test_lines_that_hold_a_listed_phrase_are_found(name: str) -> None:
    assert all(matches(holds(name), [f"x {phrase.capitalize()} y" for phrase in phrases(name)]))
    assert not any(matches(holds(name), ["The cookies were still warm.", "Her policy was silence."]))


def test_counters_and_citation_marks_are_found() -> None:
    listed = phrases("counters")
    assert all(matches([counts("counters")], [f"(1.2K {word})" for word in listed] + [f"{word}: 3" for word in listed]))
    assert not any(matches([counts("counters")], [*listed, "3", "3 rivers"]))
    marks = [mark.replace("#", "12") for mark in phrases("citations")]
    assert all(matches([citation_marks()], [f"so.[{mark}] And" for mark in [*marks, "1", "٣"]]))
    assert not any(matches([citation_marks()], ["[]", "[1234]", "[river]", "edit", *marks]))


@pytest.mark.parametrize("name", ["navigation", "policy_names", "cookies", "policies", "citations"])
def test_entries_are_phrases(name: str) -> None:
    assert len(phrases(name)) > 60
    assert all(phrase == " ".join(phrase.split()) for phrase in phrases(name))
