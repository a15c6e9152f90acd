"""audio.decode: measures equal a plain reference, whatever the blocks; hostile files stay within their bounds."""

from __future__ import annotations

import io
import math
import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures import MEDIA_FIXTURES, media_fixture, pcm, sound_file, tone, wav_file
from transforms.audio import decode as module
from transforms.audio.decode import Decode
from transforms.audio.levels import Levels, dbfs
from transforms.probe import Fault
from transforms.registry import build

_AUDIO = [name for name in MEDIA_FIXTURES if name.startswith(("wav", "flac", "mp3", "ogg", "opus", "aiff"))]
_WHOLE = [
    *("wav", "wav_silent", "wav_quiet", "wav_mostly_silent", "wav_clipped", "wav_float", "wav_stereo_44k", "wav_short"),
    *("wav_long", "wav_streamed", "wav_mulaw", "flac", "mp3", "ogg", "opus"),
]
_FIELDS = [name for name, _ in Decode.fields]


def probe(data: bytes, **params: object) -> dict[str, object]:
    found = build("audio.decode", params).probe(data)
    assert not isinstance(found, Fault), found
    return dict(zip(_FIELDS, found, strict=True))


def reference(data: bytes, below_dbfs: float = -50.0) -> dict[str, float]:
    """The measures from the whole recording at once."""
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float64", always_2d=True)
    length = round(rate * 0.02)
    frames = [samples[at : at + length] for at in range(0, len(samples), length)]
    silent = [math.sqrt(np.mean(frame**2)) < 10 ** (below_dbfs / 20) for frame in frames]
    return {
        "audio.duration_s": len(samples) / rate,
        "audio.rms_dbfs": dbfs(math.sqrt(np.mean(samples**2))),
        "audio.peak_dbfs": dbfs(np.abs(samples).max()),
        "audio.silence_ratio": sum(silent) / len(silent),
        "audio.clipped_ratio": float(np.mean(np.abs(samples) >= 0.999)),
    }


@pytest.mark.parametrize("name", _WHOLE)
def test_measures_equal_the_reference(name: str) -> None:
    data = media_fixture(name)
    measured = probe(data)
    for field, value in reference(data).items():
        assert measured[field] == pytest.approx(value, abs=1e-5), field


@pytest.mark.parametrize("block_values", [1, 1000, 7777])
def test_block_size_decides_nothing(block_values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(3).normal(0, 0.2, (44_100 + 123, 2)) * np.linspace(0, 1, 44_223)[:, None] ** 4
    data = wav_file(pcm(noise), 44_100)
    whole = probe(data)
    monkeypatch.setattr(module, "BLOCK_VALUES", block_values)
    assert probe(data) == pytest.approx(whole)
    assert 0 < whole["audio.silence_ratio"] < 1


def test_sine_levels() -> None:
    """A sine of amplitude a has an RMS of a / sqrt(2)."""
    measured = probe(wav_file(tone(1.0, amplitude=0.25).astype("<f4"), 16_000))
    assert measured["audio.rms_dbfs"] == pytest.approx(20 * math.log10(0.25 / math.sqrt(2)), abs=1e-3)
    assert measured["audio.peak_dbfs"] == pytest.approx(20 * math.log10(0.25), abs=1e-3)


@given(st.integers(1, 4000), st.sampled_from([8_000, 16_000, 22_050, 48_000]), st.integers(1, 3))
@settings(max_examples=40)
def test_duration_is_what_was_decoded(samples: int, rate_hz: int, channels: int) -> None:
    data = wav_file(np.full((samples, channels), 1000, "<i2"), rate_hz)
    measured = probe(data)
    assert measured["audio.duration_s"] == samples / rate_hz
    assert (measured["audio.sample_rate_hz"], measured["audio.channels"]) == (rate_hz, channels)
    # what lies behind a data chunk of unknown size is sound
    streamed = wav_file(np.full((samples, channels), 1000, "<i2"), rate_hz, data_size=0xFFFFFFFF)
    assert probe(streamed) == measured


@settings(max_examples=150)
@given(
    name=st.sampled_from([name for name in _AUDIO if name not in ("flac_hour", "wav_long")]),
    flips=st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), max_size=12),
    length=st.floats(0, 1),
)
def test_nothing_in_a_file_makes_it_raise(name: str, flips: list[tuple[int, int]], length: float) -> None:
    data = bytearray(media_fixture(name))
    for at, value in flips:
        # half of the damage goes into the header, where it does most
        data[(at % 64 if at % 2 else at) % len(data)] = value
    found = build("audio.decode", {}).probe(bytes(data[: round(length * len(data))]))
    if isinstance(found, Fault):
        assert found.reason in Decode.reasons
    else:
        measured = dict(zip(_FIELDS, found, strict=True))
        assert 0 < measured["audio.duration_s"] <= 3600
        assert 0 <= measured["audio.silence_ratio"] <= 1 and 0 <= measured["audio.clipped_ratio"] <= 1
        assert math.isfinite(measured["audio.rms_dbfs"]) and math.isfinite(measured["audio.peak_dbfs"])


@given(st.sampled_from([b"RIFF\x24\x00\x00\x00WAVEfmt ", b"fLaC", b"OggS\x00\x02", b"ID3"]), st.binary(max_size=300))
def test_a_signature_and_noise_is_a_fault(start: bytes, noise: bytes) -> None:
    assert isinstance(build("audio.decode", {}).probe(start + noise), Fault)


def test_memory_does_not_grow_with_the_length() -> None:
    """Ten minutes of silence in a FLAC of some 15 kB: 38 MB as float32, decoded in blocks of 1 MB."""
    data = sound_file(np.zeros(600 * 16_000, "<i2"), 16_000, "FLAC")
    transform = build("audio.decode", {})
    tracemalloc.start()
    found = transform.probe(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not isinstance(found, Fault) and found[2] == 600.0
    assert peak < 12_000_000


def test_too_long_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    add = Levels.add
    monkeypatch.setattr(Levels, "add", lambda self, block: seen.append(len(block)) or add(self, block))
    found = build("audio.decode", {"max_duration_s": 100}).probe(media_fixture("flac_hour"))
    assert found == Fault("too_long", "more than 100 s")
    assert sum(seen) <= 100 * 8_000
