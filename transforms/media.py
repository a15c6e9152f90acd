"""What a blob of bytes is, judged by its first bytes, and how it becomes a media part.

File names and Content-Type headers lie (an HTML error page saved as photo.jpg is the classic), so only the bytes
count. Signatures follow the WHATWG MIME Sniffing Standard (§6) where it has one, and the formats' own
specifications elsewhere.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from schemas.errors import SchemaError

UNKNOWN_MIME = "application/octet-stream"

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"II+\x00", "image/tiff"),  # BigTIFF
    (b"MM\x00+", "image/tiff"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"\xff\x4f\xff\x51", "image/j2c"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"\x00\x00\x02\x00", "image/x-icon"),  # cursor, the same container
    (b"icns", "image/icns"),
    (b"8BPS", "image/vnd.adobe.photoshop"),
    (b"DDS ", "image/vnd-ms.dds"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b".snd", "audio/basic"),
    (b"NIST_1A", "audio/x-nist"),
    (b"#!AMR", "audio/amr"),
    (b"caff", "audio/x-caf"),
    (b"MThd", "audio/midi"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"%PDF-", "application/pdf"),
    (b"%!PS", "application/postscript"),
)

#: RIFF, RIFX (big endian), RF64 and FORM containers: the form type stands at byte 8
_FORMS = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AIFF": "audio/aiff", b"AIFC": "audio/aiff"}
_FORM_CONTAINERS = (b"RIFF", b"RIFX", b"RF64", b"FORM")

#: ISO base media files: the major brand stands at byte 8
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"hevc": "image/heic",
    b"mif1": "image/heic",
    b"msf1": "image/heic",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
}

#: Netpbm: the letter P, a digit, white space, then the width or a comment
_PNM_HEADER = re.compile(rb"P[1-6][ \t\r\n]\s*[0-9#]")


def sniff_mime(data: bytes) -> str | None:
    """The MIME type the first bytes show, or None when no signature fits.

    `audio/opus` stands for Opus in Ogg, `audio/ogg` for any other codec in Ogg.
    """
    for magic, mime in _STARTS:
        if data.startswith(magic):
            return mime
    if data[:4] in _FORM_CONTAINERS:
        return _FORMS.get(data[8:12])
    if data[4:8] == b"ftyp":
        return _iso_brand(data)
    if data.startswith(b"OggS"):
        return "audio/opus" if b"OpusHead" in data[:64] else "audio/ogg"
    if data.startswith(b"BM") and len(data) >= 18 and data[15:18] == b"\x00\x00\x00":
        return "image/bmp"  # two letters alone would make images of English text; a DIB header is < 256 bytes long
    if _PNM_HEADER.match(data):
        return "image/x-portable-anymap"
    return _mpeg_audio(data) or _svg(data)


def kind_of(mime: str | None) -> str | None:
    """The media kind a MIME type belongs to: "image", "audio", or None."""
    kind = (mime or "").partition("/")[0]
    return kind if kind in ("image", "audio") else None


def media_part(index: int, data: bytes, kind: str | None = None) -> dict[str, Any]:
    """One entry of SAMPLE's `media` (struct MEDIA), with the sniffed MIME type and the digest.

    `kind` is what the source takes the part for ("image" | "audio"), by its place or its name; it stands even when
    the bytes say otherwise, so that image.decode or audio.decode rejects the part with the true reason. Without it
    the kind is sniffed, and SchemaError is raised when the bytes are neither.
    """
    mime = sniff_mime(data)
    kind = kind or kind_of(mime)
    if kind not in ("image", "audio"):
        raise SchemaError(
            f"media part {index} is {mime or 'of no known type'} (it starts with {data[:12]!r}), neither image nor "
            "audio; say which kind it should be to let image.decode or audio.decode judge it, or leave it out"
        )
    digest = hashlib.sha256(data).digest()
    return {"index": index, "kind": kind, "data": data, "mime": mime or UNKNOWN_MIME, "sha256": digest}


def _iso_brand(data: bytes) -> str:
    size = int.from_bytes(data[:4], "big")
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, min(size, len(data), 256), 4))]
    # AVIF files may carry the generic `mif1` as major brand and name themselves among the compatible ones.
    if brands[0] in (b"mif1", b"msf1") and (b"avif" in brands or b"avis" in brands):
        return "image/avif"
    return _BRANDS.get(brands[0], "video/mp4")


def _mpeg_audio(data: bytes) -> str | None:
    """MP3 or AAC without an ID3 tag: the frame header (ISO/IEC 11172-3 §2.4.1.3; ADTS, ISO/IEC 13818-7 §6.2)."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer = data[1] >> 3 & 3, data[1] >> 1 & 3
    if layer == 0 and data[1] & 0xF0 == 0xF0:
        return "audio/aac"
    bitrate, rate = data[2] >> 4, data[2] >> 2 & 3
    # Layer III only: with the other layers, UTF-16 text (FF FE) would pass.
    return "audio/mpeg" if layer == 1 and version != 1 and bitrate not in (0, 15) and rate != 3 else None


def _svg(data: bytes) -> str | None:
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"<svg") or (head.startswith(b"<?xml") and b"<svg" in head):
        return "image/svg+xml"
    return None
