"""Collecting rows into the Outcomes a source yields."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa

from schemas.reject import rejected_schema
from schemas.sample import SAMPLE, SENTINEL
from transforms.base import Outcome

REJECTED_SAMPLE = rejected_schema(SAMPLE)
EXCERPT_CHARS = 200

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f" + SENTINEL + "]")
_MEDIA = SAMPLE.field("media").type
_NO_PARTS: list[dict[str, Any]] = []


class Batches:
    """Rows on their way into batches of at most `batch_rows` rows and about `batch_bytes` bytes.

    A row goes in by `keep` or `reject`; when `full`, `take` gives the Outcome and starts over. A single row may
    exceed `batch_bytes`, so a batch holds at most that much more.
    """

    def __init__(self, batch_rows: int, batch_bytes: int) -> None:
        self.batch_rows = batch_rows
        self.batch_bytes = batch_bytes
        self._reset()

    def _reset(self) -> None:
        self.num_bytes = 0
        self.has_media = False
        # one list a column; values are str or UTF-8 bytes
        self.kept: tuple[list[Any], ...] = ([], [], [], [], [], [])
        self.rejected: list[dict[str, Any]] = []

    @property
    def full(self) -> bool:
        """Whether it is time to `take`."""
        return (
            self.num_bytes >= self.batch_bytes
            or len(self.kept[0]) >= self.batch_rows
            or len(self.rejected) >= self.batch_rows
        )

    def __len__(self) -> int:
        return len(self.kept[0]) + len(self.rejected)

    def keep(
        self,
        row_id: str,
        source: str,
        url: str | None,
        text: str,
        meta: bytes,
        media: list[dict[str, Any]] = _NO_PARTS,
    ) -> None:
        """Adds a good row; `text` has its sentinels in place, `meta` is a JSON object in UTF-8."""
        for column, value in zip(self.kept, (row_id, source, url, text, media, meta), strict=True):
            column.append(value)
        self.num_bytes += len(text) + len(meta) + 100
        if media:
            self.has_media = True
            self.num_bytes += sum(len(part["data"]) for part in media)

    def reject(
        self,
        source: str,
        reason: str,
        detail: str | None,
        about: bytes | str = "",
        part: int | None = None,
        row_id: str | None = None,
    ) -> None:
        """Adds a row that could not be read, or a media part of one that was; `about` is what it began with."""
        self.rejected.append(
            {
                "id": row_id or source,
                "source": source,
                "url": None,
                "text": excerpt(about),
                "media": [],
                "meta": "{}",
                "reject.part": part,
                "reject.reason": reason,
                "reject.detail": detail,
                "reject.match_id": None,
            }
        )

    def take(self) -> Outcome:
        """The rows so far as an Outcome."""
        ids, sources, urls, texts, media, metas = self.kept
        arrays = [
            pa.array(ids, pa.string()),
            pa.array(sources, pa.string()),
            pa.array(urls, pa.string()),
            pa.array(texts, pa.large_string()),
            pa.array(media, _MEDIA) if self.has_media else _no_media(len(ids)),
            pa.array(metas, pa.string()),
        ]
        kept = pa.RecordBatch.from_arrays(arrays, schema=SAMPLE)
        rejected = pa.RecordBatch.from_pylist(self.rejected, schema=REJECTED_SAMPLE)
        self._reset()
        return Outcome(kept, rejected)


def excerpt(about: bytes | str) -> str:
    """The first characters of something unreadable, made readable: what does not decode or print becomes U+FFFD."""
    if isinstance(about, bytes):
        about = about[: 4 * EXCERPT_CHARS].decode("utf-8", "replace")
    about = about[:EXCERPT_CHARS].encode("utf-8", "replace").decode("utf-8")
    return _CONTROL.sub("\ufffd", about)


def without_sentinels(text: str) -> str:
    """The text with every U+FFFC a space, since in SAMPLE that character stands for a media part and nothing else."""
    return text.replace(SENTINEL, " ") if SENTINEL in text else text


def media_text(num_parts: int, text: str | None) -> str:
    """The text of a caption pair or transcript: one sentinel a part, then a newline and the words, if there are any."""
    if not num_parts:
        return text or ""
    return SENTINEL * num_parts + ("\n" + text if text else "")


def _no_media(num_rows: int) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array([0] * (num_rows + 1), pa.int32()), pa.array([], _MEDIA.value_type), _MEDIA)
