"""Sounds with an exact description: tones, sweeps, noise, beeps and chords, alone or one after the other.

    transcript = sound "." | sound ", then " sound "."        (first letter capitalised)
    sound      = "a" length pitch wave "tone" | number "short" | "long" pitch "beep(s)" | "a sweep" way
               | number length "burst(s) of noise" | "a" pitch mode "chord"

`transcript` writes it, `parse_transcript` reads it back.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from jobs.sample.draws import digest

RATE_HZ = 16_000
PITCHES_HZ = {"low": 220.0, "middle": 660.0, "high": 1980.0}
WAVES = ("sine", "square", "sawtooth")
LENGTHS = ("short", "long")
NUMBERS = ("one", "two", "three", "four", "five")
HELD_OUT_EVERY = 8

_TONE_S = {"short": 0.35, "long": 0.9}
_BEEP_S = {"short": 0.09, "long": 0.24}
_NOISE_S = {"short": 0.14, "long": 0.4}
_GAP_S = 0.09
_BREAK_S = 0.22
_CHORDS = {"major": (1.0, 5 / 4, 3 / 2), "minor": (1.0, 6 / 5, 3 / 2)}
_FADE_S = 0.006


@dataclass(frozen=True, slots=True)
class Sound:
    """One sound event; fields that do not apply to its kind are empty."""

    kind: str  # tone | beeps | sweep | noise | chord
    pitch: str = ""
    length: str = ""
    wave: str = ""  # tone: the wave; sweep: up or down; chord: major or minor
    count: int = 1

    def __str__(self) -> str:
        if self.kind == "tone":
            return f"a {self.length} {self.pitch} {self.wave} tone"
        if self.kind == "beeps":
            return f"{NUMBERS[self.count - 1]} {self.length} {self.pitch} beep{'s' if self.count > 1 else ''}"
        if self.kind == "sweep":
            return f"a {self.length} sweep going {self.wave}"
        if self.kind == "noise":
            return f"{NUMBERS[self.count - 1]} {self.length} burst{'s' if self.count > 1 else ''} of noise"
        return f"a {self.pitch} {self.wave} chord"

    @property
    def duration_s(self) -> float:
        """Its nominal length."""
        if self.kind in ("tone", "sweep"):
            return _TONE_S[self.length]
        if self.kind == "chord":
            return 0.8
        one = (_BEEP_S if self.kind == "beeps" else _NOISE_S)[self.length]
        return self.count * one + (self.count - 1) * _GAP_S


@cache
def all_sounds() -> tuple[Sound, ...]:
    """Every single sound there is."""
    tones = [Sound("tone", p, n, w) for p in PITCHES_HZ for n in LENGTHS for w in WAVES]
    beeps = [Sound("beeps", p, n, count=c) for p in PITCHES_HZ for n in LENGTHS for c in range(1, 6)]
    sweeps = [Sound("sweep", length=n, wave=w) for n in LENGTHS for w in ("up", "down")]
    noises = [Sound("noise", length=n, count=c) for n in LENGTHS for c in range(1, 4)]
    chords = [Sound("chord", p, wave=m) for p in PITCHES_HZ for m in _CHORDS]
    return (*tones, *beeps, *sweeps, *noises, *chords)


def is_held_out(sounds: tuple[Sound, ...]) -> bool:
    """Whether a clip belongs to the evaluation part; the same for every seed."""
    return digest(0, "held out clip", *map(str, sounds)) % HELD_OUT_EVERY == 0


def draw_sounds(rng: random.Random, held_out: bool) -> tuple[Sound, ...]:
    """One sound, or two different ones, of the wanted part, at most two seconds long."""
    while True:
        kind = rng.choice(("tone", "beeps", "sweep", "noise", "chord"))
        sounds = [rng.choice([sound for sound in all_sounds() if sound.kind == kind])]
        if rng.random() < 0.5:
            sounds.append(rng.choice(all_sounds()))
        made = tuple(sounds)
        total = sum(sound.duration_s for sound in made) + _BREAK_S * (len(made) - 1)
        if len(set(made)) == len(made) and total <= 1.7 and is_held_out(made) == held_out:
            return made


def transcript(sounds: tuple[Sound, ...]) -> str:
    """What is heard, in words."""
    said = ", then ".join(map(str, sounds)) + "."
    return said[0].upper() + said[1:]


def parse_transcript(text: str) -> tuple[Sound, ...]:
    """The sounds a transcript names; raises ValueError for text outside the grammar."""
    names = {str(sound): sound for sound in all_sounds()}
    parts = re.split(", then ", text.removesuffix("."))
    parts[0] = parts[0][0].lower() + parts[0][1:] if parts[0] else ""
    if not text.endswith(".") or not all(part in names for part in parts):
        raise ValueError(f"not a transcript of sounds: {text!r}")
    return tuple(names[part] for part in parts)


def synthesise(sounds: tuple[Sound, ...], noise: np.random.Generator) -> np.ndarray:
    """The clip, float64 [samples] within ±0.8, with a little silence around it so that it lasts 0.5 s or more."""
    pieces: list[np.ndarray] = []
    for sound in sounds:
        if pieces:
            pieces.append(np.zeros(int(_BREAK_S * RATE_HZ)))
        pieces.append(_one(sound, noise))
    heard = np.concatenate(pieces) * noise.uniform(0.35, 0.8)
    around = max(0.5 - len(heard) / RATE_HZ, 0.06)
    before = int(noise.uniform(0.3, 0.7) * around * RATE_HZ)
    after = int(around * RATE_HZ) + 1 - before
    return np.concatenate([np.zeros(before), heard, np.zeros(after)])


def _one(sound: Sound, noise: np.random.Generator) -> np.ndarray:
    stretch = noise.uniform(0.94, 1.06)
    hz = PITCHES_HZ.get(sound.pitch, 0.0) * noise.uniform(0.95, 1.05)
    if sound.kind == "tone":
        return _faded(_wave(sound.wave, hz, _TONE_S[sound.length] * stretch))
    if sound.kind == "chord":
        waves = [_wave("sine", hz * ratio, 0.8 * stretch) for ratio in _CHORDS[sound.wave]]
        return _faded(np.sum(waves, axis=0) / len(waves))
    if sound.kind == "sweep":
        time = _time(_TONE_S[sound.length] * stretch)
        low, high = 200.0, 2400.0 * noise.uniform(0.9, 1.1)
        growth = np.log(high / low) / time[-1]
        phase = 2 * np.pi * low * np.expm1(growth * time) / growth
        wave = np.sin(phase)
        return _faded(wave if sound.wave == "up" else wave[::-1])
    pieces: list[np.ndarray] = []
    for number in range(sound.count):
        if number:
            pieces.append(np.zeros(int(_GAP_S * RATE_HZ)))
        if sound.kind == "beeps":
            pieces.append(_faded(_wave("sine", hz, _BEEP_S[sound.length] * stretch)))
        else:
            time = _time(_NOISE_S[sound.length] * stretch)
            pieces.append(_faded(np.clip(noise.normal(0, 0.33, len(time)), -1, 1)))
    return np.concatenate(pieces)


def _time(seconds: float) -> np.ndarray:
    return np.arange(max(1, int(seconds * RATE_HZ))) / RATE_HZ


def _wave(wave: str, hz: float, seconds: float) -> np.ndarray:
    """Band-limited, from harmonics below 7 kHz: no aliasing that would make high tones sound like others."""
    phase = 2 * np.pi * hz * _time(seconds)
    if wave == "sine":
        return np.sin(phase)
    step = 2 if wave == "square" else 1
    harmonics = range(1, max(2, int(7000 / hz) + 1), step)
    total = np.sum([np.sin(n * phase) / n for n in harmonics], axis=0)
    return total / np.abs(total).max()


def _faded(wave: np.ndarray) -> np.ndarray:
    """With short ramps at both ends, against clicks."""
    ramp = np.minimum(np.arange(len(wave)) / (_FADE_S * RATE_HZ), 1.0)
    return wave * ramp * ramp[::-1]


def facts(sounds: tuple[Sound, ...]) -> list[dict[str, Any]]:
    """The sounds' fields that apply, for the sample's metadata."""
    return [
        {name: value for name in ("kind", "pitch", "length", "wave", "count") if (value := getattr(sound, name))}
        for sound in sounds
    ]
