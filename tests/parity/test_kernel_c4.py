"""C4's rules by kernel against the readable functions: the same text, faults, removed lines and sentences."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.sample.texts import plant
from schemas.sample import SENTINEL
from tests.parity.test_kernel_signals import PIECES, texts
from transforms.text.c4_lines import LineRules
from transforms.text.c4_pages import clean_pages, clean_pages_by_reference
from transforms.text.c4_quality import C4QualityParams, _line_rules
from transforms.text.sentences import _ABBREVIATION

PRESETS = ("paper", "datatrove", "dclm", "dolma")
EVERY_SENTENCE = 1 << 40

PHRASES = [
    *["Lorem IPSUM", "JavaScript", "javasсript", "Terms of Use", "privacy policy", "Cookie Policy", "uses cookies"],
    *["use of cookies", "USE COOKIES", "use coo\u212aies", "\u0130", "[12]", "[]", "[edit]", "[citation needed]"],
    *["[१]", "[[3]", "[edit", "Mr. X", "Dr. no. 5", "a. b", "St. ", "approx. Seven", "appro\u017f. Seven", "vs. "],
    *["K. ", "ſt. X", ".” A", "!) b", "?! C", "…", "。」", "ไทย ไทย", "ไทย a", "\u1681", "\x1c", "\x1f", '"', "'"],
    *["...", SENTINEL, "five words make one line.", "Is it? Yes! It is.", "x" * 40, "one two three four five six"],
]  # fmt: skip
phrases = st.lists(st.sampled_from(PHRASES + PIECES), max_size=12).map(" ".join)
glued = st.lists(st.sampled_from(PHRASES + PIECES), max_size=12).map("".join)
sentences = st.lists(st.sampled_from(["One two three four five.", "Six seven eight nine ten!", *PHRASES]), max_size=9)
pages = st.one_of(
    texts, phrases, glued, st.lists(st.one_of(phrases, glued), max_size=8).map("\n".join), sentences.map("\n".join)
)
switches = st.fixed_dictionaries(
    {
        "preset": st.sampled_from(PRESETS),
        "min_words_per_line": st.sampled_from([None, 0, 3, 5]),
        "max_word_chars": st.sampled_from([None, 5, 1000]),
        "filter_no_terminal_punct": st.booleans(),
        "strict_marks": st.booleans(),
        "remove_citations": st.booleans(),
        "filter_javascript": st.booleans(),
        "filter_policy": st.booleans(),
        "filter_lorem_ipsum": st.booleans(),
        "filter_curly_bracket": st.booleans(),
    }
)


def assert_equal(drawn: list[str], rules: LineRules) -> None:
    column = pa.array(["before", *drawn, "after"], pa.large_string()).slice(1, len(drawn))
    fast, slow = clean_pages(column, rules, EVERY_SENTENCE), clean_pages_by_reference(column, rules)
    for row, text in enumerate(drawn):
        for name in ("faults", "removed", "sentences"):
            got, expected = getattr(fast, name)[row], getattr(slow, name)[row]
            assert np.array_equal(got, expected), (name, text, got, expected)
        assert fast.text[row].as_py() == slow.text[row].as_py(), text


@settings(max_examples=400, deadline=None)
@given(st.lists(pages, min_size=1, max_size=4), switches)
@example([""], {"preset": "dclm"})
@example(["Mr. \u017fmith said no. Then he left."], {"preset": "paper"})
@example(["It ends here.\x1cNot here. Here again.\x1f", "One two three four five."], {"preset": "dclm"})
def test_any_page(drawn: list[str], params: dict) -> None:
    assert_equal(drawn, _line_rules(C4QualityParams(**params)))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_sample_corpus(preset: str) -> None:
    drawn = [record.body for record in plant(seed=17, scale=0.02) if isinstance(record.body, str)]
    assert_equal(drawn, _line_rules(C4QualityParams(preset=preset)))


@pytest.mark.parametrize("enough", [0, 1, 3, 5])
def test_counting_stops_when_it_is_enough(enough: int) -> None:
    drawn = ["One two three. Four five. Six!\n" * 3, "", "Nothing here ends"]
    rules = _line_rules(C4QualityParams(filter_no_terminal_punct=False, min_words_per_line=None))
    column = pa.array(drawn, pa.large_string())
    fast, slow = clean_pages(column, rules, enough), clean_pages_by_reference(column, rules)
    assert np.array_equal(fast.sentences < enough, slow.sentences < enough)


def test_every_abbreviation_is_known() -> None:
    rules = _line_rules(C4QualityParams(filter_no_terminal_punct=False, min_words_per_line=None))
    words = _ABBREVIATION.pattern.partition(r"\p{L}|")[2].partition(")")[0].split("|")
    assert len(words) > 20
    forms = [form for word in words for form in (word, word.upper(), f"x{word}", f"{word}x", f"x {word}", f"1{word}")]
    assert_equal([f"We saw {form}. Then we left." for form in forms], rules)
