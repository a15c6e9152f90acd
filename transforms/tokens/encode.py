"""Rows to token ids: text by the tokenizer, every media part as the placeholders the model puts its features at."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from pydantic import Field, model_validator

from schemas.control_tokens import (
    AUDIO_END,
    AUDIO_PAD,
    AUDIO_START,
    END_OF_TEXT,
    IMAGE_PAD,
    VISION_END,
    VISION_START,
)
from schemas.recipe import ImageTokens
from schemas.reject import REJECT_COLUMNS, REJECT_FIELDS
from schemas.sample import SENTINEL, part_field
from transforms.base import Outcome, Params, Transform, Verdicts, append_columns, append_fields, partition
from transforms.parts import Parts, drop_parts
from transforms.probe import Fault
from transforms.registry import register
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

_MARKS = {"image": (VISION_START, IMAGE_PAD, VISION_END), "audio": (AUDIO_START, AUDIO_PAD, AUDIO_END)}


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
        return append_fields(schema, [INPUT_IDS, MEDIA_PLACES, COUNT])

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        params = self.params
        sizes = PartSizes(params.image, params.audio, params.sequence_length).of(batch)
        faults = [found if isinstance(found, Fault) else None for found in sizes]
        parts = _all_parts(batch)
        verdicts = Verdicts([f and f.reason for f in faults], [f and f.detail for f in faults])
        usable, part_rejects = drop_parts(batch, parts, *verdicts.arrays())
        encoded = self._encode(usable, [found for found in sizes if isinstance(found, Size)])
        judged = self._judge(encoded, parts, faults)
        kept = partition(encoded, judged).kept
        # Rejected rows leave as they came, media and all; of the tokens only their number is worth a place.
        blank = append_columns(batch, [*_no_tokens(batch), (COUNT, encoded.column(COUNT.name))])
        rejected = partition(blank, judged).rejected
        if part_rejects.num_rows:
            rejected = _in_row_order(rejected, part_rejects, parts, faults, judged)
        return Outcome(kept, rejected)

    def _encode(self, batch: pa.RecordBatch, sizes: list[Size]) -> pa.RecordBatch:
        """The batch with its token columns; `sizes`: one a media part, all usable."""
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
            before, pad, after = (self._tokenizer.special_ids[name] for name in _MARKS[kind])
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
        return append_columns(batch, [(INPUT_IDS, input_ids), (MEDIA_PLACES, places), (COUNT, counts)])

    def _judge(self, batch: pa.RecordBatch, parts: Parts, faults: list[Fault | None]) -> Verdicts:
        lost: dict[int, list[str]] = {}
        for row, index, fault in zip(parts.row.tolist(), parts.index.tolist(), faults, strict=True):
            if fault:
                lost.setdefault(row, []).append(f"part {index} was {fault.reason}")
        reasons: list[str | None] = []
        details: list[str | None] = []
        limit = self.params.sequence_length
        counts = batch.column(COUNT.name).to_pylist()
        media = pc.list_value_length(batch.column("media")).to_pylist()
        for row, (text, count, num_parts) in enumerate(
            zip(batch.column("text").to_pylist(), counts, media, strict=True)
        ):
            reason, detail = None, list(lost.get(row, ()))
            if not num_parts and not text.strip():
                reason = "no_tokens"
            elif count > limit and self.params.long_documents == "reject":
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


def _no_tokens(batch: pa.RecordBatch) -> list[tuple[pa.Field, pa.Array]]:
    """The token columns of rows that are not kept: nulls."""
    places = pa.nulls(len(batch.column("media").flatten()), PLACED)
    return [(INPUT_IDS, pa.nulls(len(batch), INPUT_IDS.type)), (MEDIA_PLACES, _aligned(batch, places))]


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
    count = (COUNT, pa.nulls(len(plain), COUNT.type))
    removed = append_columns(plain, [*_no_tokens(plain), count, *reasons])
    order = np.argsort(np.concatenate([np.flatnonzero(gone), part_rows[lives]]), kind="stable")
    both = pa.Table.from_batches([rows, removed]).take(pa.array(order)).combine_chunks()
    return both.to_batches()[0]
