"""Exact duplicates: of the normalised text with the media it holds, and of single media parts by their bytes."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from transforms.base import Params
from transforms.columns import utf8
from transforms.dedup.base import Dedup, Keys
from transforms.dedup.bloom import Bloom
from transforms.dedup.keep import Keep, check_keep, rank_of
from transforms.dedup.shingle_tables import tables
from transforms.kernels.canonical import GROWTH, canonical_texts
from transforms.parts import Parts
from transforms.registry import register


class TextExactDedupParams(Params):
    """Parameters of text.exact_dedup."""

    #: letter case is not a difference
    ignore_case: bool = True
    #: which of the equal rows stays: with exact text only case and spaces can differ
    keep: Keep = "first"
    #: null: keys are compared, and every duplicate is told its match
    bloom: Bloom | None = None


@register("text.exact_dedup", version=1)
class TextExactDedup(Dedup[TextExactDedupParams]):
    """Rows whose text is equal after NFC, case folding and collapsing of white space, and that hold the same media.

    The media's digests are part of the key: the caption "a red circle" under two pictures is two rows. Rows with
    neither text nor media have no key.
    """

    Params = TextExactDedupParams

    @property
    def bloom_rate(self) -> float | None:
        return self.params.bloom.false_positive_rate if self.params.bloom else None

    def check(self, schema: pa.Schema) -> None:
        check_keep(self.params.keep, schema)

    def keys(self, batch: pa.RecordBatch) -> Keys:
        media = batch.column("media")
        ends = np.cumsum(media.value_lengths().to_numpy(zero_copy_only=False)).tolist()
        hashes = media.flatten().field("sha256").to_pylist()
        rows, digests = [], []
        start = 0
        for row, canonical in enumerate(canonical_rows(batch.column("text"), ignore_case=self.params.ignore_case)):
            held, start = hashes[start : ends[row]], ends[row]
            if canonical or held:
                state = hashlib.blake2b(canonical, digest_size=16)
                for digest in held:
                    state.update(digest)
                rows.append(row)
                digests.append(state.digest())
        count = len(rows)
        key = np.frombuffer(b"".join(digests), "<u8").reshape(count, 2)
        rank = rank_of(self.params.keep, batch)[rows]
        return Keys(
            np.asarray(rows, np.uint32), np.full(count, -1, np.int32), np.zeros(count, np.uint16), key.copy(), rank
        )


def canonical(text: str, *, ignore_case: bool) -> bytes:
    """The form in which texts are compared, in UTF-8; the readable reference."""
    folded = text.casefold() if ignore_case else text
    return " ".join(unicodedata.normalize("NFC", folded).split()).encode("utf-8", "surrogatepass")


def canonical_rows(text: pa.Array, *, ignore_case: bool) -> Iterator[bytes | memoryview]:
    """`canonical` of every row of a large_string column without nulls, by kernel where it can be."""
    data, offsets = utf8(text)
    out = np.empty(GROWTH * int(offsets[-1] - offsets[0]), np.uint8)
    stops = np.empty(len(text) + 1, np.int64)
    left = np.empty(len(text), np.bool_)
    index, kinds, fold_index, folds, _, _, pool = tables()
    canonical_texts(data, offsets, ignore_case, index, kinds, fold_index, folds, pool, out, stops, left)
    whole, ends = out.data, stops.tolist()
    for row, by_reference in enumerate(left.tolist()):
        if by_reference:
            yield canonical(text[row].as_py(), ignore_case=ignore_case)
        else:
            yield whole[ends[row] : ends[row + 1]]


class MediaExactDedupParams(Params):
    """Parameters of media.exact_dedup."""

    #: which media are compared
    kinds: list[Literal["image", "audio"]] = Field(default=["image", "audio"], min_length=1)
    #: null: keys are compared, and every duplicate is told its match
    bloom: Bloom | None = None


@register("media.exact_dedup", version=1)
class MediaExactDedup(Dedup[MediaExactDedupParams]):
    """Media parts with the same bytes (SHA-256): the first stays, the others leave their documents.

    A repeat inside one document is a repeat too. The document lives on: a caption whose picture was a duplicate
    becomes a text row, which `select.range` over its parts or `text.exact_dedup` before this step can take.
    """

    Params = MediaExactDedupParams
    of_parts = True

    @property
    def bloom_rate(self) -> float | None:
        return self.params.bloom.false_positive_rate if self.params.bloom else None

    def keys(self, batch: pa.RecordBatch) -> Keys:
        found = [Parts.of(batch, kind) for kind in sorted(set(self.params.kinds))]
        row = np.concatenate([parts.row for parts in found])
        part = np.concatenate([parts.index for parts in found])
        digests = [digest for parts in found for digest in parts.field("sha256").to_pylist()]
        count = len(row)
        key = np.frombuffer(b"".join(digest[:16] for digest in digests), "<u8").reshape(count, 2)
        order = np.lexsort([part, row])
        alike = np.ones(count, np.uint64)
        return Keys(
            row[order].astype(np.uint32), part[order].astype(np.int32), np.zeros(count, np.uint16), key[order], alike
        )
