"""Marks and lines that are no part of a text: citation marks, cookie notices, legal notices, menus."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from transforms.base import Outcome, Params, Transform, Verdicts, append_columns, append_fields, partition
from transforms.registry import register
from transforms.text.blank import has_media, is_blank
from transforms.text.line_phrases import citation_marks, consists_of, holds
from transforms.text.segments import edited, per_row, picked, segments, without

REMOVED = pa.field("text.line_filter.removed", pa.int32())


class LineFilterParams(Params):
    """What to remove; every group has lists of our own for 29 languages (transforms/text/assets/line_*.txt)."""

    #: [1], [edit], [citation needed] and what they are in other wikis, out of the lines that hold them
    citations: bool = True
    #: lines that hold "we use cookies" and its like
    cookies: bool = True
    #: lines that hold "all rights reserved" and its like, or consist of names of legal pages ("Terms of use")
    policies: bool = True
    #: lines that consist of entries of menus and buttons: "Home | News | Log in", "Read more »"
    navigation: bool = True
    #: longer lines are left alone, citation marks aside: prose may speak of cookies
    max_chars: int = Field(default=200, ge=1)

    @model_validator(mode="after")
    def _removes_something(self) -> LineFilterParams:
        if not (self.citations or self.cookies or self.policies or self.navigation):
            raise ValueError("switch at least one group on; without any, nothing would be removed")
        return self


@register("text.line_filter", version=1)
class LineFilter(Transform[LineFilterParams]):
    """Removes citation marks, and short lines of cookie notices, legal notices and navigation.

    Lines that hold a media part stay. `text.line_filter.removed` says how many lines a row lost. A row that has no
    text left, and no media, is rejected with the text it came with; one that had none passes.
    """

    Params = LineFilterParams
    reasons = frozenset({"no_lines_left"})
    edits_text = True

    def setup(self) -> None:
        params = self.params
        whole = [name for name, on in (("navigation", params.navigation), ("policy_names", params.policies)) if on]
        held = [name for name, on in (("cookies", params.cookies), ("policies", params.policies)) if on]
        self._patterns = [*consists_of(*whole), *holds(*held)]
        self._citations = citation_marks() if params.citations else None

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, [REMOVED])

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        text = batch.column("text")
        found = segments(text)
        gone = np.flatnonzero(~found.media & (found.chars <= self.params.max_chars))
        lines = pc.utf8_trim_whitespace(picked(text, found.row[gone], found.spans[gone]))
        matched = np.zeros(len(gone), bool)
        for pattern in self._patterns:
            matched |= pc.match_substring_regex(lines, pattern).to_numpy(zero_copy_only=False)
        gone = gone[matched]
        left = without(text, found.row[gone], found.spans[gone])
        if self._citations is not None:
            marked = pc.match_substring_regex(left, self._citations)
            if pc.any(marked).as_py():
                unmarked = pc.replace_substring_regex(left.filter(marked), self._citations, "")
                left = pc.replace_with_mask(left, marked, unmarked)
        counts = per_row(batch.num_rows, found.row[gone])
        counted = append_columns(batch, [(REMOVED, pa.array(counts, pa.int32()))])
        emptied = pc.and_(is_blank(edited(counted, left)), pc.invert(pc.or_(is_blank(batch), has_media(batch))))
        reasons = pc.if_else(emptied, "no_lines_left", pa.scalar(None, pa.string()))
        details = [f"lines removed: {count}" for count in counts.tolist()]
        return partition(
            edited(counted, left, reasons), Verdicts(reasons, pc.if_else(emptied, pa.array(details), None))
        )
