"""C4's cleaning: keep the lines that read like sentences, and drop pages that are left with too few."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from transforms.base import Outcome, Transform, Verdicts, partition
from transforms.registry import register
from transforms.text.blank import NO_TEXT, has_media, is_blank
from transforms.text.c4_lines import CURLY_BRACKET, JAVASCRIPT, LOREM_IPSUM, LineRules
from transforms.text.c4_pages import LINE_FAULTS, PAGE_FAULTS, clean_pages
from transforms.text.presets import PresetParams

_MARKS = (".", "?", "!", '"')


class C4QualityParams(PresetParams):
    """C4's rules (Raffel et al. 2020, arXiv 1910.10683, section 2.2) with the constants of four implementations.

    - paper: the reference in TFDS (c4_utils.clean_page): 5 words a line, 3 sentences a page.
    - datatrove (0.10.1 C4QualityFilter): 3 words, 5 sentences; a line may end in ' too; words are counted before
      citation marks are removed, a run of letters of an unspaced script as one; sentences by spaCy's rules.
    - dclm (baselines_configs/c4.yaml): 5 words, 3 sentences; a line may end in …, but that is an ellipsis; blank
      lines stay. Its deduplication and word list are steps of their own.
    - dolma (tagger c4_v2 with configs/c4-replication): 3 words; ellipses count as punctuation; "javascript" costs the
      page; no rule on sentences, long words, citations and policy lines.

    null, or false, switches a rule off. FineWeb keeps lines without terminal punctuation
    (`filter_no_terminal_punct: false` with preset datatrove).
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "datatrove": {"min_words_per_line": 3, "min_sentences": 5, "strict_marks": True},
        "dolma": {
            "min_words_per_line": 3,
            "min_sentences": None,
            "max_word_chars": None,
            "remove_citations": False,
            "filter_policy": False,
        },
    }

    preset: Literal["paper", "datatrove", "dclm", "dolma"] = "paper"
    #: letters of unspaced scripts count as words (transforms.text.words), but not for datatrove
    min_words_per_line: int | None = Field(default=5, ge=0)
    #: of what is left of the page
    min_sentences: int | None = Field(default=3, ge=0)
    #: a line with a longer word is removed
    max_word_chars: int | None = Field(default=1000, ge=1)
    filter_no_terminal_punct: bool = True
    #: false: the terminal marks of all scripts (。！？؟। and others) end a line too, and Thai and Lao lines need none;
    #: without that C4's rules remove every line of many languages. English is judged alike. true, as for datatrove: the
    #: published marks
    strict_marks: bool = False
    #: [1], [edit] and [citation needed], from the lines that stay
    remove_citations: bool = True
    filter_javascript: bool = True
    filter_policy: bool = True
    filter_lorem_ipsum: bool = True
    filter_curly_bracket: bool = True


@register("text.c4_quality", version=2)
class C4Quality(Transform[C4QualityParams]):
    """Removes lines from `text`, and rejects pages; a rejected row keeps the text it came with.

    The detail of `too_few_sentences` says which rules took how many lines. Lines that hold a media part stay. A row
    of media without any text passes.
    """

    Params = C4QualityParams
    reasons = frozenset({NO_TEXT, "no_lines_left", "too_few_sentences", LOREM_IPSUM, CURLY_BRACKET, JAVASCRIPT})
    edits_text = True

    def __init__(self, params: C4QualityParams) -> None:
        super().__init__(params)
        self._rules = _line_rules(params)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        text, blank = batch.column("text"), is_blank(batch)
        minimum = self.params.min_sentences
        pages = clean_pages(text, self._rules, minimum or 0)
        is_empty = pc.equal(pc.binary_length(pages.text), 0).to_numpy(zero_copy_only=False)
        too_few = pages.sentences < (minimum or 0)
        bad = (pages.faults != 0) | too_few | is_empty
        reasons = np.full(batch.num_rows, None, object)
        details = np.full(batch.num_rows, None, object)
        for row in np.flatnonzero(bad & ~blank.to_numpy(zero_copy_only=False)):
            removed = _describe(pages.removed[row])
            if pages.faults[row]:
                reasons[row] = PAGE_FAULTS[pages.faults[row]]
            elif too_few[row]:
                reasons[row] = "too_few_sentences"
                details[row] = f"num_sentences {pages.sentences[row]} < {minimum}{removed and '; ' + removed}"
            else:
                reasons[row], details[row] = "no_lines_left", removed
        for row in np.flatnonzero(pc.and_not(blank, has_media(batch)).to_numpy(zero_copy_only=False)):
            reasons[row] = NO_TEXT
        at = batch.schema.get_field_index("text")
        edited = pc.if_else(pc.or_(pa.array(bad), blank), text, pages.text)
        return partition(
            batch.set_column(at, batch.schema.field(at), edited), Verdicts(reasons.tolist(), details.tolist())
        )


def _describe(removed: np.ndarray) -> str:
    """For example "lines removed: 2 no_terminal_punct, 1 policy"; empty when there are none."""
    counted = sorted((why, int(removed[number])) for number, why in LINE_FAULTS.items() if removed[number])
    return f"lines removed: {', '.join(f'{count} {why}' for why, count in counted)}" if counted else ""


def _line_rules(params: C4QualityParams) -> LineRules:
    preset = params.preset
    return LineRules(
        min_words=params.min_words_per_line,
        max_word_chars=params.max_word_chars,
        terminal_punct=params.filter_no_terminal_punct,
        marks=(*_MARKS, "'") if preset == "datatrove" else _MARKS,
        any_script=not params.strict_marks,
        ellipses={"dclm": ("...", "…"), "dolma": ()}.get(preset, ("...",)),
        citations=params.remove_citations,
        javascript=params.filter_javascript,
        policy=params.filter_policy,
        lorem_ipsum=params.filter_lorem_ipsum,
        curly_bracket=params.filter_curly_bracket,
        by_letter=preset != "datatrove",
        words_before_citations=preset == "datatrove",
        whole_page=preset == "dolma",
        blank_lines=preset == "dclm",
        spacy_sentences=preset == "datatrove",
    )
