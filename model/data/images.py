"""Encoded image -> patches, as the Qwen2-VL preprocessing: sides to multiples of 32, bicubic, mean and deviation 0.5.

Reference: transformers `Qwen2VLImageProcessor` (Pillow variant), `smart_resize`.
"""

from __future__ import annotations

import io
import math
import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

from model.config import ImageConfig
from schemas.errors import SluiceError

PATCH, MERGE, TEMPORAL = 16, 2, 2
FACTOR = PATCH * MERGE
MAX_ASPECT = 200

#: what each 8-bit value becomes: mean and deviation 0.5, rounded where the reference rounds
_NORMALISED = ((np.arange(256) * (1 / 255)).astype(np.float32) - np.float32(0.5)) / np.float32(0.5)

_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def smart_resize(height: int, width: int, config: ImageConfig) -> tuple[int, int]:
    """The (height, width) an image is resized to: multiples of 32 whose product lies within the pixel bounds.

    Raises SluiceError when one side is more than 200 times the other.
    """
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise SluiceError(f"an image of {width}x{height} px is too narrow: at most {MAX_ASPECT} to 1 can be read")
    h, w = (round(x / FACTOR) * FACTOR for x in (height, width))
    if h * w > config.max_pixels:
        beta = math.sqrt(height * width / config.max_pixels)
        h, w = (max(FACTOR, math.floor(x / beta / FACTOR) * FACTOR) for x in (height, width))
    elif h * w < config.min_pixels:
        beta = math.sqrt(config.min_pixels / (height * width))
        h, w = (math.ceil(x * beta / FACTOR) * FACTOR for x in (height, width))
    return h, w


def open_image(data: bytes) -> Image.Image:
    """Decodes an image to RGB; raises SluiceError when the bytes are no image, or one too large to decode safely."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                return upright(image).convert("RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SluiceError(f"the image is too large to decode safely ({error})") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise SluiceError(f"the image cannot be decoded ({error})") from error


def upright(image: Image.Image) -> Image.Image:
    """A loaded image as it is meant to be seen: curation measures, and counts placeholders, after EXIF orientation.

    TIFFs are turned by Pillow while loading. An EXIF block that cannot be read turns nothing.
    """
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001  whatever a broken EXIF block makes the parser raise
        return image
    return image if turn is None else image.transpose(turn)


def grid_for(image: Image.Image, config: ImageConfig) -> tuple[int, int, int]:
    """The (t, h, w) grid of patches for an image."""
    height, width = smart_resize(image.height, image.width, config)
    return 1, height // PATCH, width // PATCH


def fit(image: Image.Image, grid: tuple[int, int, int]) -> Image.Image:
    """An image resized to its grid; one that fits already is copied as it is."""
    return image.resize((grid[2] * PATCH, grid[1] * PATCH), Image.Resampling.BICUBIC)


def patchify(image: Image.Image, grid: tuple[int, int, int]) -> np.ndarray:
    """[h*w, 3*2*16*16] float32: rows in merge-block order, features ordered channel, frame, y, x.

    The image fills all frames of its temporal patch.
    """
    frame = frame_blocks(image, grid)
    frames = np.broadcast_to(frame[..., None, :, :], (*frame.shape[:5], TEMPORAL, PATCH, PATCH))
    return frames.reshape(grid[1] * grid[2], -1)


def frame_blocks(image: Image.Image, grid: tuple[int, int, int]) -> np.ndarray:
    """[h/2, w/2, 2, 2, 3, 16, 16] float32: block row and column, row and column within it, channel, y, x."""
    _, h, w = grid
    pixels = _NORMALISED[np.asarray(fit(image, grid))]
    return pixels.reshape(h // MERGE, MERGE, PATCH, w // MERGE, MERGE, PATCH, 3).transpose(0, 3, 1, 4, 6, 2, 5)
