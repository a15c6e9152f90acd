"""Sequences or prompts -> one Batch: padding dropped, positions, targets and media features filled in."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import replace

import numpy as np
import torch

from model.batch import Audios, Batch, Images
from model.data.dataset import Sequence, VideoPart
from model.data.media import MediaCache
from model.data.positions import VisionSpan, document_positions, image_tokens, woven
from schemas.shard import audio_tokens

IGNORE = -100


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
        spans = [VisionSpan(part.offset, part.grid) for part in sequence.images]
        spans += [span for video in sequence.videos for span in video_spans(video)]
        for end, length in zip(ends.tolist(), sequence.document_lengths, strict=True):
            first = end - length
            inside = [replace(s, offset=s.offset - first) for s in spans if first <= s.offset < end]
            positions.append(document_positions(length, sorted(inside, key=lambda span: span.offset)))
        for part in sequence.images:
            patches.append(media.image(part))
            grids.append(part.grid)
            image_rows.append(np.arange(image_tokens(part.grid)) + start + part.offset)
        for video in sequence.videos:
            patches.append(video.patches)
            grids.append(video.grid)
            rows, sound_rows = video_rows(video)
            image_rows.append(rows + start)
            if video.sound is not None:
                mels.append(media.audio(video.sound))
                frames.append(video.sound.frames)
                audio_rows.append(sound_rows + start)
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
        positions=_join_positions(positions),
        lengths=tuple(lengths),
        images=Images(_join(patches), tuple(grids), _join(image_rows)) if patches else None,
        audios=Audios(torch.cat(mels, dim=1), tuple(frames), _join(audio_rows)) if mels else None,
    )


def video_spans(video: VideoPart) -> list[VisionSpan]:
    """What a video is to the positions: an item for each place where it has placeholders."""
    t, h, w = video.grid
    grid = (t // len(video.offsets), h, w)
    sound = audio_tokens(video.sound.frames) if video.sound else 0
    timing = (video.seconds_per_grid, video.position_id_per_seconds, sound)
    return [VisionSpan(offset, grid, *timing) for offset in video.offsets]


def video_rows(video: VideoPart) -> tuple[np.ndarray, np.ndarray]:
    """The placeholders of a video's patches and of its sound, in their sequence."""
    spans = video_spans(video)
    if video.sound is not None:
        is_video = woven(spans[0])
        return video.offsets[0] + np.flatnonzero(is_video), video.offsets[0] + np.flatnonzero(~is_video)
    rows = [span.offset + np.arange(image_tokens(span.grid)) for span in spans]
    return np.concatenate(rows), np.empty(0, dtype=np.int64)


def _join_positions(arrays: Items[np.ndarray]) -> torch.Tensor:
    """int64 where all documents' positions are whole numbers, else float32."""
    whole = all(a.dtype == np.int64 for a in arrays)
    return torch.from_numpy(np.concatenate(arrays, axis=1).astype(np.int64 if whole else np.float32))


def _join(arrays: Items[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(arrays))
