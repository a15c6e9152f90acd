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


def fit(image: Image.Image, grid: tuple[int, int, int]) -> np.ndarray:
    """[h*16, w*16, 3] 8-bit pixels of an image resized to its grid."""
    _, h, w = grid
    return np.asarray(image.resize((w * PATCH, h * PATCH), Image.Resampling.BICUBIC))


def patches(pixels: np.ndarray, grid: tuple[int, int, int]) -> np.ndarray:
    """Fitted pixels -> [h*w, 3*2*16*16] float32: rows in merge-block order, features ordered channel, frame, y, x."""
    _, h, w = grid
    scaled = (pixels.astype(np.float32) - 127.5) / 127.5
    blocks = scaled.reshape(h // MERGE, MERGE, PATCH, w // MERGE, MERGE, PATCH, 3)
    # block row, block column, row and column within the block, channel, y, x
    ordered = blocks.transpose(0, 3, 1, 4, 6, 2, 5)
    frames = np.broadcast_to(ordered[..., None, :, :], (*ordered.shape[:5], TEMPORAL, PATCH, PATCH))
    return frames.reshape(h * w, -1)
