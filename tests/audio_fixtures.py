"""Generated recordings, whole and broken; tests.fixtures hands them out by name."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import soundfile

BUILDERS: dict[str, Callable[[], bytes]] = {}


def fixture(build: Callable[[], bytes]) -> Callable[[], bytes]:
    """Files a builder under its own name."""
    BUILDERS[build.__name__] = build
    return build


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


def chatter(seed: int, seconds: float, rate_hz: int = 16_000) -> np.ndarray:
    """Something like speech: a syllable every 0.2 s, of a gliding pitch and a few formants; float64 [samples]."""
    rng = np.random.default_rng(seed)
    length = round(0.2 * rate_hz)
    at = np.arange(length) / rate_hz
    made = []
    for _ in range(round(seconds / 0.2)):
        pitch = rng.uniform(90, 260) * np.exp2(rng.uniform(-2, 2) * at)
        formants = rng.uniform(250, 3600, 3)
        syllable = np.zeros(length)
        for harmonic in range(1, 30):
            hz = harmonic * pitch
            gain = np.exp(-(((hz[:, None] - formants) / 180) ** 2)).sum(axis=1)
            syllable += np.where(hz < 0.45 * rate_hz, gain, 0) * np.sin(2 * np.pi * np.cumsum(hz) / rate_hz)
        peak = rng.uniform(0.3, 0.7)
        made.append(syllable * np.minimum(at / (0.2 * peak), (0.2 - at) / (0.2 * (1 - peak))) * rng.uniform(0.4, 1))
    samples = np.concatenate(made)
    return 0.5 * samples / np.abs(samples).max()


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
