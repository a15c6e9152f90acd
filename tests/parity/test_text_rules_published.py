"""Quality rules: the constants that papers and implementations publish, and the verdicts of datatrove's unit tests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.batches import numbered
from transforms.registry import build, load_all
from transforms.signals import compute_signals

load_all()

# transform -> preset -> what it publishes, as literals
GOPHER = {
    "min_words": 50,
    "max_words": 100_000,
    "min_word_chars": 3,
    "max_word_chars": 10,
    "max_symbol_word_ratio": 0.1,
    "max_bullet_line_ratio": 0.9,
    "max_ellipsis_line_ratio": 0.3,
    "min_alphabetic_word_ratio": 0.8,
    "min_stop_words": 2,
}
REPETITION = {
    "max_duplicate_line_ratio": 0.30,
    "max_duplicate_paragraph_ratio": 0.30,
    "max_duplicate_line_char_ratio": 0.20,
    "max_duplicate_paragraph_char_ratio": 0.20,
    "max_top_2_gram_char_ratio": 0.20,
    "max_top_3_gram_char_ratio": 0.18,
    "max_top_4_gram_char_ratio": 0.16,
    "max_duplicate_5_gram_char_ratio": 0.15,
    "max_duplicate_6_gram_char_ratio": 0.14,
    "max_duplicate_7_gram_char_ratio": 0.13,
    "max_duplicate_8_gram_char_ratio": 0.12,
    "max_duplicate_9_gram_char_ratio": 0.11,
    "max_duplicate_10_gram_char_ratio": 0.10,
}
FINEWEB = {
    "min_line_punct_ratio": 0.12,
    "max_short_line_ratio": 0.67,
    "short_line_chars": 30,
    "max_newline_ratio": 0.3,
}
DOLMA_REPETITION = {
    "max_duplicate_line_char_ratio": 0.30,
    "max_duplicate_paragraph_ratio": None,
    "max_duplicate_paragraph_char_ratio": None,
}
PUBLISHED: dict[str, dict[str, dict[str, Any]]] = {
    "text.gopher_quality": dict.fromkeys(("paper", "datatrove", "dclm", "dolma"), GOPHER),
    "text.gopher_repetition": {
        **dict.fromkeys(("paper", "datatrove", "dclm"), REPETITION),
        "dolma": REPETITION | DOLMA_REPETITION,
    },
    "text.c4_quality": {
        "paper": {
            "min_words_per_line": 5,
            "min_sentences": 3,
            "max_word_chars": 1000,
            "filter_no_terminal_punct": True,
        },
        "dclm": {"min_words_per_line": 5, "min_sentences": 3, "max_word_chars": 1000},
        "datatrove": {"min_words_per_line": 3, "min_sentences": 5, "max_word_chars": 1000, "strict_marks": True},
        "dolma": {"min_words_per_line": 3, "min_sentences": None, "max_word_chars": None},
    },
    "text.fineweb_quality": {
        "paper": FINEWEB | {"max_char_dup_ratio": 0.1},
        "datatrove": FINEWEB | {"max_char_dup_ratio": 0.01},
    },
}


@pytest.mark.parametrize(("name", "preset"), [(name, preset) for name in PUBLISHED for preset in PUBLISHED[name]])
def test_constants(name: str, preset: str) -> None:
    params = build(name, {"preset": preset}).params.model_dump()
    expected = PUBLISHED[name][preset]
    assert {key: params[key] for key in expected} == expected


@pytest.mark.parametrize("name", ["text.gopher_quality", "text.gopher_repetition", "text.fineweb_quality"])
def test_only_the_paper_is_transferred_to_other_languages(name: str) -> None:
    presets = PUBLISHED[name]
    chosen = {preset: build(name, {"preset": preset}).params.languages for preset in presets}
    assert chosen == {preset: "shipped" if preset == "paper" else "published" for preset in presets}


def reason_for(name: str, params: dict[str, Any], text: str) -> str | None:
    step = build(name, {"preset": "datatrove"} | params)
    rejected = step.apply(compute_signals(numbered([{"text": text}]), step.signals())).rejected
    return rejected["reject.reason"][0].as_py() if rejected.num_rows else None


PROSE = (
    "The miller had always said that the weir would not hold another winter, and with the first thaw he was proved "
    "right. By the time the men had come up from the village, the water was through the yard and in the barn."
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I am too small", "too_few_words"),  # gopher_short_doc
        ("I am " * 20, "words_too_short"),  # gopher_below_avg_threshold
        ("interconnection " * 20, "words_too_long"),  # gopher_above_avg_threshold
        ("# comment " * 20, "too_many_hashes"),
        ("... comment " * 20, "too_many_ellipses"),
        ("the harbour <?> of == ++ stone ** !!! and // bridge ~~ " * 20, "too_few_alphabetic_words"),
        (PROSE, None),
    ],
)
def test_datatrove_gopher_quality(text: str, reason: str | None) -> None:
    assert reason_for("text.gopher_quality", {"min_words": 10, "max_words": 1000}, text) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("This line is long enough. Lorem ipsum dolor sit amet is not.", "lorem_ipsum"),
        ("This line is long enough. So is a brace { that opens here.", "curly_bracket"),
        ("This page has a line. It has one more.", "too_few_sentences"),
        ("This page has a line.\n" * 5, None),
    ],
)
def test_datatrove_c4(text: str, reason: str | None) -> None:
    assert reason_for("text.c4_quality", {}, text) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_text"),  # empty
        ("The quay was empty, and nobody had come to wait for the boat\n" * 2, "too_few_punctuated_lines"),
        ("Home.\nNews.\nSport.\nContact us.", "too_many_short_lines"),
        (PROSE, None),
    ],
)
def test_datatrove_fineweb(text: str, reason: str | None) -> None:
    assert reason_for("text.fineweb_quality", {}, text) == reason
