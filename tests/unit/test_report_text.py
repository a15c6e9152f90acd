"""Neutralised text, number words, and distributions counted in one pass."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.report import display
from pipeline.report.sketch import Sketch

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def test_plain_text_cannot_move_the_cursor_or_the_reading_order() -> None:
    assert (
        display.plain("a\x1b[31mb\r\nc\u202ed\x9be\ufffcf\x00") == "a<U+001B>[31mb c<U+202E>d<U+009B>e[media]f<U+0000>"
    )


def test_joiners_that_scripts_need_survive() -> None:
    assert display.plain("می‌رود क्‍ष 👩‍👧") == "می‌رود क्‍ष 👩‍👧"


def test_markup_escapes_and_names() -> None:
    shown = display.markup('<a href="x">\u202e</a>')
    chip = '<span class="chip" title="RIGHT-TO-LEFT OVERRIDE">U+202E</span>'
    assert str(shown) == f"&lt;a href=&#34;x&#34;&gt;{chip}&lt;/a&gt;"


def test_stacked_marks_are_thinned_and_ordinary_ones_kept() -> None:
    assert display.squeeze("e\u0301\u0323" + "o" + "\u0301" * 30, 100) == "e\u0301\u0323o" + "\u0301" * 4


def test_a_cut_shows() -> None:
    assert display.squeeze("abcdef", 4) == "abc…"
    assert display.squeeze("abcd", 4) == "abcd"


@settings(max_examples=200, deadline=None)
@given(_TEXT)
def test_safe_json_is_the_same_data_in_printable_characters(text: str) -> None:
    written = display.safe_json({"text": text, text: [1, None, 0.5]})
    assert json.loads(written) == {"text": text, text: [1, None, 0.5]}
    assert display.plain(written.replace("\n", ""), 10**6).count("<U+") == written.count("<U+")


@settings(max_examples=200, deadline=None)
@given(_TEXT)
def test_nothing_unsafe_is_left_in_either_form(text: str) -> None:
    for shown in (display.plain(text), str(display.markup(text))):
        assert display._UNSAFE.search(shown) is None


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "0%"),
        (1.0, "100%"),
        (0.0004, "<0.1%"),
        (0.9996, ">99.9%"),
        (0.1234, "12.3%"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_percent(share: float | None, words: str) -> None:
    assert display.percent(share) == words


def test_numbers_in_words() -> None:
    assert [display.compact(v) for v in (0, 0.0341, 12.5, 999, 4070, 12345, 999_999, 4_229_206, 7.1e9)] == [
        "0", "0.0341", "12.5", "999", "4,070", "12.3k", "1M", "4.23M", "7.1B",
    ]  # fmt: skip
    assert [display.size(v) for v in (0, 1023, 1536, 812 * 2**20)] == ["0 B", "1023 B", "1.5 KiB", "812 MiB"]
    assert [display.duration(v) for v in (4.21, 187.42, 8040)] == ["4.2 s", "3 min 07 s", "2 h 14 min"]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-1e9, 1e9, allow_subnormal=False), min_size=1, max_size=80),
    st.lists(st.floats(-1e9, 1e9, allow_subnormal=False), max_size=80),
)
def test_histogram_loses_no_value_and_order_does_not_matter(kept: list[float], rejected: list[float]) -> None:
    one, other = Sketch(), Sketch()
    one.add("kept", np.array([*kept, math.nan, math.inf]))
    one.add("rejected", np.array(rejected))
    other.add("rejected", np.array(rejected[::-1]))
    for value in reversed(kept):
        other.add("kept", np.array([value]))
    assert one.histogram() == other.histogram()
    assert [sum(one.histogram().counts[s]) for s in ("kept", "rejected")] == [len(kept), len(rejected)]
    assert one.separation("kept", "rejected") == pytest.approx(_ks(kept, rejected), abs=0.02 if rejected else 0)


def _ks(first: list[float], second: list[float]) -> float:
    """By definition, on values rounded as the sketch rounds them."""
    if not first or not second:
        return 0.0
    a, b = (np.array([_rounded(v) for v in values]) for values in (first, second))
    return max(abs((a <= x).mean() - (b <= x).mean()) for x in np.concatenate([a, b]))


def _rounded(value: float) -> float:
    mantissa, exponent = math.frexp(abs(value))
    return math.copysign(math.floor(mantissa * 2048) / 2048 * 2.0**exponent, value) + 0.0


def test_integers_have_their_own_bins_and_quantiles_are_near() -> None:
    sketch = Sketch(integral=True)
    sketch.add("kept", np.repeat(np.arange(5), [1, 2, 3, 2, 1]).astype(float))
    assert sketch.histogram().edges == [0, 1, 2, 3, 4, 5]
    assert sketch.histogram().counts == {"kept": [1, 2, 3, 2, 1]}
    values = np.random.default_rng(1).lognormal(3, 2, 5000)
    sketch = Sketch()
    sketch.add("kept", values)
    for share in (0.01, 0.5, 0.99):
        assert sketch.quantile(share) == pytest.approx(np.quantile(values, share, method="inverted_cdf"), rel=2e-3)
    assert sketch.histogram().log is True


def test_a_long_tail_of_ratios_is_not_log() -> None:
    sketch = Sketch()
    sketch.add("kept", np.linspace(0, 0.9, 100) ** 4)
    assert sketch.histogram().log is False
