"""C4's rules over a text column: by kernel, and by the readable reference where a row is not for the kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.columns import utf8
from transforms.kernels import c4
from transforms.kernels.sentences import UNDONE, count_sentences
from transforms.text.c4_lines import CURLY_BRACKET, JAVASCRIPT, LOREM_IPSUM, LineRules, clean_page
from transforms.text.codepoint_tables import properties
from transforms.text.english_exceptions import exception_arrays

#: page faults and line faults by the numbers that the kernel gives them
PAGE_FAULTS = {c4.LOREM_PAGE: LOREM_IPSUM, c4.CURLY_PAGE: CURLY_BRACKET, c4.JAVASCRIPT_PAGE: JAVASCRIPT}
LINE_FAULTS = {
    c4.LONG_WORD: "too_long_word",
    c4.UNPUNCTUATED: "no_terminal_punct",
    c4.FEW_WORDS: "too_few_words",
    c4.JAVASCRIPT_LINE: "javascript",
    c4.POLICY_LINE: "policy",
}


@dataclass(frozen=True, slots=True)
class Pages:
    """What the rules made of a column of n pages.

    text: large_string [n], empty where a page is at fault. faults: uint8 [n], PAGE_FAULTS or 0. removed: int32
    [n, NUM_LINE_FAULTS], lines by LINE_FAULTS. sentences: int64 [n], counted no further than was asked for.
    """

    text: pa.Array
    faults: np.ndarray
    removed: np.ndarray
    sentences: np.ndarray


def clean_pages(text: pa.Array, rules: LineRules, enough: int) -> Pages:
    """`clean_page` of every row of a large_string column without nulls; sentences are counted up to `enough`."""
    data, offsets = utf8(text)
    rows, low, high = len(text), int(offsets[0]), int(offsets[-1])
    cleaned = np.empty(high - low, np.uint8)
    stops = np.empty(rows + 1, np.int64)
    faults = np.empty(rows, np.uint8)
    removed = np.zeros((rows, c4.NUM_LINE_FAULTS), np.int32)
    least = -1 if rules.min_words is None else rules.min_words
    table = properties()
    c4.clean_pages(
        data, offsets, *table, _bits(rules), least, rules.max_word_chars or 0, cleaned, stops, faults, removed
    )
    sentences = np.zeros(rows, np.int64)
    if enough:
        count_sentences(cleaned, stops, *table, exception_arrays(), rules.spacy_sentences, enough, sentences)
        faults[sentences == UNDONE] = c4.UNDONE
    left = pa.LargeStringArray.from_buffers(rows, pa.py_buffer(stops), pa.py_buffer(cleaned))
    undone = faults == c4.UNDONE
    if undone.any():
        mask = pa.array(undone)
        instead = clean_pages_by_reference(text.filter(mask), rules)
        left = pc.replace_with_mask(left, mask, instead.text)
        faults[undone], removed[undone], sentences[undone] = instead.faults, instead.removed, instead.sentences
    return Pages(left, faults, removed, sentences)


def clean_pages_by_reference(text: pa.Array, rules: LineRules) -> Pages:
    """As `clean_pages`, a page at a time; every sentence is counted."""
    fault_of = {name: number for number, name in PAGE_FAULTS.items()} | {None: c4.CLEAN}
    pages = [clean_page(page, rules) for page in text.to_pylist()]
    counted = [[page.removed.get(LINE_FAULTS.get(k, ""), 0) for k in range(c4.NUM_LINE_FAULTS)] for page in pages]
    return Pages(
        pa.array(["" if page.fault else page.text for page in pages], pa.large_string()),
        np.array([fault_of[page.fault] for page in pages], np.uint8),
        np.array(counted, np.int32).reshape(-1, c4.NUM_LINE_FAULTS),
        np.array([page.num_sentences for page in pages], np.int64),
    )


def _bits(rules: LineRules) -> int:
    """The kernel's number for a set of rules."""
    on = {
        c4.TERMINAL_PUNCT: rules.terminal_punct,
        c4.QUOTE_ENDS: "'" in rules.marks,
        c4.ANY_SCRIPT: rules.any_script,
        c4.DOTS_ARE_ELLIPSES: "..." in rules.ellipses,
        c4.SIGNS_ARE_ELLIPSES: "…" in rules.ellipses,
        c4.CITATIONS: rules.citations,
        c4.JAVASCRIPT: rules.javascript,
        c4.POLICY: rules.policy,
        c4.LOREM_IPSUM: rules.lorem_ipsum,
        c4.CURLY_BRACKET: rules.curly_bracket,
        c4.BY_LETTER: rules.by_letter,
        c4.WORDS_BEFORE_CITATIONS: rules.words_before_citations,
        c4.WHOLE_PAGE: rules.whole_page,
        c4.BLANK_LINES: rules.blank_lines,
    }
    return sum(bit for bit, is_on in on.items() if is_on)
