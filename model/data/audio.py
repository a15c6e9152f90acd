"""Encoded audio -> log-mel frames, as Whisper's front end: 16 kHz mono, 25 ms windows every 10 ms, 128 Slaney bands.

Reference: transformers `WhisperFeatureExtractor`; mel scale and area norm after Slaney's Auditory Toolbox (1998).
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator

import numpy as np
import soundfile
import soxr
import torch

from schemas.errors import SluiceError

SAMPLE_RATE_HZ = 16_000
FFT, HOP, BINS = 400, 160, 128
_BLOCK_FRAMES = 1 << 16


def _hertz_to_mel(hertz: np.ndarray) -> np.ndarray:
    """Linear to 1 kHz, logarithmic above."""
    return np.where(hertz < 1000, 3 * hertz / 200, 15 + np.log(np.maximum(hertz, 1) / 1000) * 27 / np.log(6.4))


def _mel_to_hertz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, 200 * mel / 3, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))


@functools.cache
def mel_filters() -> torch.Tensor:
    """[128, 201] triangular filters from 0 to 8000 Hz, each of unit area."""
    edges = _mel_to_hertz(np.linspace(0.0, float(_hertz_to_mel(np.array(8000.0))), BINS + 2))
    bins = np.linspace(0, SAMPLE_RATE_HZ / 2, FFT // 2 + 1)
    slopes = edges[:, None] - bins
    widths = np.diff(edges)
    falling, rising = slopes[2:] / widths[1:, None], -slopes[:-2] / widths[:-1, None]
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return torch.from_numpy(filters.astype(np.float32))


class _Stream(soundfile.SoundFile):
    """Audio read once from start to its real end, as curation measures it: a seekable SoundFile believes its header,
    and a streamed FLAC does not know its length."""

    def seekable(self) -> bool:
        return False


def _blocks(sound: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """[n, channels] blocks of a stream."""
    while len(block := sound.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        yield block


def decode_audio(data: bytes) -> np.ndarray:
    """Mono float32 samples at 16 kHz; raises SluiceError when the bytes are no audio or hold no sound."""
    try:
        with _Stream(io.BytesIO(data)) as sound:
            rate = sound.samplerate
            samples = np.concatenate(list(_blocks(sound)) or [np.empty((0, sound.channels), np.float32)])
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        raise SluiceError(f"the audio cannot be decoded ({error})") from error
    mono = np.nan_to_num(samples.mean(axis=1))
    if rate != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, rate, SAMPLE_RATE_HZ)
    if not len(mono):
        raise SluiceError("the audio holds no samples")
    return np.ascontiguousarray(mono, dtype=np.float32)


def log_mel(samples: np.ndarray, frames: int) -> torch.Tensor:
    """[128, frames] log-mel features of 16 kHz samples, cut or filled with silence to `frames` * 10 ms.

    What is left over after the last whole 10 ms is no frame of its own, but the last window hears it.
    """
    signal = torch.from_numpy(samples[: (frames + 1) * HOP - 1])
    # the reflected border of the transform needs more than half a window of signal
    signal = torch.nn.functional.pad(signal, (0, max(0, frames * HOP - len(signal), FFT // 2 + 1 - len(signal))))
    spectrum = torch.stft(signal, FFT, HOP, window=torch.hann_window(FFT), return_complex=True, center=True)
    power = spectrum[:, :frames].abs().square()
    mel = (mel_filters() @ power).clamp(min=1e-10).log10()
    mel = torch.maximum(mel, mel.max() - 8.0)
    return (mel + 4.0) / 4.0
