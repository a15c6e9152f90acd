"""Signals by kernel against the readable functions: the same values, to the last bit, in every column."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import transforms.text.fineweb_quality
import transforms.text.gopher_quality
import transforms.text.gopher_repetition  # noqa: F401
from jobs.sample.texts import plant
from transforms.signals import _KERNELS, Computed, Document, compute_signals, register_kernel, resolve
from transforms.text import fused
from transforms.text.english import exceptions
from transforms.text.languages import shipped

COLUMNS = sorted(fused._MADE)
LANGUAGE_COLUMNS = [column for column in COLUMNS if ".language_" in column]


LANGS = [None, "en", "de", "zh", "fra_Latn", "th", "xx", "no", "sr-Cyrl", "ja"]


def differences(texts: list[str], columns: list[str] = COLUMNS, langs: list[str | None] | None = None) -> list[tuple]:
    """(column, text, by kernel, by reference) wherever they differ, NaN and null apart, 0 and 0.0 too."""
    langs = [LANGS[k % len(LANGS)] for k in range(len(texts))] if langs is None else langs
    computed = fused.compute(pa.array(texts, pa.large_string()), pa.array(langs, pa.string()), columns)
    assert not computed.undone.any()
    found = []
    for column, values in zip(columns, computed.columns, strict=True):
        signal, variant = resolve(column)
        assert values.type == signal.dtype
        for text, lang, got in zip(texts, langs, values.to_pylist(), strict=True):
            expected = signal.compute(Document(text, lang), variant)
            if repr(got) != repr(expected) and not (got is None and expected is None):
                found.append((column, text, got, expected))
    return found


# Pieces that rules look at, from every script treatment, and what could glue them wrongly.
PIECES = [
    *["the", "The", "THE", "of", "with", "have", "a", "b"],
    *["der", "und", "nicht", "的", "是", "の", "و", "på", "ikke", "и", "i", "le", "qu'une"],
    *["word", "Mr.", "e.g.", "don't", "I'm", "U.S.A.", "gonna", "no."],
    *["1", "42", "3.14", "1,000", "5km", "10am", "_", "__", "a_b"],
    *["x'y", "'", "’", '"', "(", ")", "-", "—", ":", ";"],
    *["\n", "\n\n", "\n\n\n", "\r\n", "\r", "\u2028", "\x85"],
    *["\x1c", "\v", " ", "  ", "\t", "\u00a0", "\u3000", "\u200b"],
    *["#", "…", "...", "....", ". . .", ". . . .", ".", "..", "!", "?"],
    *["•", "●", "‣", "*", "- ", "。", "，", "؟", "។", "៖"],
    *["中", "文字", "あ", "カタカナ", "ー", "ｶﾞ", "ไทย", "ก็", "ລາວ", "ខ្មែរ", "မြန်မာ", "한국어", "ㄱ", "々", "〇", "一"],
    *["é", "e\u0301", "\u0301", "\u200d", "\u200c", "\ufeff"],
    *["\u00ad", "👨\u200d👩\u200d👧", "🇩🇪", "☃", "א'ב", 'צה"ל', "שלום"],
    *["ı", "İ", "K", "ß", "ǅ", "Ⅷ", "²", "½", "٣", "१२"],
    *["µm", "ªº", "ⓐ", "˗", "\u0000", "\ufffc", "\ufffd", "\U0010ffff", "𝒜", "𠀀"],
    *["http://a.b/c?d=1", "a.b@c.org", "x=y", "a/b", "a,b", "A.B", "aB."],
    *["AB.", "[1]", "{", "}", "$5", "5%", ":)", "US$"],
]  # fmt: skip
pieces = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
spaced = st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join)
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
repetitive = st.tuples(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4), st.integers(1, 40)).map(
    lambda drawn: " ".join(drawn[0] * drawn[1])
)
few_letters = st.text("ab \n", max_size=120)
few_ideographs = st.text("中文。", max_size=80)
few_thai = st.text("กข่ \n", max_size=120)
lines = st.lists(st.one_of(pieces, st.just("same line")), max_size=12).map("\n".join)
texts = st.one_of(pieces, spaced, anything, repetitive, few_letters, few_ideographs, few_thai, lines)


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, min_size=1, max_size=5))
@example([""])
@example(["a b a b a", "a b c d e f g h i j k l " * 3])
@example(["x" * 300 + " " + "y" * 400 + " " + "x" * 500])
@example(["word " * 2000, "\n" * 3000, "." * 3000, "(" * 3000])
def test_any_text(drawn: list[str]) -> None:
    assert not differences(drawn)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(texts, st.sampled_from(LANGS)), min_size=1, max_size=6))
def test_any_text_in_any_language(drawn: list[tuple[str, str | None]]) -> None:
    assert not differences([text for text, _ in drawn], LANGUAGE_COLUMNS, [lang for _, lang in drawn])


def test_stop_words_of_every_language() -> None:
    column = "signal.gopher.language_stop_word_count.paper"
    for code, language in shipped().items():
        text = " ".join(language.stop_words)
        assert not differences([text], LANGUAGE_COLUMNS, [code])
        # The lists are written as words are cut: every word is found.
        found = resolve(column)[0].compute(Document(text, code), "paper")
        assert found == (len(language.stop_words) or None), code


def test_the_sample_corpus() -> None:
    assert not differences([record.body for record in plant(seed=17, scale=0.02) if isinstance(record.body, str)])


def test_every_exception_of_the_english_tokenizer() -> None:
    marks = ["", ".", ",", ":", ")", "'", "s"]
    chunks = [chunk + mark for chunk in sorted(exceptions()) for mark in marks]
    column = "signal.fineweb.newline_ratio.datatrove"
    # One line break a text, so that the ratio says how many words there are.
    assert not differences([f"{chunk}\n" for chunk in chunks], [column])
    assert not differences([" ".join(chunks)])


def test_a_slice_of_a_batch_is_measured_like_the_rows_alone() -> None:
    text = pa.array(["one", "two two", "", "drei drei drei"], pa.large_string()).slice(1, 2)
    assert fused.compute(text, pa.nulls(2), ["signal.gopher.word_count.dclm"]).columns[0].to_pylist() == [2, 0]


def test_bytes_that_are_no_utf8_are_left_to_the_reference() -> None:
    bad = [b"\xff", b"a\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe4\xb8", b"\xf0\x80\x80\x80", b"\x80"]
    good = ["é".encode(), b"a", "\U0010ffff\ue000\ud7ff".encode()]
    text = pa.array([*bad, *good], pa.large_binary()).view(pa.large_string())
    computed = fused.compute(text, pa.nulls(len(text)), ["signal.gopher.word_count.paper"])
    assert computed.undone.tolist() == [True] * len(bad) + [False] * len(good)


def test_rows_a_kernel_leaves_are_the_references(monkeypatch: pytest.MonkeyPatch) -> None:
    column = "signal.gopher.word_count.paper"
    monkeypatch.setitem(_KERNELS, column, _KERNELS.get(column))
    register_kernel([column], lambda text, *_: Computed([pa.array([7] * len(text))], np.array([False, True])))
    batch = pa.record_batch({"text": pa.array(["a b c", "a b c"], pa.large_string())})
    assert compute_signals(batch, [column]).column(column).to_pylist() == [7, 3]
    assert compute_signals(batch, [column], reference=True).column(column).to_pylist() == [3, 3]
