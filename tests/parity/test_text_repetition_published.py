"""Repetition: the values that three implementations give for the same texts, and their own unit tests' verdicts.

The shares of `PUBLISHED` were computed with datatrove 0.10.1 and Dolma themselves, and with DCLM's published logic.
"""

from __future__ import annotations

import pytest

from tests.conformance.batches import numbered
from transforms.registry import build, load_all
from transforms.signals import Document, column_name, compute_signals, resolve

load_all()

SIGNALS = [f"gopher.top_{n}_gram_char_ratio" for n in (2, 3, 4)] + [
    f"gopher.duplicate_{n}_gram_char_ratio" for n in (5, 6)
]
WORLD = "hello world hello world hello world"
FOX = "the quick brown fox jumps over one lazy dog near the river"
APPLE = "hello world hello\n world hello. apple world hello world hello world hello world"
FRANK = "I am Frank, you are Jhon. I am Frank. I am Frank you are Jhon"

# text -> variant -> top 2, 3 and 4-gram shares, duplicate 5 and 6-gram shares
PUBLISHED = {
    WORLD: {
        "datatrove": [0.9429, 0.9714, 1.3143, 0, 0],
        "dclm": [1, 1, 1.3333, 0, 0],
        "dolma": [1, 1, 1.3333, 0, 0],
    },
    FOX: {
        "datatrove": [0.1552, 0.2586, 0.3276, 0, 0],
        "dclm": [0, 0, 0, 0, 0],
        "dolma": [0.1702, 0.2766, 0.3404, 0, 0],
    },
    APPLE: {
        "datatrove": [0.6962, 0.8608, 0.8734, 0.3165, 0],
        "dclm": [0.7692, 0.9231, 0.9231, 0.9231, 0],
        "dolma": [0.7576, 0.9091, 0.9091, 0.2174, 0],
    },
    FRANK: {
        "datatrove": [0.1967, 0.4918, 0.3934, 0, 0],
        "dclm": [0.4773, 0.5455, 0.6818, 0.8182, 0.8182],
        "dolma": [0.1915, 0.1915, 0.2553, 0, 0],
    },
}


def value(signal: str, variant: str, text: str) -> float:
    return resolve(column_name(signal, variant))[0].compute(Document(text), variant)


@pytest.mark.parametrize("variant", ["datatrove", "dclm", "dolma"])
@pytest.mark.parametrize("text", PUBLISHED)
def test_published_shares(text: str, variant: str) -> None:
    assert [round(value(signal, variant, text), 4) for signal in SIGNALS] == PUBLISHED[text][variant]


@pytest.mark.parametrize("text", PUBLISHED)
def test_paper_is_read_as_dclm_does(text: str) -> None:
    assert [value(signal, "paper", text) for signal in SIGNALS] == [value(signal, "dclm", text) for signal in SIGNALS]


@pytest.mark.parametrize(
    ("text", "signal", "expected"),
    [
        ("Hello\nHello\n\n\n\nHello", "gopher.duplicate_line_ratio", 1),
        ("Hello, World.", "gopher.duplicate_line_char_ratio", 0),
        ("Hello, World.\nHello, World.\n\nHello", "gopher.duplicate_line_ratio", 2 / 3),
        ("Hello, World.\nHello, World.\n\nHello", "gopher.duplicate_line_char_ratio", 26 / 31),
        ("Hello, World.\n\nHello, World.\n\nHello, World.\nHello", "gopher.duplicate_paragraph_ratio", 2 / 3),
        ("Hello, World.\n\nHello, World.\n\nHello, World.\nHello", "gopher.duplicate_paragraph_char_ratio", 26 / 45),
        ("hello      world hello apple.... world hello\n world hello", "gopher.top_2_gram_char_ratio", 30 / 40),
        ("hello      world hello apple.... world hello\n world hello", "gopher.top_3_gram_char_ratio", 30 / 40),
        ("hello      world hello apple.... world hello\n world hello", "gopher.top_4_gram_char_ratio", 0),
        ("hello", "gopher.duplicate_5_gram_char_ratio", 0),
        ("a b a b a b ab cd ab cd ab cd abc def abc def", "gopher.top_2_gram_char_ratio", 12 / 30),
        ("a b a b a b abc def abc def ab cd ab cd ab cd", "gopher.top_2_gram_char_ratio", 12 / 30),
        (APPLE, "gopher.duplicate_5_gram_char_ratio", 60 / 65),
    ],
)
def test_dclm_unit_tests(text: str, signal: str, expected: float) -> None:
    assert value(signal, "dclm", text) == pytest.approx(expected, abs=1e-12)


def reason_for(text: str, preset: str) -> str | None:
    step = build("text.gopher_repetition", {"preset": preset})
    rejected = step.apply(compute_signals(numbered([{"text": text}]), step.signals())).rejected
    return rejected["reject.reason"][0].as_py() if rejected.num_rows else None


GANDALF = (
    "The wizard knocked on the round green door before anybody in the valley had finished breakfast that morning, and "
    "then he waited, leaning on his staff, while somebody inside looked everywhere for the key."
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I am your father.\n" * 4, "duplicate_lines"),  # dup_line_frac
        ("I am your father.\n\n" * 4, "duplicate_paragraphs"),  # dup_para_frac
        ("I am groot.\n\n" + "You are a wizard.\n\n" + "I am your father.\n\n" + f"{'x' * 30}.\n\n" * 2,
         "duplicate_paragraph_chars"),  # dup_para_char_frac
        ("I am groot.\n" + "You are a wizard.\n" + "I am your father.\n" + f"{'x' * 40}.\n" * 2,
         "duplicate_line_chars"),  # dup_line_char_frac
        ("I am Frank, I am Frank, I am Frank", "top_2_gram"),
        (FRANK, "top_3_gram"),
        ("I am a solo traveller " * 4 + GANDALF, "duplicate_5_grams"),  # duplicated_5_n_grams
        (GANDALF, None),
    ],
)  # fmt: skip
def test_datatrove_unit_tests(text: str, reason: str | None) -> None:
    assert reason_for(text, "datatrove") == reason


def test_dclm_keeps_what_repeats_nothing() -> None:
    assert reason_for("This is a complex sentence with unique words.\n Here is another one.", "dclm") is None
    assert reason_for("Repeat repeat repeat repeat.", "dclm") == "top_2_gram"
