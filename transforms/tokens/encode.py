"""Rows to token ids: text by the tokenizer, every media part as the placeholders the model puts its features at."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from pydantic import Field, model_validator

from schemas.control_tokens import END_OF_TEXT, MARKS
from schemas.recipe import ImageTokens
from schemas.reject import REJECT_COLUMNS, REJECT_FIELDS
from schemas.sample import SENTINEL, part_field
from schemas.shard import RUN
from transforms.base import Outcome, Params, Transform, Verdicts, append_columns, append_fields, partition
from transforms.chat.turns import TURNS
from transforms.parts import Parts, drop_parts
from transforms.probe import Fault
from transforms.registry import register
from transforms.tokens.chat import encode_chats
from transforms.tokens.sizes import AudioTokens, PartSizes, Size
from transforms.tokens.tokenizer import Tokenizer

#: Where a part's placeholders are. `offset`: of the first one in the row's `tokens.input_ids`; `length`: how many;
#: `grid_thw`: of an image, in patches; `frames`: of a clip, mel frames.
PLACED = pa.struct(
    [
        pa.field("offset", pa.int32(), nullable=False),
        pa.field("length", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("grid_thw", pa.list_(pa.int32(), 3)),
        pa.field("frames", pa.int32()),
    ]
)
INPUT_IDS = pa.field("tokens.input_ids", pa.list_(pa.int32()))
MEDIA_PLACES = part_field("tokens.media", PLACED)
COUNT = pa.field("tokens.count", pa.int32())
#: The runs of a conversation's tokens that carry no loss; null for every other row, where placeholders alone do not.
MASKED = pa.field("tokens.masked", pa.list_(RUN))

_Columns = list[tuple[pa.Field, pa.Array]]


class EncodeParams(Params):
    """Parameters of `tokens.encode`.

    tokenizer: what `Tokenizer.load` takes; a run gives the folder it saved the tokenizer in.
        By default bytes are tokens.
    sequence_length: tokens in a packed sequence; a media part and its marks are never cut, so it must fit in one.
    image: the preprocessing that decides how many placeholders an image takes (defaults of Qwen3-VL).
    eos: end each document with `<|endoftext|>`.
    long_documents: what becomes of a document longer than a sequence: cut when packed, or rejected.
    engine: "reference" forces `tokenizers`; "auto" uses the faster engine when it proves equal.
    """

    tokenizer: str = "bytes"
    sequence_length: int = Field(default=2048, ge=16)
    image: ImageTokens = ImageTokens()
    audio: AudioTokens = AudioTokens()
    eos: bool = True
    long_documents: Literal["split", "reject"] = "split"
    engine: Literal["auto", "reference"] = "auto"

    @model_validator(mode="after")
    def _bounds(self) -> EncodeParams:
        block = (self.image.patch * self.image.merge) ** 2
        if not block <= self.image.min_pixels <= self.image.max_pixels:
            raise ValueError(
                f"image.min_pixels ({self.image.min_pixels}) must lie between one placeholder's area (patch * merge)^2 "
                f"= {block} and image.max_pixels ({self.image.max_pixels})"
            )
        return self


@register("tokens.encode", version=1)
class Encode(Transform[EncodeParams]):
    """Adds `tokens.input_ids`, `tokens.media` (one PLACED a media part) and `tokens.count`.

    Text between media parts is encoded piece by piece. An image becomes `<|vision_start|>`, its `<|image_pad|>`s and
    `<|vision_end|>`; a clip the same in audio; their number as in transforms.tokens.media.
    Rows with `chat.turns` are rendered as conversations, without an end mark (their last turn has its own), and where
    that column is there, `tokens.masked` is added. A conversation is never cut: one that does not fit is rejected.
    Sizes come from `image.width_px`, `image.height_px` and `audio.duration_s` where an earlier step measured them,
    else from the bytes. A part that cannot be used is removed; a row that loses all it had is rejected.
    """

    Params = EncodeParams
    reasons = frozenset(
        {
            "unreadable_image",
            "extreme_aspect",
            "unreadable_audio",
            "audio_too_short",
            "audio_too_long",
            "too_large_for_sequence",
            "no_tokens",
            "too_long_for_sequence",
            "chat_broken",
        }
    )

    def setup(self) -> None:
        self._tokenizer = Tokenizer.load(self.params.tokenizer, engine=self.params.engine)
        # Pillow warns on stderr of what becomes a reject row here, as in image.decode.
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        self._tokenizer.encode([""])  # builds the engine now rather than in the first batch

    @property
    def engine(self) -> str:
        """Which engine encodes, and why: a slow fallback must not pass unseen."""
        return f"{self._tokenizer.engine_name}: {self._tokenizer.engine_reason}"

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        masked = [MASKED] if TURNS.name in schema.names else []
        return append_fields(schema, [INPUT_IDS, MEDIA_PLACES, COUNT, *masked])

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        params = self.params
        sizes = PartSizes(params.image, params.audio, params.sequence_length).of(batch)
        faults = [found if isinstance(found, Fault) else None for found in sizes]
        parts = _all_parts(batch)
        verdicts = Verdicts([f and f.reason for f in faults], [f and f.detail for f in faults])
        usable, part_rejects = drop_parts(batch, parts, *verdicts.arrays())
        encoded, broken = self._encode(usable, [found for found in sizes if isinstance(found, Size)])
        judged = self._judge(encoded, parts, faults, broken)
        kept = partition(encoded, judged).kept
        # Rejected rows leave as they came, media and all; of the tokens only their number is worth a place.
        blank = append_columns(batch, _no_tokens(batch, encoded.column(COUNT.name)))
        rejected = partition(blank, judged).rejected
        if part_rejects.num_rows:
            rejected = _in_row_order(rejected, part_rejects, parts, faults, judged)
        return Outcome(kept, rejected)

    def _encode(self, batch: pa.RecordBatch, sizes: list[Size]) -> tuple[pa.RecordBatch, dict[int, str]]:
        """The batch with its token columns, and the broken conversations by row; `sizes`: one a media part, usable."""
        if TURNS.name not in batch.schema.names:
            return append_columns(batch, self._documents(batch, sizes)), {}
        is_chat = batch.column(TURNS.name).is_valid().to_numpy(zero_copy_only=False)
        of_chat = np.repeat(is_chat, pc.list_value_length(batch.column("media")).to_numpy(zero_copy_only=False))
        plain, chats = batch.filter(pa.array(~is_chat)), batch.filter(pa.array(is_chat))
        columns = self._documents(plain, [size for size, other in zip(sizes, of_chat, strict=True) if not other])
        columns.append((MASKED, pa.nulls(len(plain), MASKED.type)))
        of_chats, broken = self._chats(chats, [size for size, mine in zip(sizes, of_chat, strict=True) if mine])
        order = pa.array(np.argsort(np.concatenate([np.flatnonzero(~is_chat), np.flatnonzero(is_chat)])))
        both = [
            (column, pa.concat_arrays([one, other]).take(order))
            for (column, one), other in zip(columns, of_chats, strict=True)
        ]
        places = np.flatnonzero(is_chat)
        return append_columns(batch, both), {int(places[at]): detail for at, detail in broken.items()}

    def _chats(self, batch: pa.RecordBatch, sizes: list[Size]) -> tuple[list[pa.Array], dict[int, str]]:
        """The token columns of conversations, and what is wrong with the broken ones."""
        made = encode_chats(batch, sizes, self._tokenizer)
        runs = [[{"start": start, "length": length} for start, length in one.masked] for one in made]
        columns = [
            pa.array([one.ids for one in made], INPUT_IDS.type),
            _aligned(batch, pa.array([place for one in made for place in one.placed], PLACED)),
            pa.array([len(one.ids) for one in made], COUNT.type),
            pa.array(runs, MASKED.type),
        ]
        return columns, {at: one.broken for at, one in enumerate(made) if one.broken is not None}

    def _documents(self, batch: pa.RecordBatch, sizes: list[Size]) -> _Columns:
        """The token columns of rows that are no conversations."""
        texts = batch.column("text").to_pylist()
        pieces = [text.split(SENTINEL) for text in texts]
        ids, offsets = self._tokenizer.encode([piece for row in pieces for piece in row])
        # Every piece of text is followed by a tail: a media part, or, after a row's last piece, the end mark.
        num_parts = pc.list_value_length(batch.column("media")).to_numpy(zero_copy_only=False).astype(np.int64)
        last = np.cumsum(num_parts + 1) - 1
        is_part = np.ones(len(offsets) - 1, bool)
        is_part[last] = False
        tails = np.full(len(is_part), int(self.params.eos), np.int64)
        tails[is_part] = [size.length + 2 for size in sizes]
        lengths = np.diff(offsets)
        stops = np.cumsum(lengths + tails)
        tail_starts = stops - tails
        flat = np.empty(stops[-1] if len(stops) else 0, np.int32)
        shifts = tail_starts - lengths - offsets[:-1]
        flat[np.arange(len(ids)) + np.repeat(shifts, lengths)] = ids
        if self.params.eos:
            flat[tail_starts[last]] = self._tokenizer.special_ids[END_OF_TEXT]
        borders = np.concatenate([[0], stops[last]])
        rows = np.repeat(np.arange(len(texts)), num_parts)
        kinds = batch.column("media").flatten().field("kind").to_pylist()
        placed = []
        for kind, size, start, row in zip(kinds, sizes, tail_starts[is_part].tolist(), rows.tolist(), strict=True):
            before, pad, after = (self._tokenizer.special_ids[name] for name in MARKS[kind])
            flat[start] = before
            flat[start + 1 : start + 1 + size.length] = pad
            flat[start + 1 + size.length] = after
            offset = start + 1 - int(borders[row])
            placed.append(
                {
                    "offset": offset,
                    "length": size.length,
                    "kind": kind,
                    "grid_thw": size.grid_thw,
                    "frames": size.frames,
                }
            )
        input_ids = pa.ListArray.from_arrays(pa.array(borders.astype(np.int32)), flat)
        places = _aligned(batch, pa.array(placed, PLACED))
        counts = pa.array(np.diff(borders).astype(np.int32))
        return [(INPUT_IDS, input_ids), (MEDIA_PLACES, places), (COUNT, counts)]

    def _judge(
        self, batch: pa.RecordBatch, parts: Parts, faults: list[Fault | None], broken: dict[int, str]
    ) -> Verdicts:
        lost: dict[int, list[str]] = {}
        for row, index, fault in zip(parts.row.tolist(), parts.index.tolist(), faults, strict=True):
            if fault:
                lost.setdefault(row, []).append(f"part {index} was {fault.reason}")
        reasons: list[str | None] = []
        details: list[str | None] = []
        limit = self.params.sequence_length
        counts = batch.column(COUNT.name).to_pylist()
        media = pc.list_value_length(batch.column("media")).to_pylist()
        # cut, a conversation's end would be an answer to a question that is not there
        whole = self.params.long_documents == "reject"
        uncut = [whole] * len(counts)
        if TURNS.name in batch.schema.names:
            uncut = [whole or valid for valid in batch.column(TURNS.name).is_valid().to_pylist()]
        for row, (text, count, num_parts) in enumerate(
            zip(batch.column("text").to_pylist(), counts, media, strict=True)
        ):
            reason, detail = None, list(lost.get(row, ()))
            if row in broken:
                reason = "chat_broken"
                detail.insert(0, broken[row])
            elif not num_parts and not text.strip():
                reason = "no_tokens"
            elif count > limit and uncut[row]:
                reason = "too_long_for_sequence"
                detail.insert(0, f"{count} tokens, at most {limit} allowed")
            reasons.append(reason)
            details.append("; ".join(detail) if reason and detail else None)
        return Verdicts(reasons, details)


def _all_parts(batch: pa.RecordBatch) -> Parts:
    """The parts of every kind, in order."""
    media = batch.column("media")
    rows = pc.list_parent_indices(media).to_numpy(zero_copy_only=False).astype(np.int64)
    index = media.flatten().field("index").to_numpy(zero_copy_only=False)
    return Parts(batch, np.arange(len(rows)), rows, index)


def _aligned(batch: pa.RecordBatch, values: pa.Array) -> pa.ListArray:
    """Values (one a media part of the batch) as a list column aligned with `media`."""
    lengths = pc.list_value_length(batch.column("media")).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=MEDIA_PLACES.type)


def _no_tokens(batch: pa.RecordBatch, counts: pa.Array) -> _Columns:
    """The token columns of rows that are not kept: nulls, but for their number."""
    places = _aligned(batch, pa.nulls(len(batch.column("media").flatten()), PLACED))
    columns = [(INPUT_IDS, pa.nulls(len(batch), INPUT_IDS.type)), (MEDIA_PLACES, places), (COUNT, counts)]
    masked = [(MASKED, pa.nulls(len(batch), MASKED.type))] if TURNS.name in batch.schema.names else []
    return columns + masked


def _in_row_order(
    rows: pa.RecordBatch, part_rejects: pa.RecordBatch, parts: Parts, faults: list[Fault | None], judged: Verdicts
) -> pa.RecordBatch:
    """Rejected rows, and the removed parts of kept rows, in the order of the rows.

    A part whose row is rejected too is told in that row's detail: the ledger has one verdict for what is gone whole.
    """
    gone = np.array([reason is not None for reason in judged.reasons], bool)
    part_rows = parts.row[[fault is not None for fault in faults]]
    lives = ~gone[part_rows]
    removed = part_rejects.filter(pa.array(lives))
    plain = removed.select([name for name in removed.schema.names if name not in REJECT_COLUMNS])
    reasons = [(field, removed.column(field.name)) for field in REJECT_FIELDS]
    removed = append_columns(plain, [*_no_tokens(plain, pa.nulls(len(plain), COUNT.type)), *reasons])
    order = np.argsort(np.concatenate([np.flatnonzero(gone), part_rows[lives]]), kind="stable")
    both = pa.Table.from_batches([rows, removed]).take(pa.array(order)).combine_chunks()
    return both.to_batches()[0]
