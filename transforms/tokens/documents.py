"""Tokenized rows as documents to pack: tokens, media spans, and where a long one may be cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from transforms.tokens.pack import split_document


@dataclass(frozen=True, slots=True)
class MediaSpan:
    """A media part's placeholders: `offset` and `length` in the document's tokens, `place` in the row's `media`."""

    place: int
    kind: str
    offset: int
    length: int
    grid_thw: list[int] | None
    frames: int | None


@dataclass(frozen=True, slots=True)
class Document:
    """One tokenized row; `tokens` int32 [n]. `masked`: a conversation's runs [start, stop) that carry no loss."""

    tokens: np.ndarray
    spans: list[MediaSpan]
    masked: list[tuple[int, int]] | None = None

    def pieces(self, sequence_length: int) -> list[tuple[int, int]]:
        """The document cut into [start, stop) pieces of at most `sequence_length`, never inside a media part."""
        if len(self.tokens) <= sequence_length:
            return [(0, len(self.tokens))]
        atoms = [(span.offset - 1, span.offset + span.length + 1) for span in self.spans]
        return split_document(len(self.tokens), atoms, sequence_length)

    def media(self, start: int, stop: int) -> list[MediaSpan]:
        """The media parts whose placeholders lie in [start, stop)."""
        return [span for span in self.spans if start <= span.offset < stop]

    def loss_runs(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Spans [start, stop) of tokens that carry no loss: the placeholders and the mark before them.

        The model is told where a picture is; it does not have to foresee it, nor its placeholders. Of a conversation it
        learns what the assistant writes.
        """
        if self.masked is not None:
            inside = [(max(first, start), min(last, stop)) for first, last in self.masked]
            return [(first, last) for first, last in inside if first < last]
        return [(span.offset - 1, span.offset + span.length) for span in self.media(start, stop)]


def documents_of(batch: pa.RecordBatch) -> list[Document]:
    """The documents of a batch with the columns of tokens.encode."""
    ids = batch.column("tokens.input_ids")
    flat = ids.flatten().to_numpy(zero_copy_only=False)
    stops = np.cumsum(ids.value_lengths().to_numpy(zero_copy_only=False))
    media = batch.column("tokens.media").to_pylist()
    has_masks = "tokens.masked" in batch.schema.names
    masks = batch.column("tokens.masked").to_pylist() if has_masks else [None] * len(media)
    documents = []
    start = 0
    for stop, spans, runs in zip(stops.tolist(), media, masks, strict=True):
        found = [
            MediaSpan(place, span["kind"], span["offset"], span["length"], span["grid_thw"], span["frames"])
            for place, span in enumerate(spans)
        ]
        masked = None if runs is None else [(run["start"], run["start"] + run["length"]) for run in runs]
        documents.append(Document(flat[start:stop], found, masked))
        start = stop
    return documents
