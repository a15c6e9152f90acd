"""RefinedWeb's line corrections (Penedo et al. 2023, arXiv 2306.01116, appendix G.2), and DCLM's reproduction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from transforms.base import Outcome, Transform, Verdicts, append_columns, append_fields, partition
from transforms.registry import register
from transforms.signals import column_name, compute_signals
from transforms.text.blank import has_media, is_blank
from transforms.text.line_phrases import counts
from transforms.text.presets import PresetParams
from transforms.text.segments import Segments, edited, per_row, picked, segments, without

REMOVED = pa.field("text.refinedweb_lines.removed", pa.int32())
#: why a line went, in the order in which the rules are asked; the last is the one that edits lines
RULES = ("uppercase", "numeric", "counter", "too_few_words", "phrase")

_PHRASE_RULE = RULES.index("phrase")
#: counter lines are short; longer ones are not looked at
_COUNTER_CHARS = 60

_DCLM_WORDS = column_name("gopher.word_count", "dclm")
_PHRASE = re.compile(r"\s?items in cart|^\s*sign-in\s?|\s?read more(?:\.\.\.|…)(?=\s*$)", re.IGNORECASE)
_HAS_PHRASE = r"(?i)items in cart|^sign-in|read more(?:\.\.\.|…)$"


class RefinedWebLinesParams(PresetParams):
    """The rules' constants; null, or false, switches one off. All presets share them; they differ in what counts as
    removed.

    - paper: all words of the lines that a rule took or edited, of the page's words (parted by white space; letters of
      unspaced scripts are words).
    - dclm (baselines_configs/dclm_baseline_refinedweb.yaml): the words (UAX #29) that the page has less than before.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {"dclm": {"removed_words": "difference"}}

    preset: Literal["paper", "dclm"] = "paper"
    #: of a line's characters, white space included: a line with a larger share of capitals goes
    max_upper_ratio: float | None = Field(default=0.5, ge=0, le=1)
    #: and one with a larger share of digits; a little under 1 means: nothing but digits
    max_digit_ratio: float | None = Field(default=0.999999, ge=0, le=1)
    #: "3 likes" and its like in 22 languages (transforms/text/assets/line_counters.txt)
    filter_counters: bool = True
    #: letters of unspaced scripts count as words (transforms.text.words)
    min_words_per_line: int | None = Field(default=2, ge=0)
    #: "items in cart", "Sign-in" before and "Read more..." after a line; what is left of it stays
    strip_phrases: bool = True
    #: longer lines are not looked at for phrases
    max_phrase_line_words: int = Field(default=10, ge=1)
    #: a page that loses a larger share of its words is rejected
    max_removed_word_ratio: float | None = Field(default=0.05, ge=0, le=1)
    removed_words: Literal["flagged", "difference"] = "flagged"


@register("text.refinedweb_lines", version=1)
class RefinedWebLines(Transform[RefinedWebLinesParams]):
    """Removes lines that are no sentences (capitals, digits, counters, single words), and what is no part of one.

    The detail says which rules took how many lines, and their words. Lines that hold a media part stay as they are.
    Blank lines are no lines. `text.refinedweb_lines.removed` says how many lines a row lost; a rejected row keeps the
    text it came with.
    """

    Params = RefinedWebLinesParams
    reasons = frozenset({"too_many_words_removed", "no_lines_left"})
    edits_text = True

    def setup(self) -> None:
        self._counters = counts("counters") if self.params.filter_counters else None

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, [REMOVED])

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        text = batch.column("text")
        found = segments(text)
        rule = self._judge(text, found)
        line, spans = _without_phrases(text, found, np.flatnonzero(rule == _PHRASE_RULE))
        whole = np.flatnonzero((rule >= 0) & (rule < _PHRASE_RULE))
        row = np.concatenate([found.row[whole], found.row[line]])
        spans = np.concatenate([found.spans[whole], spans])
        order = np.lexsort([spans[:, 0], row])
        left = without(text, row[order], spans[order])
        lost = np.concatenate([whole, line[(spans[len(whole) :] == found.spans[line]).all(axis=1)]])
        counted = pa.array(per_row(batch.num_rows, found.row[lost]), pa.int32())
        batch = append_columns(batch, [(REMOVED, counted)])
        verdicts = self._verdicts(batch, left, found, rule)
        return partition(edited(batch, left, verdicts.arrays()[0]), verdicts)

    def _judge(self, text: pa.Array, found: Segments) -> np.ndarray:
        """The first rule that takes or edits each line, by its place in RULES; -1: none does."""
        params = self.params
        none = np.zeros(len(found.row), bool)
        tests = dict.fromkeys(RULES, none)
        if params.max_upper_ratio is not None:
            tests["uppercase"] = found.uppers > params.max_upper_ratio * found.length
        if params.max_digit_ratio is not None:
            tests["numeric"] = found.digits > params.max_digit_ratio * found.length
        if self._counters is not None:
            short = (found.digits > 0) & (found.chars <= _COUNTER_CHARS)
            tests["counter"] = _matching(text, found, short, self._counters)
        if params.min_words_per_line is not None:
            tests["too_few_words"] = found.words < params.min_words_per_line
        if params.strip_phrases:
            short = found.words <= params.max_phrase_line_words
            tests["phrase"] = _matching(text, found, short, _HAS_PHRASE)
        rule = np.select([tests[name] for name in RULES], list(range(len(RULES))), -1)
        rule[found.media] = -1
        return rule

    def _verdicts(self, batch: pa.RecordBatch, left: pa.Array, found: Segments, rule: np.ndarray) -> Verdicts:
        flagged = rule >= 0
        total = per_row(batch.num_rows, found.row, found.words)
        removed = per_row(batch.num_rows, found.row[flagged], found.words[flagged])
        touched = np.bincount(found.row[flagged], minlength=batch.num_rows) > 0
        if self.params.removed_words == "difference":
            mask = pa.array(touched)
            before = _dclm_words(batch.column("text").filter(mask))
            total[touched], removed[touched] = before, before - _dclm_words(left.filter(mask))
        reasons = np.full(batch.num_rows, None, object)
        details = np.full(batch.num_rows, None, object)
        limit = self.params.max_removed_word_ratio
        empty = is_blank(edited(batch, left)).to_numpy(zero_copy_only=False)
        media = has_media(batch).to_numpy(zero_copy_only=False)
        for at in np.flatnonzero(touched).tolist():
            if limit is not None and removed[at] > limit * total[at]:
                reasons[at] = "too_many_words_removed"
            elif empty[at] and not media[at]:
                reasons[at] = "no_lines_left"
            if reasons[at] is not None:
                first, last = np.searchsorted(found.row, [at, at + 1])
                by_rule = _by_rule(rule[first:last], found.words[first:last])
                details[at] = f"words removed {removed[at]} of {total[at]}; lines: {by_rule}"
        return Verdicts(reasons.tolist(), details.tolist())


def _matching(text: pa.Array, found: Segments, chosen: np.ndarray, pattern: str) -> np.ndarray:
    """Mask of the chosen lines that match."""
    at = np.flatnonzero(chosen)
    lines = pc.utf8_trim_whitespace(picked(text, found.row[at], found.spans[at]))
    matched = np.zeros(len(chosen), bool)
    matched[at] = pc.match_substring_regex(lines, pattern).to_numpy(zero_copy_only=False)
    return matched


def _without_phrases(text: pa.Array, found: Segments, lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(line int64 [n], spans int64 [n, 2]) of the phrases in some lines; a line with nothing else in it goes whole."""
    line: list[int] = []
    spans: list[tuple[int, int]] = []
    held = picked(text, found.row[lines], found.spans[lines]).to_pylist()
    for at, words in zip(lines.tolist(), held, strict=True):
        begin, end = found.spans[at].tolist()
        parts = [(begin, end)]
        if _PHRASE.sub("", words).strip():
            sides = [match.span() for match in _PHRASE.finditer(words)]
            parts = [(begin + len(words[:a].encode()), begin + len(words[:b].encode())) for a, b in sides]
        line += [at] * len(parts)
        spans += parts
    return np.asarray(line, np.int64), np.asarray(spans, np.int64).reshape(-1, 2)


def _dclm_words(text: pa.Array) -> np.ndarray:
    """Words as DCLM counts them, int64 [rows]."""
    batch = pa.RecordBatch.from_arrays([text], ["text"])
    return compute_signals(batch, [_DCLM_WORDS]).column(_DCLM_WORDS).to_numpy(zero_copy_only=False).astype(np.int64)


def _by_rule(rule: np.ndarray, words: np.ndarray) -> str:
    """For example "2 uppercase (5 words), 1 counter (2 words)"."""
    told = []
    for at, name in enumerate(RULES):
        if (rule == at).any():
            told.append(f"{np.count_nonzero(rule == at)} {name} ({words[rule == at].sum()} words)")
    return ", ".join(told)
