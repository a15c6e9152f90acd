"""A recording as one channel at one sample rate, decoded under limits; for steps that listen rather than judge."""

from __future__ import annotations

import numpy as np
import soundfile
import soxr

from transforms.audio.containers import missing_bytes
from transforms.audio.stream import BLOCK_VALUES, CREDIBLE_RATE_HZ, Stream
from transforms.media import sniff_mime

#: what is opened; the formats of audio.decode
_MIMES = frozenset({"audio/wav", "audio/flac", "audio/ogg", "audio/opus", "audio/mpeg", "audio/aiff"})
#: channels of a credible recording: ambisonics of the seventh order have 64
_MAX_CHANNELS = 64


def waveform(data: bytes, rate_hz: int, *, max_duration_s: float) -> np.ndarray | None:
    """The mean of a recording's channels, resampled (soxr HQ): float32 [samples].

    None where audio.decode would find a fault (no audio, truncated, corrupt, NaN or infinity, a rate that is not
    credible) and where the recording is longer than `max_duration_s`; never raises on hostile bytes.
    """
    mime = sniff_mime(data)
    if mime not in _MIMES or missing_bytes(data, mime):
        return None
    try:
        return _read(data, rate_hz, max_duration_s)
    except soundfile.LibsndfileError:
        return None


def _read(data: bytes, rate_hz: int, max_duration_s: float) -> np.ndarray | None:
    with Stream(data) as sound:
        rate, channels = sound.samplerate, sound.channels
        if not (CREDIBLE_RATE_HZ[0] <= rate <= CREDIBLE_RATE_HZ[1] and channels <= _MAX_CHANNELS):
            return None
        resampler = soxr.ResampleStream(rate, rate_hz, 1) if rate != rate_hz else None
        pieces: list[np.ndarray] = []
        decoded = 0
        while len(block := sound.read(max(1, BLOCK_VALUES // channels), dtype="float32", always_2d=True)):
            decoded += len(block)
            with np.errstate(over="ignore", invalid="ignore"):
                mono = block.mean(axis=1)
            if decoded > max_duration_s * rate or not np.isfinite(mono).all():
                return None
            pieces.append(mono if resampler is None else resampler.resample_chunk(mono))
        if not decoded:
            return None
        if resampler is not None:
            pieces.append(resampler.resample_chunk(np.empty(0, np.float32), last=True))
        return np.concatenate(pieces)
