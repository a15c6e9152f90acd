"""Passages that recur, wherever they begin and end: quotations, copied sections, licence texts, pages in pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from schemas.sample import SENTINEL
from transforms.base import Verdicts, append_columns, append_fields
from transforms.columns import utf8
from transforms.dedup.shingles import mix
from transforms.dedup.spans import SpanDedup, SpanKeys, with_blanks
from transforms.kernels.windows import fingerprints, windows
from transforms.registry import register
from transforms.text.codepoint_tables import properties
from transforms.text.presets import PresetParams
from transforms.text.segments import count_words, per_row, without
from transforms.text.words import split_unspaced

_TOKEN = re.compile(rf"[^\s{SENTINEL}]+|{SENTINEL}")


class SubstringDedupParams(PresetParams):
    """Which passages recur, and what becomes of them.

    - refinedweb (Penedo et al. 2023, arXiv 2306.01116, section 3.3 and appendix G.3; ExactSubstr of Lee et al. 2022,
      arXiv 2107.06499): spans of 50 tokens that occur again are cut, documents with fewer than 20 characters left go.
      Their tokens are GPT-2's, about three quarters of an English word each: `min_tokens: 38` is as long a text.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {"refinedweb": {"min_tokens": 50, "min_chars_left": 20}}

    preset: Literal["refinedweb"] = "refinedweb"
    #: shorter repeats are left alone. A token is what stands between white space; in scripts without it, a letter
    min_tokens: int = Field(default=50, ge=2, le=100_000)
    #: first: a passage stays where it comes first in canonical order; none: it goes everywhere
    keep: Literal["first", "none"] = "first"
    #: remove: passages are cut out; report: the text stays as it is, and `text.substring_dedup.repeated_ratio` says
    #: what share of it would have gone, for select.range to decide
    action: Literal["remove", "report"] = "remove"
    #: a document that lost passages and has fewer characters, or words, then is rejected
    min_chars_left: int = Field(default=20, ge=1)
    min_words_left: int = Field(default=1, ge=1)


@register("text.substring_dedup", version=1)
class SubstringDedup(SpanDedup[SubstringDedupParams]):
    """Removes passages of `min_tokens` tokens or more that occur elsewhere, in the same document or another.

    Tokens are equal that have the same characters; the white space between them is no matter. All that two places have
    in common goes, from the first token to the last: every run of `min_tokens` that recurs is found, and they overlap.
    A passage does not go over a media part. `text.substring_dedup.removed` says how many passages a row lost, and
    `.repeated_ratio` what share of its characters recurs (the first occurrence not counted when it stays). Only rows
    that lost some, and have no media, are rejected, with the text they came with.
    """

    Params = SubstringDedupParams
    reasons = frozenset({"no_text_left", "too_few_chars_left", "too_few_words_left"})
    by_occurrence = True

    @property
    def max_rows(self) -> int | None:
        return 1 if self.params.keep == "none" else None

    @property
    def proof(self) -> bool:
        return False

    @property
    def _width(self) -> int:
        """Tokens of a fingerprint: of half the length, they are every 13th run of tokens when the length is 50."""
        return (self.params.min_tokens + 1) // 2

    def span_keys(self, batch: pa.RecordBatch) -> SpanKeys:
        row, spans, hashes = fingerprints(
            *utf8(batch.column("text")), self.params.min_tokens, self._width, *properties()
        )
        start, stop = spans.T.copy()
        with np.errstate(over="ignore"):
            return SpanKeys(row, start, stop, np.stack([hashes, mix(hashes)], axis=1))

    def proven(self, batch: pa.RecordBatch, shared: np.ndarray) -> SpanKeys:
        text, length = utf8(batch.column("text")), self.params.min_tokens
        row, spans, keys = windows(*text, length, self._width, np.unique(shared[:, 0]), *properties())
        start, stop = spans.T.copy()
        return SpanKeys(row, start, stop, keys)

    def repeated_field(self) -> pa.Field:
        """The column that says what share of each row's characters recurs."""
        return pa.field(f"{self.name}.repeated_ratio", pa.float64())

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return super().output_schema(append_fields(schema, [self.repeated_field()]))

    def edit(
        self, batch: pa.RecordBatch, row: np.ndarray, spans: np.ndarray
    ) -> tuple[pa.RecordBatch, pa.Array, np.ndarray]:
        text = batch.column("text")
        ratio = pa.array(covered_ratio(text, row, spans), pa.float64())
        batch = append_columns(batch, [(self.repeated_field(), ratio)])
        if self.params.action == "report":
            return batch, text, np.zeros(batch.num_rows, np.int64)
        return batch, without(text, row, with_blanks(text, row, spans)), per_row(batch.num_rows, row)

    def judge(self, batch: pa.RecordBatch, num_spans: np.ndarray) -> Verdicts:
        reasons = np.full(batch.num_rows, None, object)
        details = np.full(batch.num_rows, None, object)
        media = pc.list_value_length(batch.column("media")).to_numpy()
        text = batch.column("text")
        for row in np.flatnonzero((num_spans > 0) & (media == 0)).tolist():
            left = text[row].as_py().strip()
            if not left:
                reasons[row] = "no_text_left"
                details[row] = f"{num_spans[row]} removed"
            elif len(left) < self.params.min_chars_left:
                reasons[row] = "too_few_chars_left"
                details[row] = f"{num_spans[row]} removed; chars {len(left)} < {self.params.min_chars_left}"
            elif self.params.min_words_left > 1 and (count := count_words(left)) < self.params.min_words_left:
                reasons[row] = "too_few_words_left"
                details[row] = f"{num_spans[row]} removed; words {count} < {self.params.min_words_left}"
        return Verdicts(reasons.tolist(), details.tolist())


def reference_tokens(text: str) -> list[list[tuple[int, int, str]]]:
    """(first byte, last byte, characters) of the tokens of a text, in runs between media parts: the kernels' oracle."""
    runs: list[list[tuple[int, int, str]]] = [[]]
    for match in _TOKEN.finditer(text):
        if match[0] == SENTINEL:
            runs.append([])
            continue
        at = len(text[: match.start()].encode())
        for piece in split_unspaced([match[0]]):
            runs[-1].append((at, at + len(piece.encode()), piece))
            at += len(piece.encode())
    return runs


def covered_ratio(text: pa.Array, row: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Share of each text's characters that spans of its bytes cover, float64 [rows]; 0 of an empty one."""
    data, offsets = utf8(text)
    held = data[offsets[0] : offsets[-1]]
    ends = offsets - offsets[0]
    change = np.zeros(len(held) + 1, np.int32)
    np.add.at(change, ends[row] + spans[:, 0], 1)
    np.add.at(change, np.minimum(ends[row] + spans[:, 1], ends[row + 1]), -1)
    first = held & 0xC0 != 0x80  # of a character's bytes
    totals = np.concatenate([np.zeros((1, 2), np.int64), np.cumsum([first, first & (np.cumsum(change)[:-1] > 0)], 1).T])
    chars, covered = (totals[ends[1:]] - totals[ends[:-1]]).T
    ratio: np.ndarray = covered / np.maximum(chars, 1)
    return ratio
