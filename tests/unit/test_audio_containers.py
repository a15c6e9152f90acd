"""What containers promise, and what is missing when they are cut."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fixtures import media_fixture
from transforms.audio.containers import missing_bytes
from transforms.media import sniff_mime

_WHOLE = ["wav", "wav_float", "wav_stereo_44k", "wav_mulaw", "wav_no_samples", "wav_streamed", "mp3", "ogg", "opus"]


@pytest.mark.parametrize("name", _WHOLE)
def test_whole_files_miss_nothing(name: str) -> None:
    data = media_fixture(name)
    assert missing_bytes(data, sniff_mime(data)) == 0
    assert missing_bytes(data + b"trailing", sniff_mime(data)) == 0


@pytest.mark.parametrize("name", ["wav", "wav_mulaw", "mp3"])
@given(cut=st.integers(1, 1500))
def test_what_is_cut_off_is_counted(name: str, cut: int) -> None:
    data = media_fixture(name)
    assert missing_bytes(data[:-cut], sniff_mime(data)) == cut


@example(cut=968)
@given(cut=st.integers(1, 4300))
def test_a_cut_ogg_misses_bytes_unless_cut_between_pages(cut: int) -> None:
    data = media_fixture("ogg")
    left = data[:-cut]
    between_pages = data[len(left) : len(left) + 4] == b"OggS"
    assert (missing_bytes(left, "audio/ogg") == 0) == between_pages


def test_chunks_before_the_data_are_skipped() -> None:
    data = media_fixture("wav")
    odd = b"LIST" + struct.pack("<I", 5) + b"INFO1\x00"  # an odd size is padded
    assert missing_bytes(data[:36] + odd + data[36:], "audio/wav") == 0
    assert missing_bytes(data[:36] + odd + data[36:-7], "audio/wav") == 7


def test_mp3_behind_an_id3_tag() -> None:
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 1, 0]) + bytes(128)
    data = tag + media_fixture("mp3")
    assert missing_bytes(data, "audio/mpeg") == 0
    assert missing_bytes(data[:-9], "audio/mpeg") == 9


@given(st.sampled_from(["audio/wav", "audio/ogg", "audio/mpeg", "audio/flac"]), st.binary(max_size=100))
def test_noise_does_not_make_it_raise(mime: str, noise: bytes) -> None:
    start = {"audio/wav": b"RIFF\x00\x00\x00\x00WAVE", "audio/ogg": b"OggS", "audio/mpeg": b"ID3"}.get(mime, b"fLaC")
    assert missing_bytes(start + noise, mime) >= 0
