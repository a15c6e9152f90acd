"""C4's line rules (Raffel et al. 2020, arXiv 1910.10683, section 2.2), as four implementations apply them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from schemas.sample import SENTINEL
from transforms.text.sentences import count_sentences, count_sentences_spacy, ends_sentence
from transforms.text.words import split_whitespace

LOREM_IPSUM = "lorem_ipsum"
CURLY_BRACKET = "curly_bracket"
JAVASCRIPT = "javascript"

_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


@dataclass(frozen=True, slots=True)
class LineRules:
    """One resolved set of C4 rules; None and False switch a rule off.

    `marks`: what a line may end in; `any_script`: or as any script ends a sentence. `ellipses`: endings that do not
    count although they end in a mark. `by_letter`: letters of unspaced scripts count as words. `whole_page`: page
    faults are looked for before any line is removed, and "javascript" is one, as in Dolma. `blank_lines`: keeps blank
    lines and the white space around lines, as DCLM does. `words_before_citations`: words are counted with citation
    marks, and a line that ends in the space before one is not punctuated, as in datatrove.
    """

    min_words: int | None
    max_word_chars: int | None
    terminal_punct: bool
    marks: tuple[str, ...]
    any_script: bool
    ellipses: tuple[str, ...]
    citations: bool
    javascript: bool
    policy: bool
    lorem_ipsum: bool
    curly_bracket: bool
    by_letter: bool
    words_before_citations: bool
    whole_page: bool
    blank_lines: bool
    spacy_sentences: bool


@dataclass(frozen=True, slots=True)
class Page:
    """What the rules left of a page: its text, its sentences, and how many lines each rule removed; or a page fault."""

    text: str
    num_sentences: int
    fault: str | None
    removed: dict[str, int]


def clean_page(text: str, rules: LineRules) -> Page:
    """Applies the rules line by line.

    A line that holds a media sentinel survives every line rule whole: without it the part would be lost, and the words
    beside a picture are most often about it. Page rules look at such lines like at any other.
    """
    removed: dict[str, int] = {}
    if rules.whole_page and (fault := _page_fault(text, rules)):
        return Page(text, 0, fault, removed)
    kept: list[str] = []
    num_sentences = 0
    for raw in text.split("\n") if rules.blank_lines else text.splitlines():
        line, fault, page_fault = _judge_line(raw, rules)
        if page_fault:
            return Page(text, 0, page_fault, removed)
        if fault and SENTINEL not in line:
            removed[fault] = removed.get(fault, 0) + 1
            continue
        kept.append(line)
        num_sentences += _sentences(line, rules)
    return Page("\n".join(kept).strip(), num_sentences, None, removed)


def _page_fault(text: str, rules: LineRules) -> str | None:
    """Dolma looks for these anywhere in the page."""
    lowered = text.lower()
    if rules.curly_bracket and "{" in text:
        return CURLY_BRACKET
    if rules.lorem_ipsum and "lorem ipsum" in lowered:
        return LOREM_IPSUM
    return JAVASCRIPT if rules.javascript and "javascript" in lowered else None


def _judge_line(raw: str, rules: LineRules) -> tuple[str, str | None, str | None]:
    """(the edited line, why it goes, why the page goes). Page rules see only lines that got so far, as published."""
    line = raw if rules.blank_lines else raw.strip()
    visible = line.replace(SENTINEL, " ")
    split = split_whitespace if rules.by_letter else str.split
    words = split(visible)
    max_chars = rules.max_word_chars
    if max_chars is not None and len(visible) > max_chars and any(len(word) > max_chars for word in words):
        return line, "too_long_word", None
    if rules.citations:
        line, visible = _CITATION.sub("", line), _CITATION.sub("", visible)
    if rules.blank_lines and not line:
        return line, None, None
    fault = None
    end = visible if rules.words_before_citations else visible.rstrip()
    if rules.terminal_punct and not _is_punctuated(end, rules):
        fault = "no_terminal_punct"
    if rules.min_words is not None and fault is None:
        counted = words if rules.words_before_citations else split(visible)
        fault = "too_few_words" if len(counted) < rules.min_words else None
    if fault and SENTINEL not in line:
        return line, fault, None
    lowered = visible.lower()
    if rules.lorem_ipsum and "lorem ipsum" in lowered:
        return line, None, LOREM_IPSUM
    if rules.javascript and "javascript" in lowered:
        return line, JAVASCRIPT, None
    if rules.curly_bracket and "{" in visible:
        return line, None, CURLY_BRACKET
    if rules.policy and any(phrase in lowered for phrase in _POLICY):
        return line, "policy", None
    return line, fault, None


def _is_punctuated(line: str, rules: LineRules) -> bool:
    if line.endswith(rules.ellipses):
        return False
    return line.endswith(rules.marks) or (rules.any_script and ends_sentence(line))


def _sentences(line: str, rules: LineRules) -> int:
    visible = line.replace(SENTINEL, " ")
    return count_sentences_spacy(visible) if rules.spacy_sentences else count_sentences(visible)
