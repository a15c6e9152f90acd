"""Lines and paragraphs that recur across documents: boilerplate, and text that was published before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import Field, model_validator

from transforms.base import Verdicts
from transforms.dedup.spans import SpanDedup, SpanKeys
from transforms.registry import register
from transforms.text.blank import is_blank
from transforms.text.presets import PresetParams
from transforms.text.segments import Segments, Unit, count_words, segments
from transforms.text.url_block_lists import parse_url


class LineDedupAcrossParams(PresetParams):
    """Which lines recur too often, and what becomes of them.

    - obelics (Laurençon et al. 2023, arXiv 2306.16527): lines that are in more than two documents of a host are removed
      from all of them.
    - ccnet (Wenzek et al. 2020, arXiv 1911.00359; its paragraphs are lines): the first occurrence in the corpus stays,
      as in its one-pass `deduplicate` (its two-pass one takes the first too: keep none, max_count 1); numbers are no
      difference. CCNet drops accents and punctuation from its normal form besides.
    - edges: headers and footers, which are among the first or last lines of more than two documents of a host.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ccnet": {"scope": "corpus", "keep": "first", "max_count": None, "ignore_numbers": True},
        "edges": {"position": "edges"},
    }

    preset: Literal["obelics", "ccnet", "edges"] = "obelics"
    unit: Unit = "line"
    #: documents of one host are compared (rows without a URL that has one are left alone), or all of them
    scope: Literal["host", "corpus"] = "host"
    #: none: a line that is in more than `max_count` documents goes everywhere; first: every line stays where it comes
    #: first in canonical order, and `max_count` is null
    keep: Literal["none", "first"] = "none"
    max_count: int | None = Field(default=2, ge=1)
    #: edges: only the first and last `edge_lines` lines (or paragraphs) of a document are compared
    position: Literal["any", "edges"] = "any"
    edge_lines: int = Field(default=5, ge=1)
    #: shorter lines are left alone; letters of unspaced scripts count as words (transforms.text.words)
    min_words: int = Field(default=1, ge=1)
    min_chars: int = Field(default=1, ge=1)
    #: every number counts as 0: "Page 3 of 7" is "Page 12 of 40"
    ignore_numbers: bool = False
    #: a document that lost lines and has fewer words then is rejected
    min_words_left: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _one_rule(self) -> LineDedupAcrossParams:
        if (self.keep == "first") != (self.max_count is None):
            raise ValueError("keep: first goes with max_count: null, and keep: none with a number of documents")
        return self


@register("text.line_dedup_across", version=1)
class LineDedupAcross(SpanDedup[LineDedupAcrossParams]):
    """Removes lines, or paragraphs, that occur in many documents of a host or of the corpus.

    Lines are compared in the normal form of transforms.text.segments. A line that holds a media part stays, and is not
    counted. `text.line_dedup_across.removed` says how many lines a row lost. Only rows that lost some, and have no
    media, are rejected, with the text they came with.
    """

    Params = LineDedupAcrossParams
    reasons = frozenset({"no_lines_left", "too_few_words_left"})

    @property
    def max_rows(self) -> int | None:
        return self.params.max_count

    def span_keys(self, batch: pa.RecordBatch) -> SpanKeys:
        params = self.params
        found = segments(batch.column("text"), params.unit, one_number=params.ignore_numbers)
        chosen = ~found.media & (found.words >= params.min_words) & (found.chars >= params.min_chars)
        if params.position == "edges":
            chosen &= _at_edges(found, batch.num_rows, params.edge_lines)
        keys = found.keys
        if params.scope == "host":
            hosts, known = _hosts(batch.column("url"))
            chosen &= known[found.row]
            keys = keys ^ hosts[found.row]
        start, stop = found.spans[chosen].astype(np.uint32).T
        return SpanKeys(found.row[chosen].astype(np.uint32), start, stop, keys[chosen])

    def judge(self, batch: pa.RecordBatch, num_spans: np.ndarray) -> Verdicts:
        reasons = np.full(batch.num_rows, None, object)
        details = np.full(batch.num_rows, None, object)
        blank = is_blank(batch).to_numpy(zero_copy_only=False)
        media = pc.list_value_length(batch.column("media")).to_numpy()
        text = batch.column("text")
        for row in np.flatnonzero((num_spans > 0) & (media == 0)).tolist():
            if blank[row]:
                reasons[row] = "no_lines_left"
                details[row] = f"{num_spans[row]} removed"
            elif self.params.min_words_left > 1:
                count = count_words(text[row].as_py())
                if count < self.params.min_words_left:
                    reasons[row] = "too_few_words_left"
                    details[row] = f"{num_spans[row]} removed; words {count} < {self.params.min_words_left}"
        return Verdicts(reasons.tolist(), details.tolist())


def _at_edges(found: Segments, num_rows: int, edge: int) -> np.ndarray:
    """Mask of the segments among the first or last `edge` ones of their row."""
    counts = np.bincount(found.row, minlength=num_rows)
    place = np.arange(len(found.row)) - np.repeat(np.cumsum(counts) - counts, counts)
    return (place < edge) | (place >= np.repeat(counts, counts) - edge)


def _hosts(urls: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(hash of each row's host, uint64 [rows, 2]; mask of the rows that have one)."""
    hashed = np.zeros((len(urls), 2), np.uint64)
    known = np.zeros(len(urls), bool)
    for row, url in enumerate(urls.to_pylist()):
        parsed = parse_url(url) if url else None
        if parsed is not None:
            digest = xxhash.xxh3_128_digest(parsed.host.encode())
            hashed[row] = np.frombuffer(digest, np.uint64)
            known[row] = True
    return hashed, known
