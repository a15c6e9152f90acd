"""Conversations to token ids: rows with `chat.turns`, rendered from their text as it is when tokens are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.chat import ChatError, Slot, assemble
from schemas.chat_render import Piece, render
from schemas.control_tokens import MARKS
from transforms.chat.turns import FORMAT, TURNS
from transforms.tokens.sizes import Size
from transforms.tokens.tokenizer import Tokenizer


@dataclass(slots=True)
class ChatTokens:
    """A conversation's tokens. `placed`: one a media part; `masked`: runs (start, length) that carry no loss;
    `broken`: why it has no tokens."""

    ids: list[int] = field(default_factory=list)
    placed: list[dict[str, Any] | None] = field(default_factory=list)
    masked: list[tuple[int, int]] = field(default_factory=list)
    broken: str | None = None

    def add(self, ids: Sequence[int], loss: bool) -> None:
        start = len(self.ids)
        self.ids += ids
        if loss or not ids:
            return
        if self.masked and sum(self.masked[-1]) == start:
            start = self.masked.pop()[0]
        self.masked.append((start, len(self.ids) - start))


def encode_chats(batch: pa.RecordBatch, sizes: Sequence[Size], tokenizer: Tokenizer) -> list[ChatTokens]:
    """The tokens of rows that all have `chat.turns`; `sizes`: one a media part of the batch."""
    media = batch.column("media")
    kinds = media.flatten().field("kind").to_pylist()
    ends = np.cumsum(pc.list_value_length(media).to_numpy(zero_copy_only=False)).tolist()
    rows: list[tuple[list[Piece], Sequence[Size], str | None]] = []
    columns = (batch.column(name).to_pylist() for name in ("text", TURNS.name, FORMAT.name))
    for row, (text, turns, format) in enumerate(zip(*columns, strict=True)):
        first = ends[row - 1] if row else 0
        try:
            chat = assemble(format, [Slot(**turn) for turn in turns], text, kinds[first : ends[row]])
            rows.append((render(chat, tokenizer.special_ids), sizes[first : ends[row]], None))
        except ChatError as error:
            rows.append(([], sizes[first : ends[row]], str(error)))
    texts = [piece.value for pieces, _, _ in rows for piece in pieces if piece.kind == "text"]
    flat, offsets = tokenizer.encode(texts)
    encoded = iter(flat[start:stop].tolist() for start, stop in pairwise(offsets.tolist()))
    found = []
    for pieces, parts, broken in rows:
        made = ChatTokens(broken=broken, placed=[None] * len(parts) if broken else [])
        remaining = iter(parts)
        for piece in pieces:
            if piece.kind == "text":
                made.add(next(encoded), piece.loss)
            elif piece.kind == "control":
                made.add([tokenizer.special_ids[piece.value]], piece.loss)
            else:
                _place(made, piece, next(remaining), tokenizer.special_ids)
        found.append(made)
    return found


def _place(made: ChatTokens, piece: Piece, size: Size, ids: dict[str, int]) -> None:
    before, pad, after = (ids[name] for name in MARKS[piece.value])
    made.placed.append(
        {
            "offset": len(made.ids) + 1,
            "length": size.length,
            "kind": piece.value,
            "grid_thw": size.grid_thw,
            "frames": size.frames,
        }
    )
    made.add([before, *[pad] * size.length, after], piece.loss)
