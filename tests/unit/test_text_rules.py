"""Presets, thresholds and what a rejected row says about itself."""

from __future__ import annotations

import time

import pytest

from schemas.errors import RecipeError
from tests.conformance.batches import numbered
from transforms.registry import build
from transforms.signals import compute_signals
from transforms.text.english import split_english
from transforms.text.rules import describe
from transforms.text.sentences import count_sentences, count_sentences_spacy
from transforms.text.words import letters_per_word, split_unicode


def details(name: str, params: dict, *texts: str) -> list[tuple[str, str | None]]:
    step = build(name, params)
    rejected = step.apply(compute_signals(numbered([{"text": text} for text in texts]), step.signals())).rejected
    return list(zip(rejected["reject.reason"].to_pylist(), rejected["reject.detail"].to_pylist(), strict=True))


def test_detail_names_the_value_and_the_limit() -> None:
    text = "the cat and " * 4
    assert details("text.gopher_quality", {}, text) == [("too_few_words", "word_count 12 < 50")]


def test_the_first_broken_rule_is_the_reason() -> None:
    text = "# " * 20 + "interconnection " * 5
    found = details("text.gopher_quality", {"min_words": 3, "preset": "paper"}, text)
    assert found == [("words_too_long", "word_length 15 > 10")]
    off = {"min_words": 3, "max_word_chars": None, "preset": "paper"}
    assert details("text.gopher_quality", off, text) == [("too_many_hashes", "hash_ratio 4 > 0.1")]


def test_detail_tells_close_numbers_apart() -> None:
    assert describe("ratio", 0.1000001, ">", 0.1) == "ratio 0.1000001 > 0.1"
    assert describe("ratio", 0.5, ">", 0.2) == "ratio 0.5 > 0.2"


def test_c4_says_what_became_of_the_lines() -> None:
    text = "Home\nNews\nThis site uses cookies to serve you better.\nThe river rose in the night."
    found = details("text.c4_quality", {}, text)
    assert found == [("too_few_sentences", "num_sentences 1 < 3; lines removed: 2 no_terminal_punct, 1 policy")]


def test_a_rejected_page_keeps_its_text() -> None:
    step = build("text.c4_quality", {})
    text = "Home\nThe river rose in the night."
    rejected = step.apply(numbered([{"text": text}])).rejected
    assert rejected["text"].to_pylist() == [text]


@pytest.mark.parametrize(
    ("name", "preset", "expected"),
    [
        ("text.c4_quality", "paper", {"min_words_per_line": 5, "min_sentences": 3, "max_word_chars": 1000}),
        ("text.c4_quality", "dclm", {"min_words_per_line": 5, "min_sentences": 3, "max_word_chars": 1000}),
        ("text.c4_quality", "datatrove", {"min_words_per_line": 3, "min_sentences": 5, "max_word_chars": 1000}),
        ("text.c4_quality", "dolma", {"min_words_per_line": 3, "min_sentences": None, "filter_policy": False}),
        ("text.fineweb_quality", "paper", {"max_char_dup_ratio": 0.1, "min_line_punct_ratio": 0.12}),
        ("text.fineweb_quality", "datatrove", {"max_char_dup_ratio": 0.01, "max_short_line_ratio": 0.67}),
        ("text.gopher_repetition", "paper", {"max_duplicate_line_char_ratio": 0.2}),
        (
            "text.gopher_repetition",
            "dolma",
            {"max_duplicate_line_char_ratio": 0.3, "max_duplicate_paragraph_ratio": None},
        ),
    ],
)
def test_presets(name: str, preset: str, expected: dict) -> None:
    resolved = build(name, {"preset": preset}).params.model_dump()
    assert {key: resolved[key] for key in expected} == expected
    assert build(name, resolved).params.model_dump() == resolved


def test_a_constant_overrides_its_preset() -> None:
    params = build("text.c4_quality", {"preset": "datatrove", "min_sentences": 2}).params
    assert (params.min_sentences, params.min_words_per_line) == (2, 3)


def test_table_a1() -> None:
    limits = build("text.gopher_repetition", {}).params.model_dump()
    assert [limits.pop(name) for name in ("preset", "languages", "by_language")] == ["paper", "shipped", {}]
    assert list(limits.values()) == [0.3, 0.3, 0.2, 0.2, 0.2, 0.18, 0.16, 0.15, 0.14, 0.13, 0.12, 0.11, 0.1]


def test_unknown_preset_and_parameter() -> None:
    with pytest.raises(RecipeError, match="preset"):
        build("text.gopher_quality", {"preset": "datatrov"})
    with pytest.raises(RecipeError, match="did you mean 'min_words'"):
        build("text.gopher_quality", {"min_word": 3})


def test_missing_language_model() -> None:
    with pytest.raises(RecipeError, match=r"no model file 'nowhere\.bin'"):
        build("text.language", {"model": "nowhere.bin"}).setup()


def test_sentences() -> None:
    assert count_sentences("Dr. Smith met J. R. Hill at 3.30 p.m. yesterday. They left!") == 2
    assert count_sentences('He asked: "Why?" Nobody answered...') == 2
    assert count_sentences("今日は雨だ。明日は？晴れる！") == 3
    assert count_sentences("क्या हुआ? वह गया। सब ठीक है।") == 3
    assert count_sentences("The site gov.example. runs on. It is old.") == 2
    assert count_sentences("no mark at all") == 1
    assert count_sentences("... !!! ") == 0
    assert count_sentences_spacy('One. Two? Three!! "Four." five') == 5
    assert count_sentences_spacy("no mark at all") == 1
    assert count_sentences_spacy("") == 0
    assert count_sentences_spacy("天气很好。河面没有风。我们坐船。") == 1
    assert count_sentences_spacy("天气 很好。 「是」 吗？") == 2
    assert count_sentences_spacy("วันนี้เรา ไปตลาด. มา! ดี") == 2
    assert count_sentences_spacy("한국어는 좋다. 그래。") == 2


def test_letters_per_word() -> None:
    assert letters_per_word(split_unicode("plain words")) == 1
    assert letters_per_word(split_unicode("Прямая речь и 我")) == 1
    assert letters_per_word(split_unicode("我们坐船 Python")) == 2
    assert letters_per_word(split_unicode("วันนี้เราไปตลาด")) == 4


@pytest.mark.parametrize("piece", ["!", "(", "a.", "a@", "_", "..a", "กา", "\u0301", ". ", "1,", "'"])
def test_long_hostile_text_is_quick(piece: str) -> None:
    """A quadratic pattern would take minutes over these 60,000 characters without a space."""
    text = piece * (60_000 // len(piece))
    start = time.process_time()
    split_unicode(text)
    split_english(text)
    count_sentences(text)
    assert time.process_time() - start < 20
