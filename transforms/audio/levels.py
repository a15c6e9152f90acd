"""Loudness, silence and clipping of a recording, measured block by block as it is decoded."""

from __future__ import annotations

import math

import numpy as np

#: A frame for silence is 20 ms, the window of common voice activity detectors (WebRTC: 10, 20 or 30 ms).
FRAME_S = 0.02

#: Full scale as decoders give it: 16-bit PCM reaches 32767/32768 upwards, 8-bit only 127/128.
CLIP_LEVEL = 0.999

#: What digital silence measures; the logarithm of zero has no column type.
FLOOR_DBFS = -180.0


def dbfs(amplitude: float) -> float:
    """Decibels relative to full scale (amplitude 1.0), not below FLOOR_DBFS. A full-scale sine has -3.01 dBFS RMS."""
    return max(FLOOR_DBFS, 20.0 * math.log10(amplitude)) if amplitude > 0 else FLOOR_DBFS


class Levels:
    """Running measures of one recording, all channels together.

    Blocks are float arrays [samples, channels]; every block but the last holds a whole number of frames.
    """

    def __init__(self, frame_samples: int, silence_below_dbfs: float) -> None:
        self._frame_samples = frame_samples
        self._silent_power = 10.0 ** (silence_below_dbfs / 10.0)
        self._power = 0.0
        self._peak = 0.0
        self._clipped = 0
        self._frames = 0
        self._silent_frames = 0
        self.values = 0  # samples x channels

    def add(self, block: np.ndarray) -> bool:
        """Takes the next block in; False when it holds NaN or infinity."""
        # The float64 sum is not finite exactly when a float32 sample is not: squares of the largest still fit.
        squares = np.square(block, dtype=np.float64)
        num_frames = len(block) // self._frame_samples
        whole = num_frames * self._frame_samples
        powers = squares[:whole].reshape(num_frames, self._frame_samples * block.shape[1]).mean(axis=1)
        total = float(squares.sum())
        if not math.isfinite(total):
            return False
        magnitudes = np.abs(block)
        self._power += total
        self._peak = max(self._peak, float(magnitudes.max()))
        self._clipped += int(np.count_nonzero(magnitudes >= CLIP_LEVEL))
        self._frames += num_frames
        self._silent_frames += int(np.count_nonzero(powers < self._silent_power))
        if whole < len(block):
            self._frames += 1
            self._silent_frames += bool(squares[whole:].mean() < self._silent_power)
        self.values += block.size
        return True

    @property
    def rms_dbfs(self) -> float:
        return dbfs(math.sqrt(self._power / self.values))

    @property
    def peak_dbfs(self) -> float:
        return dbfs(self._peak)

    @property
    def silence_ratio(self) -> float:
        return self._silent_frames / self._frames

    @property
    def clipped_ratio(self) -> float:
        return self._clipped / self.values
