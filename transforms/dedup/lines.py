"""Lines and paragraphs that recur across documents: boilerplate, and text that was published before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import Field, model_validator

from schemas.sample import SENTINEL
from transforms.base import Verdicts
from transforms.dedup.shingles import mix
from transforms.dedup.spans import SpanDedup, SpanKeys, with_blanks
from transforms.registry import register
from transforms.text.blank import is_blank
from transforms.text.presets import PresetParams
from transforms.text.segments import Segments, Unit, count_words, normal_form, segments
from transforms.text.sentences import sentence_spans
from transforms.text.url_block_lists import parse_url


class LineDedupAcrossParams(PresetParams):
    """Which lines recur too often, and what becomes of them.

    - obelics (Laurençon et al. 2023, arXiv 2306.16527): lines that are in more than two documents of a host are removed
      from all of them.
    - ccnet (Wenzek et al. 2020, arXiv 1911.00359; its paragraphs are lines): the first occurrence in the corpus stays,
      as in its one-pass `deduplicate` (its two-pass one takes the first too: keep none, max_count 1); numbers are no
      difference. CCNet drops accents and punctuation from its normal form besides.
    - edges: headers and footers, which are among the first or last lines of more than two documents of a host.
    - c4 (Raffel et al. 2020, arXiv 1910.10683, section 2.2): all but one of any three-sentence span that occurs more
      than once in the corpus are removed.
    - dolma (Soldaini et al. 2024, arXiv 2402.00159; its paragraphs are lines): the first occurrence stays. Dolma looks
      paragraphs up in a Bloom filter, by their bytes; here they are compared, so that none goes by mistake.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ccnet": {"scope": "corpus", "keep": "first", "max_count": None, "ignore_numbers": True},
        "edges": {"position": "edges"},
        "c4": {"scope": "corpus", "keep": "first", "max_count": None, "unit": "sentence", "consecutive": 3},
        "dolma": {"scope": "corpus", "keep": "first", "max_count": None},
    }

    preset: Literal["obelics", "ccnet", "edges", "c4", "dolma"] = "obelics"
    #: sentence: as transforms.text.sentences ends them, in any script
    unit: Unit | Literal["sentence"] = "line"
    #: so many lines (or paragraphs, sentences) in a row are compared as one; those that share some go together
    consecutive: int = Field(default=1, ge=1, le=100)
    #: documents of one host are compared (rows without a URL that has one are left alone), or all of them
    scope: Literal["host", "corpus"] = "host"
    #: none: a line that is in more than `max_count` documents goes everywhere; first: every line stays where it comes
    #: first in canonical order, and `max_count` is null
    keep: Literal["none", "first"] = "none"
    max_count: int | None = Field(default=2, ge=1)
    #: edges: only the first and last `edge_lines` lines (or paragraphs) of a document are compared
    position: Literal["any", "edges"] = "any"
    edge_lines: int = Field(default=5, ge=1)
    #: shorter lines (or runs of `consecutive` ones) are left alone; letters of unspaced scripts count as words
    #: (transforms.text.words)
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
        if params.unit == "sentence":
            found = sentences(batch.column("text"), one_number=params.ignore_numbers)
        else:
            found = segments(batch.column("text"), params.unit, one_number=params.ignore_numbers)
        found = runs_of(found, params.consecutive)
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

    def edit(
        self, batch: pa.RecordBatch, row: np.ndarray, spans: np.ndarray
    ) -> tuple[pa.RecordBatch, pa.Array, np.ndarray]:
        if self.params.unit == "sentence":
            spans = with_blanks(batch.column("text"), row, spans)
        return super().edit(batch, row, spans)

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


def runs_of(found: Segments, count: int) -> Segments:
    """Every `count` segments in a row as one; those of a row with fewer are none."""
    if count == 1:
        return found
    ends = np.arange(count - 1, len(found.row))
    begins = ends - count + 1
    whole = found.row[begins] == found.row[ends]
    begins, ends = begins[whole], ends[whole]

    def summed(values: np.ndarray) -> np.ndarray:
        totals = np.concatenate([[0], np.cumsum(values)])
        return (totals[ends + 1] - totals[begins]).astype(values.dtype)

    keys = np.zeros((len(begins), 2), np.uint64)
    with np.errstate(over="ignore"):
        for k in range(count):
            keys = mix(keys + found.keys[begins + k])
    spans = np.stack([found.spans[begins, 0], found.spans[ends, 1]], axis=1)
    chars, words, uppers, digits, length, media = (
        summed(of) for of in (found.chars, found.words, found.uppers, found.digits, found.length, found.media)
    )
    return Segments(found.row[begins], spans, chars, words, uppers, digits, length, keys, media)


def sentences(text: pa.Array, *, one_number: bool) -> Segments:
    """The sentences of a large_string column without nulls, as segments; a line end always ends one."""
    found: list[tuple[int, int, int, int, int, bool]] = []
    digests = []
    for row, value in enumerate(text.to_pylist()):
        at = 0
        for line in value.split("\n"):
            done = 0
            for start, stop in sentence_spans(line):
                held = line[start:stop].strip()
                begin = stop - len(line[start:stop].lstrip())
                at += len(line[done:begin].encode())
                data = held.encode()
                digests.append(xxhash.xxh3_128_digest(normal_form(held, one_number=one_number).encode()))
                found.append((row, at, at + len(data), len(held), count_words(held), SENTINEL in held))
                at, done = at + len(data), begin + len(held)
            at += len(line[done:].encode()) + 1
    table = np.asarray(found, np.int64).reshape(-1, 6)
    keys = np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2)
    nothing = np.zeros(len(table), np.int32)
    chars, words = table[:, 3].astype(np.int32), table[:, 4].astype(np.int32)
    return Segments(table[:, 0], table[:, 1:3], chars, words, nothing, nothing, chars, keys, table[:, 5] > 0)


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
