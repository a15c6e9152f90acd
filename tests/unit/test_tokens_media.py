"""Placeholder counts: smart_resize, grids, mel frames, audio tokens."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.shard import audio_tokens
from tests.fixtures import encoded, media_fixture, picture, sound_file, tone
from transforms.tokens.measure import audio_length, image_size
from transforms.tokens.media import image_grid, image_tokens, mel_frames, smart_resize

BOUNDS = {"min_pixels": 65536, "max_pixels": 16777216}


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (480, 640, (480, 640)),
        (240, 320, (256, 320)),  # 7.5 blocks round to 8
        (272, 336, (256, 320)),  # 8.5 and 10.5 blocks round to even: 8 and 10
        (304, 368, (320, 384)),  # 9.5 and 11.5 blocks round to even: 10 and 12
        (10, 10, (256, 256)),  # too small: grown to the least area
        (100, 20, (576, 128)),
        (8000, 8000, (4096, 4096)),  # too large: shrunk below the greatest area
        (9000, 3000, (7072, 2336)),
        (1, 200, (32, 3648)),  # the widest there is
    ],
)
def test_smart_resize(height, width, expected):
    assert smart_resize(height, width, 32, **BOUNDS) == expected


@pytest.mark.parametrize(("height", "width"), [(1, 201), (4020, 20), (0, 10), (10, 0), (-1, 5)])
def test_extreme_sides_are_errors(height, width):
    with pytest.raises(ValueError, match="factor of 200"):
        smart_resize(height, width, 32, **BOUNDS)


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_grids_are_whole_blocks_within_bounds(height, width):
    assume(max(height, width) <= 200 * min(height, width))
    t, h, w = image_grid(height, width, **BOUNDS)
    assert (t, h % 2, w % 2) == (1, 0, 0)
    assert BOUNDS["min_pixels"] <= h * w * 256 <= BOUNDS["max_pixels"]
    assert image_tokens((t, h, w)) * 4 == h * w


def test_image_tokens():
    assert image_grid(240, 320, **BOUNDS) == (1, 16, 20)
    assert image_tokens((1, 16, 20)) == 80
    assert image_tokens((3, 4, 6), merge=1) == 72


@pytest.mark.parametrize(("samples", "rate", "frames"), [(159, 16000, 0), (160, 16000, 1), (16000, 16000, 100)])
def test_mel_frames(samples, rate, frames):
    assert mel_frames(samples, rate) == frames
    assert mel_frames(samples * 3, rate * 3) == frames


def test_mel_frames_of_resampled_clips_round_down():
    assert mel_frames(44_100, 44_100) == 100
    assert mel_frames(44_099, 44_100) == 99
    assert mel_frames(1, 8_000) == 0


@pytest.mark.parametrize(
    ("frames", "tokens"), [(0, 0), (1, 1), (8, 1), (9, 2), (99, 13), (100, 13), (101, 14), (200, 26), (3000, 390)]
)
def test_audio_tokens(frames, tokens):
    assert audio_tokens(frames) == tokens


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("png", (320, 240)),
        ("webp", (320, 240)),
        ("gif_animated", (64, 48)),
        ("jpeg_exif_rotated", (240, 320)),
        ("tiff_exif_rotated", (240, 320)),
        ("jpeg_exif_upside_down", (320, 240)),
        ("jpeg_exif_broken", (320, 240)),
        ("png_1x1", (1, 1)),
    ],
)
def test_image_size_is_as_shown(name, size):
    assert image_size(media_fixture(name)) == size


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", ["text_as_jpg", "eps_as_jpg", "empty_file", "wav", "png_bomb", "svg"])
def test_images_that_cannot_be_opened_say_why_and_always_the_same(name):
    messages = set()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"\S") as caught:
            image_size(media_fixture(name))
        messages.add(str(caught.value))
    assert len(messages) == 1 and "0x7" not in messages.pop()


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "AIFF"])
def test_audio_length_counts_samples(container):
    assert audio_length(sound_file(tone(0.25, 8_000), 8_000, container), 10) == (2000, 8000)


def test_audio_length_counts_a_stream_without_length_and_stops_at_its_bound():
    assert audio_length(media_fixture("flac_unknown_length"), 60) == audio_length(media_fixture("flac"), 60)
    samples, rate = audio_length(media_fixture("flac_hour"), 5)
    assert 5 * rate < samples < 60 * rate


@pytest.mark.parametrize("name", ["text_as_wav", "empty_file", "png", "wav_unknown_codec", "wav_impossible_rate"])
def test_audio_that_cannot_be_opened_says_why(name):
    with pytest.raises(ValueError, match=r"\S"):
        audio_length(media_fixture(name), 10)


def test_a_header_is_enough_for_an_image():
    whole = encoded(picture(64, 32), "PNG")
    assert image_size(whole[:60]) == (64, 32)
