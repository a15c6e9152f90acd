"""Rows without text: a page that is empty is worthless, a picture without words is not."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from schemas.sample import SENTINEL
from transforms.base import Verdicts

NO_TEXT = "no_text"


def is_blank(batch: pa.RecordBatch) -> pa.BooleanArray:
    """Whether each row's text is only white space and media sentinels."""
    text = pc.replace_substring(batch.column("text"), SENTINEL, "")
    return pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(text)), 0)


def has_media(batch: pa.RecordBatch) -> pa.BooleanArray:
    """Whether each row has media parts."""
    return pc.greater(pc.list_value_length(batch.column("media")), 0)


def reject_blank(batch: pa.RecordBatch, verdicts: Verdicts) -> Verdicts:
    """The verdicts, with `no_text` for rows that have neither text nor media, and none for those of media alone."""
    reasons, details, matches = verdicts.arrays()
    blank = is_blank(batch)
    instead = pc.if_else(has_media(batch), pa.scalar(None, pa.string()), NO_TEXT)
    nothing = pa.scalar(None, pa.string())
    return Verdicts(pc.if_else(blank, instead, reasons), pc.if_else(blank, nothing, details), matches)
