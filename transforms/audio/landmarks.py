"""Spectral landmarks: what of a recording survives gain, noise, codecs and cuts (Wang 2003, "An industrial-strength
audio search algorithm").

A landmark is a local maximum of the spectrogram: a frame of 8 ms and a bin of 15.6 Hz, between 125 and 3,900 Hz, so
that 8 kHz telephony has the same ones as a studio recording.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transforms.kernels.landmarks import BIN_BITS, constellations, local_maxima

#: everything is measured at this rate
RATE_HZ = 8_000
#: samples of an analysis window (Hann): 64 ms
_WINDOW = 512
#: samples between frames: 8 ms, so that a shift by half of it moves no landmark far
_HOP = 64
#: bins in which landmarks are picked, of 15.6 Hz
_LOW, _HIGH = 8, 250
#: a landmark is the loudest cell within 80 ms and 125 Hz
_NEAR_FRAMES, _NEAR_BINS = 10, 8
#: a landmark is 1 dB louder than its bin is 80 ms before and after: a steady tone has none
_FALL = np.float32(10**-0.1)
#: landmarks more than 30 dB below the clip's loud frames (their 95th percentile) are the room's, not the sound's
_RANGE, _LOUD = 1e-3, 95
#: constellations: three of the five loudest landmarks 0.1 to 0.6 s after an anchor; in steps of 16 ms and 31 Hz
_CONSTELLATION = (5, 12, 75, 2, 2)
#: frames of a spectrogram in memory at once: 5 MB with its workings
_FRAMES = 1_024
_HANN = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)


@dataclass(frozen=True, slots=True)
class Landmarks:
    """A recording's landmarks, by (frame, bin): frames, bins int64 [n], levels float32 [n] (power, in no unit).

    total: frames of the recording.
    """

    total: int
    frames: np.ndarray
    bins: np.ndarray
    levels: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)

    def packed(self) -> np.ndarray:
        """The recording's frames, then frame << 8 | bin of each landmark, ascending: uint32 [1 + n]; what two
        recordings are aligned by."""
        return np.concatenate([[self.total], self.frames << BIN_BITS | self.bins]).astype("<u4")

    def hashes(self) -> np.ndarray:
        """The distinct hashes of constellations of four landmarks, uint64, ascending. They hold no absolute time."""
        made: np.ndarray = constellations(self.frames, self.bins, self.levels, *_CONSTELLATION)
        return np.unique(made)


def landmarks_of(samples: np.ndarray) -> Landmarks:
    """The landmarks of a waveform at RATE_HZ, float32 [samples]; none of silence, nor of less than a window."""
    peak = np.abs(samples).max(initial=0)
    if not (0 < peak < np.inf):
        samples = samples[:0]
    total = max(0, (len(samples) - _WINDOW) // _HOP + 1)
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP] if total else np.empty((0, _WINDOW))
    frames, bins, levels, loudest = [], [], [], []
    for start in range(0, total, _FRAMES):
        stop = min(total, start + _FRAMES)
        before = max(0, start - _NEAR_FRAMES)
        spectrum = np.fft.rfft(windows[before : stop + _NEAR_FRAMES] / peak * _HANN, axis=1)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        found = local_maxima(power, start - before, stop - before, _LOW, _HIGH, _NEAR_FRAMES, _NEAR_BINS, _FALL)
        frames.append(found[0] + before)
        bins.append(found[1])
        levels.append(power[found])
        loudest.append(power[start - before : stop - before, _LOW:_HIGH].max(axis=1))
    if not frames:
        return Landmarks(0, np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    level = np.concatenate(levels)
    heard = level >= _RANGE * np.percentile(np.concatenate(loudest), _LOUD)
    return Landmarks(total, np.concatenate(frames)[heard], np.concatenate(bins)[heard], level[heard])
