"""How many placeholders each media part of a batch takes, or why it cannot be used."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from pydantic import Field

from schemas.recipe import ImageTokens
from schemas.shard import audio_tokens
from transforms.base import Params
from transforms.parts import Parts
from transforms.probe import Fault
from transforms.tokens.measure import audio_length, image_size
from transforms.tokens.media import HOP_SAMPLES, SAMPLE_RATE_HZ, image_grid, image_tokens, mel_frames

_TOKENS_PER_SECOND = 13  # at least: audio_tokens gives 13 for 100 frames, more for what is left over


class AudioTokens(Params):
    """max_duration_s: longer clips are rejected; without it only `sequence_length` bounds them."""

    max_duration_s: float | None = Field(default=None, gt=0)


@dataclass(frozen=True, slots=True)
class Size:
    """A usable part: its number of placeholders, and the grid (image) or frames (audio) they stand for."""

    length: int
    grid_thw: tuple[int, int, int] | None = None
    frames: int | None = None


@dataclass(frozen=True, slots=True)
class PartSizes:
    """The rules sizes follow. What earlier steps measured (`image.width_px`, `image.height_px`, `audio.duration_s`) is
    believed; otherwise the bytes are opened, one part at a time."""

    image: ImageTokens
    audio: AudioTokens
    sequence_length: int

    def of(self, batch: pa.RecordBatch) -> list[Size | Fault]:
        """What each media part of the batch takes, or why it cannot be used."""
        data = batch.column("media").flatten().field("data")
        sizes: list[Size | Fault | None] = [None] * len(data)
        for kind, names in (("image", ("image.width_px", "image.height_px")), ("audio", ("audio.duration_s",))):
            parts = Parts.of(batch, kind)
            known = set(names) <= set(batch.schema.names)
            columns = [parts.column(name).to_pylist() if known else [None] * len(parts) for name in names]
            for at, flat in enumerate(parts.flat.tolist()):
                measured = [column[at] for column in columns]
                size = self._image if kind == "image" else self._audio
                sizes[flat] = size(data[flat], *measured)
        found = [size for size in sizes if size is not None]
        if len(found) < len(sizes):
            raise AssertionError("a media part is neither an image nor audio")
        return found

    def _image(self, data: pa.Scalar, width: int | None, height: int | None) -> Size | Fault:
        if width is None or height is None:
            try:
                width, height = image_size(data.as_py())
            except ValueError as error:
                return Fault("unreadable_image", str(error))
        params = self.image
        try:
            grid = image_grid(height, width, **params.model_dump())
        except ValueError as error:
            return Fault("extreme_aspect", str(error))
        return self._fitting(Size(image_tokens(grid, params.merge), grid_thw=grid))

    def _audio(self, data: pa.Scalar, duration_s: float | None) -> Size | Fault:
        limit_s = self.audio.max_duration_s
        if duration_s is None:
            longest_s = max(limit_s or 0.0, self.sequence_length / _TOKENS_PER_SECOND)
            try:
                samples, rate = audio_length(data.as_py(), longest_s)
            except ValueError as error:
                return Fault("unreadable_audio", str(error))
            duration_s = samples / rate
            frames = mel_frames(samples, rate)
        else:
            # Whole samples over a rate rarely make a whole binary fraction; the tolerance is below one sample.
            frames = int(duration_s * SAMPLE_RATE_HZ + 1e-6) // HOP_SAMPLES
        if frames == 0:
            return Fault("audio_too_short", f"{duration_s} s, less than the 0.01 s of one frame")
        if limit_s is not None and duration_s > limit_s:
            return Fault("audio_too_long", f"longer than {limit_s} s")
        return self._fitting(Size(audio_tokens(frames), frames=frames))

    def _fitting(self, size: Size) -> Size | Fault:
        # Room for the two marks, and for the document's end mark in the same sequence.
        room = self.sequence_length - 3
        if size.length > room:
            return Fault("too_large_for_sequence", f"{size.length} placeholders, room for {room}")
        return size
