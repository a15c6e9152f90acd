"""Positions of a document's tokens on three axes: time, height, width.

Text and audio tokens advance all axes by one. An image stands at one time and spreads over height and width; what
follows it comes after its longer side. In the VL family so does each temporal patch of a video, which has timestamps
between its patches; in Omni a video is one item that also spreads over time, and its sound may be woven into it.
References: transformers `Qwen3VLMoeModel.get_rope_index`, `Qwen3OmniMoe…ForConditionalGeneration.get_rope_index`.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass

import numpy as np

from model.data.images import MERGE
from schemas.errors import SchemaError

Grid = tuple[int, int, int]


@dataclass(frozen=True)
class VisionSpan:
    """Consecutive placeholders of one item: an image, a temporal patch of a VL video (t = 1), or an Omni video.

    `offset`: of the first in its document; `grid`: (t, h, w) in patches. Of an Omni video also the seconds between
    temporal patches, the positions that time advances in a second, and how many tokens of its sound are woven in.
    """

    offset: int
    grid: Grid
    seconds_per_grid: float = 0.0
    position_id_per_seconds: int = 13
    audio_tokens: int = 0


def image_tokens(grid: Grid) -> int:
    """Placeholders of an item with a (t, h, w) grid of patches."""
    return grid[0] * grid[1] * grid[2] // MERGE**2


def woven(span: VisionSpan) -> np.ndarray:
    """Which placeholders of a video with sound are the video's, [n] bool.

    Both go by time, an audio token lasting one position; at a tie the video comes first.
    """
    times = _block(span)[0]
    order = np.argsort(np.append(times, np.arange(span.audio_tokens)), kind="stable")
    return order < len(times)


def document_positions(length: int, spans: Items[VisionSpan]) -> np.ndarray:
    """[3, length] time, height, width of a document's tokens; `spans` in order.

    int64, or float32 when a video's temporal patches fall between two positions. The rotary tables read either; the
    next token of the document stands at the largest position + 1 on all axes. Raises SchemaError when an item's
    placeholders overlap another's or run past the document.
    """
    blocks = [_block(span) for span in spans]
    dtype = np.dtype(np.float32 if any(block.dtype == np.float32 for block in blocks) else np.int64)
    positions = np.empty((3, length), dtype=dtype)
    at, position = 0, dtype.type(0)
    for span, block in zip(spans, blocks, strict=True):
        end = span.offset + block.shape[1] + span.audio_tokens
        if span.offset < at or end > length:
            raise SchemaError(
                f"the placeholders of an image or video, [{span.offset}, {end}), do not fit a document of {length} "
                "tokens"
            )
        positions[:, at : span.offset] = position + np.arange(span.offset - at, dtype=dtype)
        position += dtype.type(span.offset - at)
        last = placed = position + block.astype(dtype)
        if span.audio_tokens:
            is_video = woven(span)
            sound = position + np.arange(span.audio_tokens, dtype=dtype)
            positions[:, span.offset : end][:, is_video] = placed
            positions[:, span.offset : end][:, ~is_video] = sound
            # the reference goes on after whichever of the two comes last, even if the other reached further
            last = placed if is_video[-1] else sound
        else:
            positions[:, span.offset : end] = placed
        position = last.max() + dtype.type(1)
        at = end
    positions[:, at:] = position + np.arange(length - at, dtype=dtype)
    return positions


def _block(span: VisionSpan) -> np.ndarray:
    """[3, t*h*w/merge^2] positions of an item's placeholders relative to where it stands."""
    t, h, w = span.grid
    shape = (t, h // MERGE, w // MERGE)
    block = np.indices(shape).reshape(3, -1)
    # rounded as the reference rounds: seconds in float32, then one product after the other
    times = (
        np.arange(t, dtype=np.float32) * np.float32(span.seconds_per_grid) * np.float32(span.position_id_per_seconds)
    )
    if (times == np.floor(times)).all():
        block[0] = np.repeat(times.astype(np.int64), shape[1] * shape[2])
        return block
    return np.concatenate([np.repeat(times, shape[1] * shape[2])[None], block[1:].astype(np.float32)])
