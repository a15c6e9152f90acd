"""Small media files, generated rather than stored: `media_fixture(name)` gives the same bytes in every run.

Names say what is in the file; `MEDIA_FIXTURES` lists them. A name ending in `_as_jpg` or `_as_wav` is for a file whose
extension lies.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
import soundfile
from PIL import Image

_BUILDERS: dict[str, Callable[[], bytes]] = {}


@cache
def media_fixture(name: str) -> bytes:
    """The bytes of a fixture; KeyError names the ones there are."""
    if name not in _BUILDERS:
        raise KeyError(f"no media fixture {name!r}; there are {', '.join(_BUILDERS)}")
    return _BUILDERS[name]()


def fixture(build: Callable[[], bytes]) -> Callable[[], bytes]:
    """Files a builder under its own name."""
    _BUILDERS[build.__name__] = build
    return build


# --- images -----------------------------------------------------------------------------------------------------------


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


# --- audio ------------------------------------------------------------------------------------------------------------

_PCM, _FLOAT = 1, 3  # WAVE format tags


def wav_file(samples: np.ndarray, rate_hz: int, *, tag: int | None = None, data_size: int | None = None) -> bytes:
    """A WAV of samples [n] or [n, channels] (int16 or float32); `data_size` overrides what the header claims."""
    body = samples.tobytes()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    width = samples.dtype.itemsize
    tag = tag or (_FLOAT if samples.dtype.kind == "f" else _PCM)
    claimed = len(body) if data_size is None else data_size
    rate_bytes = rate_hz * channels * width & 0xFFFFFFFF
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, channels, rate_hz, rate_bytes, channels * width, 8 * width)
    data = struct.pack("<4sI", b"data", claimed) + body
    return struct.pack("<4sI4s", b"RIFF", min(36 + claimed, 0xFFFFFFFF), b"WAVE") + fmt + data


def tone(seconds: float, rate_hz: int = 16_000, amplitude: float = 0.5, hz: float = 440.0) -> np.ndarray:
    """A sine, float64 [samples]."""
    return amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def pcm(samples: np.ndarray) -> np.ndarray:
    """Float samples as int16, clipped at full scale."""
    return np.clip(np.round(samples * 32768), -32768, 32767).astype("<i2")


def sound_file(samples: np.ndarray, rate_hz: int, container: str, subtype: str | None = None) -> bytes:
    """Samples encoded by libsndfile."""
    out = io.BytesIO()
    soundfile.write(out, samples, rate_hz, format=container, subtype=subtype)
    return out.getvalue()


@fixture
def wav() -> bytes:
    """One second of a 440 Hz tone at half of full scale, 16 kHz mono."""
    return wav_file(pcm(tone(1.0)), 16_000)


@fixture
def wav_silent() -> bytes:
    return wav_file(np.zeros(16_000, "<i2"), 16_000)


@fixture
def wav_quiet() -> bytes:
    """A tone of amplitude 10 in 32768: about -73 dBFS."""
    return wav_file(pcm(tone(1.0, amplitude=10 / 32768)), 16_000)


@fixture
def wav_mostly_silent() -> bytes:
    """A tone of 0.05 s in 0.95 s of silence."""
    return wav_file(pcm(np.concatenate([tone(0.05), np.zeros(15_200)])), 16_000)


@fixture
def wav_clipped() -> bytes:
    return wav_file(pcm(tone(1.0, amplitude=3.0)), 16_000)


@fixture
def wav_float() -> bytes:
    return wav_file(tone(1.0).astype("<f4"), 16_000)


def _spoilt(value: float) -> bytes:
    samples = tone(1.0).astype("<f4")
    samples[12_345] = value
    return wav_file(samples, 16_000)


@fixture
def wav_nan() -> bytes:
    return _spoilt(float("nan"))


@fixture
def wav_infinite() -> bytes:
    return _spoilt(float("-inf"))


@fixture
def wav_stereo_44k() -> bytes:
    """A quarter second, 44.1 kHz: a tone on the left, nothing on the right."""
    left = tone(0.25, 44_100)
    return wav_file(pcm(np.stack([left, np.zeros_like(left)], axis=1)), 44_100)


@fixture
def wav_short() -> bytes:
    """0.05 s."""
    return wav_file(pcm(tone(0.05)), 16_000)


@fixture
def wav_long() -> bytes:
    """41 s at 8 kHz."""
    return wav_file(pcm(tone(41.0, 8_000)), 8_000)


@fixture
def wav_no_samples() -> bytes:
    return wav_file(np.zeros(0, "<i2"), 16_000)


@fixture
def wav_truncated() -> bytes:
    return wav()[: len(wav()) // 2]


@fixture
def wav_huge_claim() -> bytes:
    """A header that promises 19 hours over one second of sound."""
    return wav_file(pcm(tone(1.0)), 16_000, data_size=0x8000_0100)


@fixture
def wav_streamed() -> bytes:
    """A header written before the length was known, as ffmpeg does into a pipe."""
    return wav_file(pcm(tone(1.0)), 16_000, data_size=0xFFFF_FFFF)


@fixture
def wav_impossible_rate() -> bytes:
    return wav_file(pcm(tone(0.1)), 2_000_000_000)


@fixture
def wav_unknown_codec() -> bytes:
    """A WAV in the extensible format whose extension names no codec."""
    return wav_file(pcm(tone(0.1)), 16_000, tag=0xFFFE)


@fixture
def wav_header_cut() -> bytes:
    return wav()[:20]


@fixture
def wav_mulaw() -> bytes:
    return sound_file(tone(1.0), 16_000, "WAV", "ULAW")


@fixture
def flac() -> bytes:
    return sound_file(pcm(tone(1.0)), 16_000, "FLAC")


@fixture
def flac_unknown_length() -> bytes:
    """Total samples 0 in STREAMINFO, as a streaming encoder leaves it."""
    data = bytearray(flac())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    return bytes(data)


@fixture
def flac_truncated() -> bytes:
    return flac()[: len(flac()) // 2]


@fixture
def flac_cut_between_frames() -> bytes:
    """Only whole frames, but fewer than the header promises."""
    data = flac()
    return data[: data.rindex(b"\xff\xf8")]


@fixture
def flac_corrupt() -> bytes:
    data = bytearray(flac())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    return bytes(data)


@fixture
def flac_hour() -> bytes:
    """An hour and a second of digital silence at 8 kHz: some 100 kB that decode to 28.8 million samples."""
    return sound_file(np.zeros(3601 * 8_000, "<i2"), 8_000, "FLAC")


@fixture
def mp3() -> bytes:
    return sound_file(tone(1.0), 16_000, "MP3")


@fixture
def mp3_truncated() -> bytes:
    return mp3()[: len(mp3()) * 2 // 3]


@fixture
def ogg() -> bytes:
    return _with_serial(sound_file(tone(1.0), 16_000, "OGG", "VORBIS"))


@fixture
def opus() -> bytes:
    return _with_serial(sound_file(tone(1.0), 16_000, "OGG", "OPUS"))


@fixture
def ogg_truncated() -> bytes:
    return ogg()[: len(ogg()) * 2 // 3]


@fixture
def aiff() -> bytes:
    return sound_file(pcm(tone(0.1)), 16_000, "AIFF")


@fixture
def text_as_wav() -> bytes:
    return b"<html><body>Service unavailable</body></html>"


def _with_serial(data: bytes, serial: int = 17) -> bytes:
    """An Ogg stream with its serial number set: libsndfile draws it at random (RFC 3533 §6, with new checksums)."""
    pages = []
    for page in data.split(b"OggS")[1:]:
        body = b"OggS" + page[:10] + struct.pack("<I", serial) + page[14:18] + bytes(4) + page[22:]
        pages.append(body[:22] + struct.pack("<I", _ogg_crc(body)) + body[26:])
    return b"".join(pages)


def _ogg_crc(page: bytes) -> int:
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc


MEDIA_FIXTURES = tuple(_BUILDERS)
