"""Decoding images under limits: what cannot be shown to a model is named and leaves, before anything relies on it."""

from __future__ import annotations

import io
import re
import warnings
from typing import Any, ClassVar, Literal

import pyarrow as pa
from PIL import Image
from pydantic import Field

from transforms.base import PartParams
from transforms.image.orientation import lies_sideways
from transforms.media import sniff_mime
from transforms.probe import Fault, PartProbe
from transforms.registry import register

Format = Literal["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM"]

#: Pillow's name for what the signature shows. Nothing else is ever opened, so plugins that start programs
#: (EPS: Ghostscript) or read what no web page shows (PSD, DDS, ICNS, …) are out of a hostile file's reach.
_FORMATS: dict[str, Format] = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
    "image/avif": "AVIF",
    "image/jp2": "JPEG2000",
    "image/j2c": "JPEG2000",
    "image/x-portable-anymap": "PPM",
}

#: Pillow's own bomb limit: it warns above this and refuses above twice this (PIL.Image.MAX_IMAGE_PIXELS)
_PILLOW_MAX_PIXELS = 89_478_485

#: Pillow's messages name Python objects; where one lies in memory would make the ledger differ from run to run.
_MEMORY_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


class DecodeParams(PartParams):
    """Limits of `image.decode`.

    formats: what may be opened; the default is what browsers and the usual loaders show. A narrower list follows
        OBELICS (JPEG, PNG, WEBP).
    max_pixels: of one image, all frames together; the default is where Pillow starts to warn of bombs.
    max_frames: of one animation or multi-page file.
    max_bytes: of the encoded file.
    """

    formats: tuple[Format, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
    max_pixels: int = Field(default=_PILLOW_MAX_PIXELS, gt=0, le=2 * _PILLOW_MAX_PIXELS)
    max_frames: int = Field(default=1000, gt=0)
    max_bytes: int = Field(default=64 * 2**20, gt=0)


@register("image.decode", version=1)
class Decode(PartProbe[DecodeParams]):
    """Decodes every frame of every image part, and rejects the parts that Pillow cannot decode completely.

    Adds part columns: `image.width_px`, `image.height_px` (as shown: after the EXIF orientation), `image.format`
    (Pillow's name, MPO counted as JPEG), `image.mode` (as stored: RGB, L, P, CMYK, I;16, …), `image.frames`.
    The size is checked against the limits before any pixel is decoded, frame by frame.

    JPEGs are decoded at an eighth of their size (libjpeg's scaled inverse transform): the entropy-coded stream is
    still read to its end, so the verdict is the same at half the cost. Damage that libjpeg itself conceals
    (flipped bits that still parse) passes, as it would in any loader.
    """

    Params = DecodeParams
    kind = "image"
    reasons = frozenset(
        {
            "empty",
            "not_an_image",
            "unsupported_format",
            "too_many_bytes",
            "too_many_pixels",
            "too_many_frames",
            "truncated",
            "corrupt",
        }
    )
    fields: ClassVar[tuple[tuple[str, pa.DataType], ...]] = (
        ("image.width_px", pa.int32()),
        ("image.height_px", pa.int32()),
        ("image.format", pa.string()),
        ("image.mode", pa.string()),
        ("image.frames", pa.int32()),
    )

    def setup(self) -> None:
        quiet_pillow()

    def probe(self, data: bytes) -> tuple[Any, ...] | Fault:
        image_format = format_or_fault(data, self.params)
        if isinstance(image_format, Fault):
            return image_format
        try:
            return self._decode(data, image_format)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            return Fault("too_many_pixels", str(error))
        except Exception as error:  # noqa: BLE001
            # Pillow's decoders raise OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError,
            # struct.error, zlib.error, OverflowError, MemoryError, NotImplementedError, … on hostile bytes, and the
            # list grows with every release. Only Pillow calls stand in the try, so none of ours hide behind it.
            message = _MEMORY_ADDRESS.sub("", f"{type(error).__name__}: {error}")
            return Fault("truncated" if "truncated" in message.lower() else "corrupt", message[:500])

    def _decode(self, data: bytes, image_format: Format) -> tuple[Any, ...] | Fault:
        with Image.open(io.BytesIO(data), formats=(image_format,)) as image:
            width, height = image.size
            mode = image.mode
            pixels = width * height
            if pixels > self.params.max_pixels:
                return self._too_many_pixels(width, height, 1)
            if image.format in ("JPEG", "MPO"):
                image.draft(None, (1, 1))
            image.load()
            # Asked after loading: Pillow turns a TIFF by itself, and then drops the tag.
            if lies_sideways(image):
                width, height = height, width
            frames = 1
            # The further pictures of an MPO (depth maps, previews of the phone that took it) are not frames.
            while image.format != "MPO" and _has_frame(image, frames):
                frames += 1
                pixels += image.width * image.height
                if frames > self.params.max_frames:
                    return Fault("too_many_frames", f"more than {self.params.max_frames} frames")
                if pixels > self.params.max_pixels:
                    return self._too_many_pixels(width, height, frames)
                image.load()
            return width, height, image_format, mode, frames

    def _too_many_pixels(self, width: int, height: int, frames: int) -> Fault:
        size = f"{width} x {height} pixels" + (f" in each of {frames} frames or more" if frames > 1 else "")
        return Fault("too_many_pixels", f"{size}, at most {self.params.max_pixels} allowed")


def format_or_fault(data: bytes, limits: DecodeParams) -> Format | Fault:
    """What Pillow may open the bytes as, by their signature, or why it may not; no decoder has seen them yet."""
    if not data:
        return Fault("empty", "0 bytes")
    if len(data) > limits.max_bytes:
        return Fault("too_many_bytes", f"{len(data)} bytes, at most {limits.max_bytes} allowed")
    mime = sniff_mime(data)
    if mime is None or not mime.startswith("image/"):
        return Fault("not_an_image", f"{mime or 'no known signature'}, starts with {data[:12]!r}")
    image_format = _FORMATS.get(mime)
    if image_format is None or image_format not in limits.formats:
        return Fault("unsupported_format", f"{mime}; allowed are {', '.join(limits.formats)}")
    if mime == "image/webp" and int.from_bytes(data[4:8], "little") + 8 > len(data):
        return Fault("truncated", f"{len(data)} of {int.from_bytes(data[4:8], 'little') + 8} bytes")
    return image_format


def quiet_pillow() -> None:
    """Imports Pillow's plugins and silences its warnings; called in `setup` of what opens pictures."""
    Image.init()  # imports all plugins, a quarter of a second that would otherwise fall on one unlucky image
    # Pillow warns on stderr of the very things that become reject rows here; over a million images that is noise.
    # A filter is set rather than warnings.catch_warnings used, because the latter is not thread-safe.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def _has_frame(image: Image.Image, frame: int) -> bool:
    # Asking frame by frame keeps the work within the limits; `n_frames` walks the whole file first.
    try:
        image.seek(frame)
    except EOFError:
        return False
    return True
