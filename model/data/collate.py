"""Sequences or prompts -> one Batch: padding dropped, positions, targets and media features filled in."""

from __future__ import annotations

from collections.abc import Sequence as Items

import numpy as np
import torch

from model.batch import Audios, Batch, Images
from model.data.dataset import Sequence
from model.data.images import MERGE
from model.data.media import MediaCache
from schemas.errors import SchemaError
from schemas.shard import audio_tokens

IGNORE = -100
Grid = tuple[int, int, int]


def image_tokens(grid: Grid) -> int:
    """Placeholders of an image with a (t, h, w) grid of patches."""
    return grid[0] * grid[1] * grid[2] // MERGE**2


def document_positions(length: int, images: Items[tuple[int, Grid]]) -> np.ndarray:
    """[3, length] time, height, width positions of a document; `images`: (offset of the first placeholder, grid).

    Text and audio tokens advance all axes by one. An image stands at one time, spreads over height and width, and
    advances by the longer side (transformers `Qwen3VLMoeModel.get_rope_index`). Raises SchemaError when an image's
    placeholders overlap another's or run past the document.
    """
    positions = np.empty((3, length), dtype=np.int64)
    at, position = 0, 0
    for offset, (t, h, w) in images:
        h, w = h // MERGE, w // MERGE
        end = offset + t * h * w
        if offset < at or end > length:
            raise SchemaError(f"an image's placeholders, [{offset}, {end}), do not fit a document of {length} tokens")
        positions[:, at:offset] = np.arange(position, position + offset - at)
        position += offset - at
        positions[:, offset:end] = position + np.indices((t, h, w)).reshape(3, -1)
        position += max(h, w)
        at = end
    positions[:, at:] = np.arange(position, position + length - at)
    return positions


def collate(sequences: Items[Sequence], media: MediaCache | None = None) -> Batch:
    """One training batch: all documents of all sequences, end to end. `media` keeps what was decoded for the next."""
    media = media or MediaCache(0)
    tokens, targets, positions = [], [], []
    lengths: list[int] = []
    patches, grids, image_rows = [], [], []
    mels, frames, audio_rows = [], [], []
    start = 0  # of the sequence in the batch
    for sequence in sequences:
        ids = sequence.input_ids.astype(np.int64)
        labels = ids.copy()
        for first, length in sequence.loss_runs:
            labels[first : first + length] = IGNORE
        target = np.append(labels[1:], IGNORE)
        ends = np.cumsum(sequence.document_lengths, dtype=np.int64)
        target[ends - 1] = IGNORE
        for end, length in zip(ends.tolist(), sequence.document_lengths, strict=True):
            first = end - length
            inside = [(part.offset - first, part.grid) for part in sequence.images if first <= part.offset < end]
            positions.append(document_positions(length, inside))
        for part in sequence.images:
            patches.append(media.image(part))
            grids.append(part.grid)
            image_rows.append(np.arange(image_tokens(part.grid)) + start + part.offset)
        for clip in sequence.audios:
            if not clip.frames:  # shorter than a frame: it has no placeholder either
                continue
            mels.append(media.audio(clip))
            frames.append(clip.frames)
            audio_rows.append(np.arange(audio_tokens(clip.frames)) + start + clip.offset)
        tokens.append(ids)
        targets.append(target)
        lengths += sequence.document_lengths
        start += len(ids)
    return Batch(
        tokens=torch.from_numpy(np.concatenate(tokens)),
        targets=torch.from_numpy(np.concatenate(targets)),
        positions=torch.from_numpy(np.concatenate(positions, axis=1)),
        lengths=tuple(lengths),
        images=Images(_join(patches), tuple(grids), _join(image_rows)) if patches else None,
        audios=Audios(torch.cat(mels, dim=1), tuple(frames), _join(audio_rows)) if mels else None,
    )


def _join(arrays: Items[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(arrays))
