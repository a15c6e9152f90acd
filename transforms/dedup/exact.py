"""Exact duplicates: of the normalised text with the media it holds, and of single media parts by their bytes."""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from transforms.base import Params
from transforms.dedup.base import Dedup, Keys
from transforms.parts import Parts
from transforms.registry import register

Keep = Literal["first", "longest"]


class TextExactDedupParams(Params):
    """Parameters of text.exact_dedup."""

    #: letter case is not a difference
    ignore_case: bool = True
    #: which of the equal rows stays: with exact text only case and spaces can differ
    keep: Keep = "first"


def rank_of(keep: Keep, texts: list[str]) -> np.ndarray:
    """Keep order of texts, uint64 [rows]: all equal for `first`, longer texts earlier for `longest`."""
    if keep == "first":
        return np.zeros(len(texts), np.uint64)
    return np.uint64(2**63) - np.fromiter(map(len, texts), np.uint64, len(texts))


@register("text.exact_dedup", version=1)
class TextExactDedup(Dedup[TextExactDedupParams]):
    """Rows whose text is equal after NFC, case folding and collapsing of white space, and that hold the same media.

    The media's digests are part of the key: the caption "a red circle" under two pictures is two rows. Rows with
    neither text nor media have no key.
    """

    Params = TextExactDedupParams

    def keys(self, batch: pa.RecordBatch) -> Keys:
        rows, digests = [], []
        texts = batch.column("text").to_pylist()
        media = batch.column("media")
        lengths = media.value_lengths().to_numpy(zero_copy_only=False)
        ends = np.cumsum(lengths)
        hashes = media.flatten().field("sha256").to_pylist()
        for row, text in enumerate(texts):
            if self.params.ignore_case:
                text = text.casefold()
            canonical = " ".join(unicodedata.normalize("NFC", text).split())
            held = hashes[ends[row] - lengths[row] : ends[row]]
            if canonical or held:
                state = hashlib.blake2b(canonical.encode("utf-8", "surrogatepass"), digest_size=16)
                for digest in held:
                    state.update(digest)
                rows.append(row)
                digests.append(state.digest())
        count = len(rows)
        key = np.frombuffer(b"".join(digests), "<u8").reshape(count, 2)
        rank = rank_of(self.params.keep, texts)[rows]
        return Keys(
            np.asarray(rows, np.uint32), np.full(count, -1, np.int32), np.zeros(count, np.uint16), key.copy(), rank
        )


class MediaExactDedupParams(Params):
    """Parameters of media.exact_dedup."""

    #: which media are compared
    kinds: list[Literal["image", "audio"]] = Field(default=["image", "audio"], min_length=1)


@register("media.exact_dedup", version=1)
class MediaExactDedup(Dedup[MediaExactDedupParams]):
    """Media parts with the same bytes (SHA-256): the first stays, the others leave their documents.

    A repeat inside one document is a repeat too. The document lives on: a caption whose picture was a duplicate
    becomes a text row, which `select.range` over its parts or `text.exact_dedup` before this step can take.
    """

    Params = MediaExactDedupParams
    of_parts = True

    def keys(self, batch: pa.RecordBatch) -> Keys:
        found = [Parts.of(batch, kind) for kind in sorted(set(self.params.kinds))]
        row = np.concatenate([parts.row for parts in found])
        part = np.concatenate([parts.index for parts in found])
        digests = [digest for parts in found for digest in parts.field("sha256").to_pylist()]
        count = len(row)
        key = np.frombuffer(b"".join(digest[:16] for digest in digests), "<u8").reshape(count, 2)
        order = np.lexsort([part, row])
        blank = np.zeros(count, np.uint64)
        return Keys(
            row[order].astype(np.uint32), part[order].astype(np.int32), np.zeros(count, np.uint16), key[order], blank
        )
