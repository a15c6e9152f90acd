"""image.decode: limits hold before pixels are decoded, and nothing in a file makes it raise."""

from __future__ import annotations

import io
import random
import tracemalloc
import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from schemas.errors import RecipeError
from tests.fixtures import MEDIA_FIXTURES, encoded, media_fixture, picture
from transforms.image.decode import Decode
from transforms.probe import Fault
from transforms.registry import build

_IMAGES = [name for name in MEDIA_FIXTURES if name.startswith(("png", "jpeg", "webp", "gif", "bmp", "tiff"))]
#: what Pillow would decode of these is what the limits are for
_BEYOND_LIMITS = ("png_bomb", "png_large_claim", "gif_many_frames", "gif_frame_bomb")


@pytest.fixture(scope="module")
def decode() -> Decode:
    transform = build("image.decode", {})
    transform.setup()
    return transform


@pytest.mark.parametrize("name", [name for name in _IMAGES if name not in _BEYOND_LIMITS])
def test_verdicts_are_those_of_a_full_decode(name: str, decode: Decode) -> None:
    """Decoding JPEGs at an eighth of their size must not let anything through, or stop anything, that Pillow would."""
    data = media_fixture(name)
    found = decode.probe(data)
    try:
        with Image.open(io.BytesIO(data)) as image:
            size = image.size
            for frame in range(1 if image.format == "MPO" else getattr(image, "n_frames", 1)):
                image.seek(frame)
                image.load()
    except Exception:  # noqa: BLE001
        assert isinstance(found, Fault)
    else:
        assert not isinstance(found, Fault)
        assert sorted(found[:2]) == sorted(size)


@pytest.mark.parametrize("progressive", [False, True])
def test_damaged_jpegs_meet_the_fate_of_a_full_decode(progressive: bool, decode: Decode) -> None:
    whole = encoded(picture(), "JPEG", progressive=progressive)
    rng = random.Random(5)
    verdicts = set()
    for _ in range(150):
        data = bytearray(whole[: rng.randrange(200, len(whole) + 1)] if rng.random() < 0.3 else whole)
        for _ in range(rng.randrange(0, 20)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        if not data.startswith(b"\xff\xd8\xff"):
            continue
        try:
            with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
                image.load()
            fine = True
        except Exception:  # noqa: BLE001
            fine = False
        assert fine != isinstance(decode.probe(bytes(data)), Fault)
        verdicts.add(fine)
    assert verdicts == {True, False}


@settings(max_examples=150)
@given(
    name=st.sampled_from([name for name in _IMAGES if name not in ("gif_frame_bomb", "gif_many_frames")]),
    flips=st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), max_size=12),
    length=st.floats(0, 1),
)
@example(name="png", flips=[(16, 255)], length=1.0)
def test_nothing_in_a_file_makes_it_raise(
    name: str, flips: list[tuple[int, int]], length: float, decode: Decode
) -> None:
    data = bytearray(media_fixture(name))
    for at, value in flips:
        data[at % len(data)] = value
    found = decode.probe(bytes(data[: round(length * len(data))]))
    if isinstance(found, Fault):
        assert found.reason in Decode.reasons
        assert " at 0x" not in (found.detail or ""), "an address in memory differs from run to run"
    else:
        assert len(found) == len(Decode.fields)


@given(st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"II*\x00", b"BM"]), st.binary(max_size=200))
def test_a_signature_and_noise_is_a_fault(start: bytes, noise: bytes) -> None:
    assert isinstance(build("image.decode", {}).probe(start + noise), Fault)


@pytest.mark.parametrize("name", ["png_bomb", "png_large_claim"])
def test_a_bomb_costs_no_memory(name: str, decode: Decode) -> None:
    data = media_fixture(name)
    tracemalloc.start()
    found = decode.probe(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(found, Fault) and found.reason == "too_many_pixels"
    assert peak < 1_000_000


def test_frames_stop_at_the_pixel_limit() -> None:
    """200 frames of a megapixel: decoding ends at the limit, not at the end of the file."""
    decode = build("image.decode", {"max_pixels": 5_000_000})
    found = decode.probe(media_fixture("gif_frame_bomb"))
    assert found == Fault("too_many_pixels", "1000 x 1000 pixels in each of 6 frames or more, at most 5000000 allowed")


def test_only_allowed_formats_are_opened(monkeypatch: pytest.MonkeyPatch, decode: Decode) -> None:
    opened: list[tuple[str, ...]] = []
    original = Image.open

    def spy(fp: io.BytesIO, mode: str = "r", formats: tuple[str, ...] | None = None) -> ImageFile.ImageFile:
        assert formats is not None
        opened.append(tuple(formats))
        return original(fp, mode, formats)

    monkeypatch.setattr(Image, "open", spy)
    for name in ("eps_as_jpg", "svg", "ppm", "text_as_jpg", "wav", "empty_file"):
        assert isinstance(decode.probe(media_fixture(name)), Fault)
    assert opened == []
    decode.probe(media_fixture("png"))
    assert opened == [("PNG",)]


def test_pillow_is_left_as_it_was(decode: Decode) -> None:
    for name in _IMAGES[:8]:
        decode.probe(media_fixture(name))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert Image.MAX_IMAGE_PIXELS == 89_478_485


def test_warnings_as_errors_change_no_verdict() -> None:
    transform = build("image.decode", {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert transform.probe(media_fixture("png_large_claim")).reason == "too_many_pixels"


def test_exotic_formats_cannot_be_asked_for() -> None:
    with pytest.raises(RecipeError, match=r"formats\.0"):
        build("image.decode", {"formats": ["EPS"]})
    with pytest.raises(RecipeError, match="max_pixels"):
        build("image.decode", {"max_pixels": 10**9})
