"""Sizes read from a media part's own bytes, where no earlier step measured it."""

from __future__ import annotations

import io

import soundfile
from PIL import Image, UnidentifiedImageError

from transforms.audio.stream import BLOCK_VALUES, CREDIBLE_RATE_HZ, Stream
from transforms.image.orientation import lies_sideways

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
#: Pillow's own bomb limit, above which it refuses (twice PIL.Image.MAX_IMAGE_PIXELS)
_MAX_PIXELS = 178_956_970
_TURNED_BY_PILLOW = ("TIFF", "AVIF")


def image_size(data: bytes) -> tuple[int, int]:
    """(width, height) in px as shown, from the header alone; raises ValueError when it cannot be opened safely."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            width, height = image.size
            sideways = image.format not in _TURNED_BY_PILLOW and lies_sideways(image)
    except UnidentifiedImageError as error:
        # Its message holds an address in memory, another one each time.
        raise ValueError(f"no image of a known format, starts with {data[:12]!r}") from error
    except Exception as error:
        # Pillow's parsers raise nearly anything on hostile bytes; only Pillow calls stand in the try.
        raise ValueError(f"{type(error).__name__}: {error}"[:500]) from error
    if width * height > _MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels, more than {_MAX_PIXELS}")
    return (height, width) if sideways else (width, height)


def audio_length(data: bytes, max_duration_s: float) -> tuple[int, int]:
    """(samples in one channel, rate in Hz), counted by decoding; raises ValueError when libsndfile cannot.

    Headers are not believed: some count no samples, others too many. Counting stops soon after `max_duration_s`.
    """
    try:
        with Stream(data) as sound:
            rate = sound.samplerate
            if not CREDIBLE_RATE_HZ[0] <= rate <= CREDIBLE_RATE_HZ[1]:
                raise ValueError(f"the header claims a sample rate of {rate} Hz")
            limit = max_duration_s * rate
            block = max(1, BLOCK_VALUES // sound.channels)
            count = 0
            while count <= limit:
                read = len(sound.read(block, dtype="float32", always_2d=True))
                count += read
                if read < block:
                    break
    except soundfile.LibsndfileError as error:
        raise ValueError(error.error_string) from error
    return count, rate
