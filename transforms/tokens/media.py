"""How many placeholder tokens a media part takes, as the model family counts them."""

from __future__ import annotations

import math

SAMPLE_RATE_HZ = 16_000
#: samples from one mel frame to the next at `SAMPLE_RATE_HZ` (WhisperFeatureExtractor: hop_length)
HOP_SAMPLES = 160
MAX_ASPECT = 200


def smart_resize(height: int, width: int, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """The (height, width) an image is resized to: multiples of `factor`, area within bounds, aspect nearly kept.

    `smart_resize` of transformers' Qwen2VLImageProcessor, which Qwen3-VL and Qwen3-Omni use with factor 32. Half a
    factor rounds to even, as Python's `round` does. Raises ValueError when the sides are not positive or one is more
    than 200 times the other.
    """
    if min(height, width) <= 0 or max(height, width) / min(height, width) > MAX_ASPECT:
        raise ValueError(f"an image of {width} x {height} pixels; sides may differ by a factor of {MAX_ASPECT} at most")
    tall, wide = round(height / factor) * factor, round(width / factor) * factor
    if tall * wide > max_pixels:
        shrink = math.sqrt((height * width) / max_pixels)
        tall = max(factor, math.floor(height / shrink / factor) * factor)
        wide = max(factor, math.floor(width / shrink / factor) * factor)
    elif tall * wide < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        tall = math.ceil(height * grow / factor) * factor
        wide = math.ceil(width * grow / factor) * factor
    return tall, wide


def image_grid(
    height: int, width: int, *, patch: int = 16, merge: int = 2, min_pixels: int, max_pixels: int
) -> tuple[int, int, int]:
    """(t, h, w) of an image in patches, t = 1; h and w are multiples of `merge`. Errors as `smart_resize`."""
    tall, wide = smart_resize(height, width, patch * merge, min_pixels, max_pixels)
    return 1, tall // patch, wide // patch


def image_tokens(grid: tuple[int, int, int], merge: int = 2) -> int:
    """Placeholders of an image: one for each merge x merge block of patches (Qwen3VLProcessor)."""
    t, h, w = grid
    return t * h * w // merge**2


def mel_frames(num_samples: int, sample_rate_hz: int = SAMPLE_RATE_HZ) -> int:
    """Mel frames of a clip: one for each whole 10 ms once it is resampled to 16 kHz.

    The centred STFT of WhisperFeatureExtractor gives 1 + n // 160 frames, of which it drops the last. A resampled
    clip counts floor(n * 16000 / rate) samples, so that no resampler's rounding can leave it short of a frame.
    """
    return num_samples * SAMPLE_RATE_HZ // sample_rate_hz // HOP_SAMPLES
