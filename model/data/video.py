"""Frames of a video -> patches, as the Qwen3-VL preprocessing: sampled evenly, resized under a bound on all of them.

Reference: transformers `Qwen3VLVideoProcessor` (sampling, `smart_resize` over frames, height and width) and
`Qwen3VLProcessor._calculate_timestamps`; resizing by Pillow, as for images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Items
from dataclasses import dataclass

import numpy as np
from PIL import Image

from model.data.images import FACTOR, MAX_ASPECT, PATCH, TEMPORAL, frame_blocks
from schemas.errors import SluiceError

Grid = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """How many frames are looked at, and the pixels of all of them together; defaults as published."""

    fps: float = 2.0
    min_frames: int = 4
    max_frames: int = 768
    min_pixels: int = 4096
    max_pixels: int = 25_165_824


def sample_frames(total: int, fps: float, config: VideoConfig) -> list[int]:
    """Indices of the frames to look at, of `total` shot at `fps`: about `config.fps` a second, first and last too."""
    wanted = max(int(min(total / fps * config.fps, config.max_frames)), config.min_frames)
    wanted = min(wanted, config.max_frames, total)
    return np.linspace(0, total - 1, wanted).round().astype(int).tolist()


def smart_resize(frames: int, height: int, width: int, config: VideoConfig) -> tuple[int, int]:
    """The (height, width) each of `frames` frames is resized to: multiples of 32, their product within the bounds.

    Raises SluiceError when one side is more than 200 times the other.
    """
    if min(height, width) < FACTOR:
        scale = max(FACTOR / height, FACTOR / width)
        height, width = int(height * scale), int(width * scale)
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise SluiceError(f"a video of {width}x{height} px is too narrow: at most {MAX_ASPECT} to 1 can be read")
    h, w = (round(x / FACTOR) * FACTOR for x in (height, width))
    volume = round(frames / TEMPORAL) * TEMPORAL * h * w
    if volume > config.max_pixels:
        beta = math.sqrt(frames * height * width / config.max_pixels)
        h, w = (max(FACTOR, math.floor(x / beta / FACTOR) * FACTOR) for x in (height, width))
    elif volume < config.min_pixels:
        beta = math.sqrt(config.min_pixels / (frames * height * width))
        h, w = (math.ceil(x * beta / FACTOR) * FACTOR for x in (height, width))
    return h, w


def video_item(
    frames: Items[Image.Image], fps: float, config: VideoConfig = VideoConfig()
) -> tuple[np.ndarray, Grid, tuple[float, ...]]:
    """Patches [t*h*w, 3*2*16*16] float32, their (t, h, w) grid, and the time of each temporal patch in seconds.

    `frames`: images, all of one size, shot at `fps`. The last sampled frame is repeated to an even number. A
    temporal patch's time is the mean of its first and last frame's. Raises SluiceError for frames it cannot read so.
    """
    if not frames or not (0 < fps < math.inf):
        raise SluiceError(f"a video needs frames and a frame rate above 0, got {len(frames)} frames at {fps} a second")
    sizes = sorted({frame.size for frame in frames})
    if len(sizes) > 1:
        raise SluiceError(f"the frames of a video must be of one size, got {sizes[0]} and {sizes[1]} px")
    indices = sample_frames(len(frames), fps, config)
    width, height = sizes[0]
    h, w = smart_resize(max(len(indices), TEMPORAL), height, width, config)
    indices += indices[-1:] * (-len(indices) % TEMPORAL)
    grid = (len(indices) // TEMPORAL, h // PATCH, w // PATCH)
    blocks = {i: frame_blocks(frames[i].convert("RGB"), grid) for i in set(indices)}
    patches = [
        np.stack([blocks[i] for i in indices[k : k + TEMPORAL]], axis=-3).reshape(grid[1] * grid[2], -1)
        for k in range(0, len(indices), TEMPORAL)
    ]
    seconds = [i / fps for i in indices]
    times = tuple((seconds[k] + seconds[k + TEMPORAL - 1]) / 2 for k in range(0, len(indices), TEMPORAL))
    return np.concatenate(patches), grid, times
