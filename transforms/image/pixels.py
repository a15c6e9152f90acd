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
#: longer sides are reduced by themselves; few pictures are 32 times as long as they are wide
_LONGEST = 32 * _ENOUGH
#: pixels of a picture with a palette that are given their colours at once: 4 MB
_STRIP_PIXELS = 1 << 20


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
    wanted = _sides(image.size)
    if wanted == image.size:
        return _flat(image, mode)
    if image.mode not in ("P", "PA", "1"):
        return _flat(image.reduce(_factors(image.size)), mode)
    # Colours of a palette cannot be averaged, and a million pixels are four megabytes as RGBA: strip by strip.
    across, down = _factors(image.size)
    whole = Image.new(mode, wanted)
    lines = max(1, _STRIP_PIXELS // (image.width * down)) * down
    for top in range(0, image.height, lines):
        strip = image.crop((0, top, image.width, min(top + lines, image.height)))
        whole.paste(_flat(strip, mode).reduce((across, down)), (0, top // down))
    return whole


def _factors(size: tuple[int, int]) -> tuple[int, int]:
    """By how much a picture is reduced, in width and height: both alike, to 192 pixels on its shorter side, and the
    longer side to 6,144 (a picture of 90 million pixels in one line would take gigabytes to resize)."""
    even = max(1, min(size) // _ENOUGH)
    return max(even, -(-size[0] // _LONGEST)), max(even, -(-size[1] // _LONGEST))


def _sides(size: tuple[int, int]) -> tuple[int, int]:
    across, down = _factors(size)
    return -(-size[0] // across), -(-size[1] // down)


def _flat(image: Image.Image, mode: str) -> Image.Image:
    if "A" in image.getbands() or "transparency" in image.info:
        pixels = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels).convert("RGB")
    return image.convert(mode) if image.mode in ("RGB", mode) else image.convert("RGB").convert(mode)
