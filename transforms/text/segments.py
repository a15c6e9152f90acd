"""Lines and paragraphs of a text column: what line-level steps look at, and how they take some of them out.

A line ends at \\n (text.normalize makes every line end that). A paragraph is a run of lines between blank ones. Lines
of white space alone are blank: no step counts them.

The normal form in which segments are compared: case folded (str.casefold), runs of white space as one space, none at
the ends; with `one_number` every run of \\p{N} is "0". Accents and punctuation are differences, and so are spellings
that only NFC makes equal: text.normalize comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import regex

from schemas.sample import SENTINEL
from transforms.columns import utf8
from transforms.kernels import segments as kernels
from transforms.text.codepoint_tables import case_folds, properties
from transforms.text.words import split_whitespace

Unit = Literal["line", "paragraph"]

_NUMBER = regex.compile(r"\p{N}+")


@dataclass(frozen=True, slots=True)
class Segments:
    """The segments of a batch that are not blank, in order; parallel arrays, one entry a segment.

    row: int64 [n] · spans: int64 [n, 2], bytes of the row's text, line ends included · chars: int32 [n], without white
    space around them · words: int32 [n] (transforms.text.words.split_whitespace) · uppers, digits: int32 [n],
    characters that are str.isupper, str.isdigit · length: int32 [n], characters of the lines, white space included ·
    keys: uint64 [n, 2], equal for equal normal forms · media: bool [n], holds a media part.
    """

    row: np.ndarray
    spans: np.ndarray
    chars: np.ndarray
    words: np.ndarray
    uppers: np.ndarray
    digits: np.ndarray
    length: np.ndarray
    keys: np.ndarray
    media: np.ndarray


def segments(text: pa.Array, unit: Unit = "line", *, one_number: bool = False) -> Segments:
    """The segments of a large_string column without nulls."""
    tables = (*properties(), *case_folds())
    row, spans, counts, keys, media = kernels.segments(*utf8(text), unit == "paragraph", one_number, *tables)
    chars, words, uppers, digits, length = counts
    return Segments(row, spans, chars, words, uppers, digits, length, keys, media)


def reference_segments(text: str, unit: Unit) -> list[tuple[int, int, str]]:
    """(first byte, last byte, text without white space around it) of the segments of one text: the kernel's oracle."""
    found: list[tuple[int, int, str]] = []
    at, is_open = 0, False
    size = len(text.encode())
    for line in text.split("\n"):
        stop = min(at + len(line.encode()) + 1, size)
        if not line.strip():
            is_open = False
        elif is_open and unit == "paragraph":
            begin, _, before = found[-1]
            found[-1] = (begin, stop, f"{before}\n{line}")
        else:
            found.append((at, stop, line))
            is_open = True
        at = stop
    return [(start, stop, held.strip()) for start, stop, held in found]


def normal_form(segment: str, *, one_number: bool = False) -> str:
    """A segment as it is compared."""
    if one_number:
        segment = _NUMBER.sub("0", segment)
    return " ".join(segment.split()).casefold()


def count_words(segment: str) -> int:
    """Words of a segment; a media part is none, and parts words."""
    return len(split_whitespace(segment.replace(SENTINEL, " ")))


def is_repeat(found: Segments) -> np.ndarray:
    """Mask of the segments whose normal form came earlier in their row."""
    hi, lo = found.keys.T.copy()
    with np.errstate(over="ignore"):
        lo ^= found.row.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    firsts = kernels.first_of_equal(hi, lo, np.empty(len(hi), np.int64))
    repeated = np.ones(len(hi), bool)
    repeated[firsts] = False
    return repeated


def without(text: pa.Array, row: np.ndarray, spans: np.ndarray) -> pa.Array:
    """The texts without some spans; `row`, int64 [n], and each row's spans, int64 [n, 2], ascend.

    No blank lines pile up where a span goes (kernels.segments.cut).
    """
    if not len(row):
        return text
    data, offsets = utf8(text)
    bounds = np.searchsorted(row, np.arange(len(text) + 1))
    left, ends = kernels.cut(data, offsets, bounds, np.ascontiguousarray(spans, np.int64))
    return pa.Array.from_buffers(text.type, len(text), [None, pa.py_buffer(ends), pa.py_buffer(left)])


def picked(text: pa.Array, row: np.ndarray, spans: np.ndarray) -> pa.Array:
    """Some spans of the texts, each as a text: `row`, int64 [n], spans, int64 [n, 2]."""
    data, offsets = utf8(text)
    begins, ends = (np.ascontiguousarray(offsets[row] + spans[:, side]) for side in (0, 1))
    gathered, bounds = kernels.gather(data, begins, ends)
    return pa.Array.from_buffers(text.type, len(row), [None, pa.py_buffer(bounds), pa.py_buffer(gathered)])


def per_row(num_rows: int, row: np.ndarray, weights: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
    """How many entries each row has, or the sum of their weights: int64 [rows]."""
    return np.bincount(row, weights, num_rows).astype(np.int64)


def edited(batch: pa.RecordBatch, text: pa.Array, reasons: pa.Array | None = None) -> pa.RecordBatch:
    """The batch with new texts; a row that has a reason keeps the text it came with, for the ledger."""
    at = batch.schema.get_field_index("text")
    if reasons is not None and reasons.null_count < len(reasons):
        text = pc.if_else(pc.is_valid(reasons), batch.column(at), text)
    return batch.set_column(at, batch.schema.field(at), text)
