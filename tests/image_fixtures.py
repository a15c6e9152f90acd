"""Generated images, whole and broken; tests.fixtures hands them out by name."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

BUILDERS: dict[str, Callable[[], bytes]] = {}


def fixture(build: Callable[[], bytes]) -> Callable[[], bytes]:
    """Files a builder under its own name."""
    BUILDERS[build.__name__] = build
    return build


def scene(width: int, height: int, shade: int = 0) -> np.ndarray:
    """A textured RGB picture, uint8 [height, width, 3]: gradients with a grid, so that codecs have work to do."""
    y, x = np.mgrid[0:height, 0:width]
    grid = ((x // 8 + y // 8) % 2) * 60
    channels = [x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), grid + shade]
    return np.stack(channels, axis=-1).astype(np.uint8)


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    """A picture as a file of one of Pillow's formats."""
    out = io.BytesIO()
    image.save(out, image_format, **options)
    return out.getvalue()


def picture(width: int = 320, height: int = 240) -> Image.Image:
    return Image.fromarray(scene(width, height))


@fixture
def png() -> bytes:
    return encoded(picture(), "PNG")


@fixture
def jpeg() -> bytes:
    return encoded(picture(), "JPEG", quality=85)


@fixture
def jpeg_progressive() -> bytes:
    return encoded(picture(), "JPEG", quality=85, progressive=True)


@fixture
def webp() -> bytes:
    return encoded(picture(), "WEBP", quality=80)


@fixture
def gif() -> bytes:
    return encoded(picture(), "GIF")


@fixture
def bmp() -> bytes:
    return encoded(picture(), "BMP")


@fixture
def tiff() -> bytes:
    return encoded(picture(), "TIFF")


@fixture
def ppm() -> bytes:
    return encoded(picture(32, 24), "PPM")


def _frames(count: int, width: int, height: int) -> list[Image.Image]:
    return [Image.fromarray(scene(width, height, shade=17 * at % 190)) for at in range(count)]


@fixture
def gif_animated() -> bytes:
    first, *rest = _frames(4, 64, 48)
    return encoded(first, "GIF", save_all=True, append_images=rest, duration=100)


@fixture
def webp_animated() -> bytes:
    first, *rest = _frames(3, 64, 48)
    return encoded(first, "WEBP", save_all=True, append_images=rest, duration=100)


@fixture
def png_animated() -> bytes:
    first, *rest = _frames(3, 64, 48)
    return encoded(first, "PNG", save_all=True, append_images=rest, duration=100)


@fixture
def tiff_two_pages() -> bytes:
    first, *rest = _frames(2, 64, 48)
    return encoded(first, "TIFF", save_all=True, append_images=rest)


@fixture
def jpeg_mpo() -> bytes:
    """Two pictures in one JPEG, as phones write them."""
    first, *rest = _frames(2, 64, 48)
    return encoded(first, "MPO", save_all=True, append_images=rest)


@fixture
def jpeg_cmyk() -> bytes:
    return encoded(picture().convert("CMYK"), "JPEG", quality=85)


@fixture
def jpeg_gray() -> bytes:
    return encoded(picture().convert("L"), "JPEG", quality=85)


@fixture
def png_16bit() -> bytes:
    return encoded(Image.fromarray(scene(320, 240)[..., 0].astype(np.uint16) * 257), "PNG")


@fixture
def png_palette() -> bytes:
    return encoded(picture().quantize(16), "PNG", transparency=0)


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@fixture
def jpeg_exif_rotated() -> bytes:
    """Stored 320 x 240, to be shown 240 x 320."""
    return encoded(picture(), "JPEG", quality=85, exif=_exif(6))


@fixture
def png_exif_rotated() -> bytes:
    return encoded(picture(), "PNG", exif=_exif(8))


@fixture
def tiff_exif_rotated() -> bytes:
    return encoded(picture(), "TIFF", exif=_exif(6))


@fixture
def jpeg_exif_upside_down() -> bytes:
    return encoded(picture(), "JPEG", quality=85, exif=_exif(3))


@fixture
def jpeg_exif_broken() -> bytes:
    return encoded(picture(), "JPEG", quality=85, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff\x00\x01")


@fixture
def png_1x1() -> bytes:
    return encoded(picture(1, 1), "PNG")


@fixture
def png_wide() -> bytes:
    """2000 x 10."""
    return encoded(picture(2000, 10), "PNG")


@fixture
def png_small() -> bytes:
    """100 x 90."""
    return encoded(picture(100, 90), "PNG")


@fixture
def jpeg_truncated() -> bytes:
    return jpeg()[: len(jpeg()) // 2]


@fixture
def png_truncated() -> bytes:
    return png()[: len(png()) // 2]


@fixture
def webp_truncated() -> bytes:
    return webp()[: len(webp()) // 2]


@fixture
def gif_truncated() -> bytes:
    return gif_animated()[: len(gif_animated()) * 3 // 4]


@fixture
def jpeg_corrupt() -> bytes:
    """The first Huffman table claims more codes than fit, so no coefficient can be read."""
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc4") + 5
    data[at : at + 16] = b"\xff" * 16
    return bytes(data)


@fixture
def jpeg_no_frame() -> bytes:
    """A JPEG signature, one segment, and then no marker: Pillow cannot identify it."""
    return b"\xff\xd8\xff\xe8\x00\x10" + bytes(14) + b"no marker stands here" * 4


@fixture
def png_corrupt() -> bytes:
    """A flipped byte in the compressed pixels; the chunk's checksum no longer fits."""
    data = bytearray(png())
    data[data.index(b"IDAT") + 40] ^= 0xFF
    return bytes(data)


@fixture
def text_as_jpg() -> bytes:
    return b"Dies ist kein Bild, sondern ein Brief. This is no picture but a letter.\n" * 4


@fixture
def html_as_jpg() -> bytes:
    return b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>Not Found</body></html>"


@fixture
def eps_as_jpg() -> bytes:
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


@fixture
def svg() -> bytes:
    return b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'


@fixture
def empty_file() -> bytes:
    return b""


def png_file(width: int, height: int, pixels: bytes) -> bytes:
    """A PNG whose header claims a size, whatever the pixels are."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


@fixture
def png_bomb() -> bytes:
    """60000 x 60000 pixels claimed in some hundred bytes."""
    return png_file(60000, 60000, bytes(1000))


@fixture
def png_large_claim() -> bytes:
    """10000 x 10000: above the default limit, below the size at which Pillow itself refuses."""
    return png_file(10000, 10000, bytes(1000))


@fixture
def gif_many_frames() -> bytes:
    """1200 frames of one pixel each, about 30 kB."""
    screen = struct.pack("<6sHHBBB", b"GIF89a", 1, 1, 0x80, 0, 0) + b"\x00\x00\x00\xff\xff\xff"
    control = b"\x21\xf9\x04\x04\x01\x00\x00\x00"
    frame = control + struct.pack("<BHHHHB", 0x2C, 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return screen + frame * 1200 + b"\x3b"


@fixture
def gif_frame_bomb() -> bytes:
    """200 frames of 1000 x 1000 pixels: 200 megapixels in a few kB."""
    first = Image.new("P", (1000, 1000))
    data = encoded(first, "GIF")
    at = data.index(b"\x2c\x00\x00\x00\x00")
    body = data[at:-1]
    return data[:at] + (b"\x21\xf9\x04\x04\x01\x00\x00\x00" + body) * 200 + b"\x3b"
