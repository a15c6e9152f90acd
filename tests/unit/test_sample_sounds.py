"""Sounds: the description says exactly what is heard, and the samples say so too."""

import random

import numpy as np
import pytest

from jobs.sample.draws import draw_noise
from jobs.sample.sounds import (
    PITCHES_HZ,
    RATE_HZ,
    Sound,
    all_sounds,
    draw_sounds,
    is_held_out,
    parse_transcript,
    synthesise,
    transcript,
)


def test_transcripts_read_back_to_their_sounds():
    assert len({str(sound) for sound in all_sounds()}) == len(all_sounds()) == 64
    rng = random.Random(4)
    for number in range(400):
        sounds = draw_sounds(rng, held_out=number % 2 == 0)
        assert is_held_out(sounds) == (number % 2 == 0)
        assert parse_transcript(transcript(sounds)) == sounds
    assert transcript((Sound("beeps", "high", "short", count=3),)) == "Three short high beeps."
    for wrong in ("", ".", "A beep.", "Three short high beeps"):
        with pytest.raises(ValueError, match="not a transcript"):
            parse_transcript(wrong)


@pytest.mark.parametrize("sound", all_sounds(), ids=str)
def test_samples_are_what_the_description_says(sound):
    heard = synthesise((sound,), draw_noise(1, str(sound)))
    assert 0.5 <= len(heard) / RATE_HZ <= 2.0
    assert 0.3 < np.abs(heard).max() < 0.95
    bursts = _bursts(heard)
    assert len(bursts) == (sound.count if sound.kind in ("beeps", "noise") else 1)
    start, stop = bursts[0]
    middle = heard[start + 200 : stop - 200]
    if sound.pitch:
        hz = _strongest_hz(middle)
        assert min(PITCHES_HZ, key=lambda name: abs(np.log(PITCHES_HZ[name] / hz))) == sound.pitch
    if sound.kind == "sweep":
        fifth = len(middle) // 5
        first, last = _strongest_hz(middle[:fifth]), _strongest_hz(middle[-fifth:])
        assert (first < last) == (sound.wave == "up")
    if sound.kind == "tone":
        assert _harmonics(middle, _strongest_hz(middle)) == {"sine": (), "square": (3,), "sawtooth": (2, 3)}[sound.wave]
    if sound.length:
        limit_s = {"beeps": 0.16, "noise": 0.25}.get(sound.kind, 0.6)
        assert ((stop - start) / RATE_HZ > limit_s) == (sound.length == "long")


def _bursts(heard):
    """(start, stop) of stretches above silence, with pauses under 50 ms bridged."""
    loud = np.flatnonzero(np.abs(heard) > 0.02)
    cuts = np.flatnonzero(np.diff(loud) > 0.05 * RATE_HZ)
    starts = [loud[0], *loud[cuts + 1]]
    stops = [*loud[cuts], loud[-1]]
    return list(zip(starts, stops, strict=True))


def _spectrum(samples):
    return np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 16))


def _strongest_hz(samples):
    return _spectrum(samples).argmax() * RATE_HZ / (1 << 16)


def _harmonics(samples, base_hz):
    """Which of the second and third harmonics are there."""
    spectrum = _spectrum(samples)
    found = []
    for n in (2, 3):
        at = int(n * base_hz * (1 << 16) / RATE_HZ)
        if spectrum[at - 60 : at + 60].max() > 0.1 * spectrum.max():
            found.append(n)
    return tuple(found)
