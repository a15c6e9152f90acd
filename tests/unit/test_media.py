"""What bytes are taken for, and the media parts made of them."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SchemaError
from schemas.sample import MEDIA
from tests.fixtures import MEDIA_FIXTURES, media_fixture
from transforms.media import kind_of, media_part, sniff_mime

_BOX = b"\x00\x00\x00\x1cftyp"


@pytest.mark.parametrize(
    ("name", "mime"),
    [
        ("png", "image/png"),
        ("png_bomb", "image/png"),
        ("jpeg", "image/jpeg"),
        ("jpeg_mpo", "image/jpeg"),
        ("jpeg_truncated", "image/jpeg"),
        ("webp", "image/webp"),
        ("gif_animated", "image/gif"),
        ("bmp", "image/bmp"),
        ("tiff", "image/tiff"),
        ("ppm", "image/x-portable-anymap"),
        ("svg", "image/svg+xml"),
        ("wav", "audio/wav"),
        ("wav_header_cut", "audio/wav"),
        ("flac", "audio/flac"),
        ("mp3", "audio/mpeg"),
        ("ogg", "audio/ogg"),
        ("opus", "audio/opus"),
        ("aiff", "audio/aiff"),
        ("text_as_jpg", None),
        ("html_as_jpg", None),
        ("text_as_wav", None),
        ("empty_file", None),
    ],
)
def test_fixtures_are_sniffed(name: str, mime: str | None) -> None:
    assert sniff_mime(media_fixture(name)) == mime


@pytest.mark.parametrize(
    ("start", "mime"),
    [
        (_BOX + b"avif\x00\x00\x00\x00avifmif1", "image/avif"),
        (_BOX + b"mif1\x00\x00\x00\x00avifmiaf", "image/avif"),
        (_BOX + b"mif1\x00\x00\x00\x00heicmiaf", "image/heic"),
        (_BOX + b"heic\x00\x00\x00\x00mif1heic", "image/heic"),
        (_BOX + b"M4A \x00\x00\x02\x00M4A isom", "audio/mp4"),
        (_BOX + b"isom\x00\x00\x02\x00isomiso2", "video/mp4"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "audio/wav"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", None),
        (b"MM\x00+\x00\x08", "image/tiff"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x00", "audio/mpeg"),
        (b"\xff\xfb\x90\x00", "audio/mpeg"),
        (b"\xff\xf3\x48\xc4", "audio/mpeg"),
        (b"\xff\xf1\x50\x80", "audio/aac"),
        (b"\xff\xfb\xf0\x00", None),  # a bit rate that does not exist
        (b"\xff\xfb\x9c\x00", None),  # a sample rate that does not exist
        (b"\x1aE\xdf\xa3", "video/webm"),
        (b"%PDF-1.7", "application/pdf"),
        (b"BMW makes cars, and this is a text about them.", None),
        (b"P1 was the name of the plan", None),
        (b"P5\n# made by hand\n2 2\n255\n", "image/x-portable-anymap"),
        (b"Plain words", None),
        ("UTF-16 text".encode("utf-16"), None),
        (b"\xef\xbb\xbf<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b"<?xml version='1.0'?><rss></rss>", None),
        (b"\xff\xd8", None),
    ],
)
def test_signatures(start: bytes, mime: str | None) -> None:
    assert sniff_mime(start) == mime


@given(st.binary(max_size=64))
def test_sniffing_never_raises(data: bytes) -> None:
    mime = sniff_mime(data)
    assert mime is None or "/" in mime


@given(st.text(max_size=40).filter(lambda text: not text.startswith(("GIF8", "ID3", "8BPS", "icns", "caff", "<"))))
def test_text_is_no_media(text: str) -> None:
    assert kind_of(sniff_mime(text.encode("utf-8", "ignore"))) is None


@pytest.mark.parametrize(
    ("mime", "kind"),
    [
        ("image/png", "image"),
        ("audio/opus", "audio"),
        ("video/mp4", None),
        ("application/pdf", None),
        ("imagery/png", None),
        (None, None),
    ],
)
def test_kind_of(mime: str | None, kind: str | None) -> None:
    assert kind_of(mime) == kind


def test_a_part_is_a_media_struct() -> None:
    data = media_fixture("jpeg")
    part = media_part(3, data)
    digest = hashlib.sha256(data).digest()
    assert part == {"index": 3, "kind": "image", "data": data, "mime": "image/jpeg", "sha256": digest}
    assert pa.array([part], MEDIA).to_pylist() == [part]


def test_the_source_decides_the_kind_and_the_bytes_the_mime() -> None:
    letter = media_part(0, media_fixture("text_as_jpg"), "image")
    assert (letter["kind"], letter["mime"]) == ("image", "application/octet-stream")
    sound = media_part(0, media_fixture("wav"), "image")
    assert (sound["kind"], sound["mime"]) == ("image", "audio/wav")


@pytest.mark.parametrize("data", [b"", b"plain words", b"%PDF-1.7"])
def test_bytes_of_neither_kind_are_refused(data: bytes) -> None:
    with pytest.raises(SchemaError, match="media part 5 is"):
        media_part(5, data)


def test_fixtures_do_not_change() -> None:
    """The same bytes whenever they are built; Ogg's random serial number is the trap."""
    rebuilt = {name: media_fixture.__wrapped__(name) for name in ("ogg", "opus", "mp3", "flac", "gif", "wav_nan")}
    assert rebuilt == {name: media_fixture(name) for name in rebuilt}
    assert len(MEDIA_FIXTURES) == len({media_fixture(name) for name in MEDIA_FIXTURES})


def test_an_unknown_fixture_is_named() -> None:
    with pytest.raises(KeyError, match="no media fixture 'pgn'"):
        media_fixture("pgn")
