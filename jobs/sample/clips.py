"""The audio part of the corpus: sounds with exact descriptions, and clips that should not get through."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from jobs.sample.archives import write_webdataset
from jobs.sample.draws import draw, draw_noise
from jobs.sample.media import MediaSample, many, write_shuffled
from jobs.sample.sounds import RATE_HZ, draw_sounds, facts, synthesise, transcript
from jobs.sample.truth import Truth

FILES = 2
CLEAN = 400
HELD_OUT = 60
DUPLICATES = 10
EACH_FAULT = 6


def write_clips(folder: Path, seed: int, scale: float, dataset: str = "audio") -> list[Truth]:
    """Writes DIR/audio/clips-*.tar and DIR/heldout/clips-000000.tar; returns the truth about the former."""
    (folder / dataset).mkdir()
    truths = write_shuffled(folder / dataset, "clip", FILES, list(plant(seed, scale)), "audio", seed)
    held_out = (_clip(seed, "held out", number, held_out=True) for number in many(HELD_OUT, scale))
    samples = ((f"unheard-{number:05d}", clip.members()) for number, clip in enumerate(held_out))
    write_webdataset(folder / "heldout" / "clips-000000.tar", samples)
    return truths


def plant(seed: int, scale: float) -> Iterator[MediaSample]:
    """All samples, originals before their copies."""
    clean = [_clip(seed, "clip", number, held_out=False) for number in many(CLEAN, scale)]
    yield from clean
    rng = draw(seed, "clip faults")
    for original in rng.sample(range(len(clean)), min(len(clean), len(many(DUPLICATES, scale)))):
        yield replace(clean[original], kind="exact_duplicate", expected="rejected", reason="duplicate", of=original)
    for number in many(EACH_FAULT, scale):
        yield from _faulty(seed, number)


def _clip(seed: int, *names: object, held_out: bool) -> MediaSample:
    rng = draw(seed, *names, "sounds")
    sounds = draw_sounds(rng, held_out)
    ending = rng.choice(("wav", "flac"))
    data = _encode(synthesise(sounds, draw_noise(seed, *names)), ending)
    return MediaSample(ending, data, transcript(sounds), {"sounds": facts(sounds), "license": "CC0-1.0"})


def _encode(samples: np.ndarray, ending: str) -> bytes:
    out = io.BytesIO()
    whole = np.clip(np.rint(samples * 32767), -32768, 32767).astype(np.int16)
    soundfile.write(out, whole, RATE_HZ, format=ending.upper(), subtype="PCM_16")
    return out.getvalue()


def _faulty(seed: int, number: int) -> Iterator[MediaSample]:
    """One of every fault that decoding, duration, loudness or clipping should find."""
    noise = draw_noise(seed, "faulty clip", number)
    like = _clip(seed, "faulty clip", number, held_out=False)
    sounds = draw_sounds(draw(seed, "faulty clip", number, "sounds"), held_out=False)
    samples = synthesise(sounds, noise)

    def bad(ending: str, data: bytes, kind: str, reason: str, note: str) -> MediaSample:
        return replace(like, ending=ending, data=data, kind=kind, expected="rejected", reason=reason, note=note)

    silence = np.zeros(int(noise.uniform(0.5, 1.5) * RATE_HZ))
    yield bad("wav", _encode(silence, "wav"), "silent_audio", "silence", "digital silence")
    hiss = noise.normal(0, 10 ** (-80 / 20), len(silence))
    yield bad("flac", _encode(hiss, "flac"), "silent_audio", "silence", "noise at -80 dBFS")
    click = silence.copy()
    click[len(click) // 2 : len(click) // 2 + 160] = 0.5 * np.sin(np.arange(160) * 0.4)
    yield bad("wav", _encode(click, "wav"), "silent_audio", "silence", "a click of 10 ms in silence")
    clipped = np.clip(samples / np.abs(samples).max() * 4, -1, 1)
    yield bad("wav", _encode(clipped, "wav"), "clipped_audio", "clipping", "amplified four times beyond full scale")
    short = samples[: int(0.06 * RATE_HZ)] + 0.3 * np.sin(np.arange(int(0.06 * RATE_HZ)) * 0.3)
    yield bad("wav", _encode(short, "wav"), "short_audio", "duration", "60 ms")
    for ending in ("wav", "flac"):
        data = _encode(samples, ending)
        cut = data[: int(len(data) * noise.uniform(0.3, 0.7))]
        note = f"{ending} cut after {len(cut)} of {len(data)} bytes"
        yield bad(ending, cut, "corrupt_audio", "decode", note)
    yield bad("wav", b"this is not a sound\n" * 20, "corrupt_audio", "decode", "text named .wav")
    yield bad("flac", noise.bytes(2000), "corrupt_audio", "decode", "random bytes named .flac")
