"""A picture as it is shown, small, from the bytes of a media part: for comparing it with others."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
from PIL import Image, ImageOps

from transforms.image.decode import DecodeParams, format_or_fault
from transforms.probe import Fault

#: a JPEG is decoded at the smallest of its eighths that leaves this many pixels a side
_ENOUGH = 192


def load_small(data: bytes, limits: DecodeParams, mode: str) -> Image.Image | None:
    """The first frame in `mode` ("L" or "YCbCr"), as shown: turned as EXIF says, on white where it is transparent.

    None for what `limits` forbid and for what cannot be decoded. Large pictures come reduced, to 192 pixels a side
    or more. Of an animation the first frame is compared: decoding all would cost as much as so many pictures.
    """
    found = format_or_fault(data, limits)
    if isinstance(found, Fault):
        return None
    try:
        with Image.open(io.BytesIO(data), formats=(found,)) as image:
            if image.width * image.height > limits.max_pixels:
                return None
            # A JPEG's luminance alone, where that is all that is wanted, costs half of its colours' decoding.
            image.draft(mode if image.mode in ("RGB", "L") else None, (_ENOUGH, _ENOUGH))
            image.load()
            return _shown(image, mode)
    except Exception:  # noqa: BLE001 - as various as in transforms.image.decode, and only Pillow's calls are here
        return None


def size_shown(data: bytes, limits: DecodeParams) -> int:
    """Pixels of the first frame, by the header; 0 for what cannot be opened."""
    found = format_or_fault(data, limits)
    if isinstance(found, Fault):
        return 0
    try:
        with Image.open(io.BytesIO(data), formats=(found,)) as image:
            return image.width * image.height
    except Exception:  # noqa: BLE001
        return 0


def _shown(image: Image.Image, mode: str) -> Image.Image:
    with suppress(Exception):  # a broken EXIF block spoils no pixel (transforms.image.orientation)
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):  # Pillow would cut these off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    factor = min(image.size) // _ENOUGH
    if factor >= 2 and image.mode not in ("P", "PA", "1"):
        image = image.reduce(factor)
    if "A" in image.getbands() or "transparency" in image.info:
        pixels = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels).convert("RGB")
    return image.convert(mode) if image.mode in ("RGB", mode) else image.convert("RGB").convert(mode)
