"""Which way up a picture is shown."""

from __future__ import annotations

from PIL import Image

_ORIENTATION_TAG = 0x0112
_SIDEWAYS = (5, 6, 7, 8)  # Exif 2.32, §4.6.4


def lies_sideways(image: Image.Image) -> bool:
    """Whether EXIF says that width and height change places when the picture is shown.

    A broken EXIF block spoils no pixel: loaders ignore it, and the image counts as upright.
    """
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1)) in _SIDEWAYS
    except Exception:  # noqa: BLE001 - the EXIF parser raises as variously as the decoders do
        return False
