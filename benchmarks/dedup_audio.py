"""bench-dedup_audio: audio.near_dedup on real recordings and what becomes of them, beside audfprint.

    DATA=folder make bench-dedup_audio        or: python -m benchmarks.dedup_audio DATA

Reads the clips of at least two seconds in DATA/audio/wds/speech*.tar and makes copies of each: every attack of ATTACKS.
Recall is the share of an attack's copies that are proposed and verified as duplicates of their original; precision the
share of right pairs among all that are reported, of every recording with every other one. Traps are different
recordings with something in common; what counts is how many of them are called duplicates.

The peer is audfprint (Ellis 2014; PyPI: audfprint2) with its defaults, on the same recordings at the rate it works at.
It looks files up and counts aligned hashes: a hit is a place in common, not a duplicate, which is what its precision
shows. Chromaprint is not on PyPI as a wheel (pyacoustid needs the system's library or fpcalc), so it is not here.
SIZE=small takes 24 clips.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile
import soxr

from benchmarks.harness import (
    Stage,
    machine,
    our_versions,
    peer_python,
    peer_versions,
    size,
    write_result,
)
from benchmarks.harness import (
    run as measured,
)
from benchmarks.peers.clock import cpu_s
from schemas.sample import SENTINEL, sample_batch
from transforms.audio.near_dedup import AudioNearDedup, AudioNearDedupParams
from transforms.media import media_part

AUDFPRINT = ("audfprint2==0.1.2",)
#: the peer's rate
RATE_HZ = 11_025
MIN_CLIP_S, MAX_CLIP_S = 2.0, 20.0
SMALL_CLIPS = 24
Sound = np.ndarray


def _encoded(container: str, subtype: str, level: float) -> Callable[[Sound, int], bytes]:
    def encode(sound: Sound, rate: int) -> bytes:
        if subtype == "OPUS":
            sound, rate = soxr.resample(sound, rate, 16_000), 16_000
        out = io.BytesIO()
        soundfile.write(out, sound, rate, format=container, subtype=subtype, compression_level=level)
        return out.getvalue()

    return encode


def _noisy(snr_db: float) -> Callable[[Sound, int], bytes]:
    def add(sound: Sound, rate: int) -> bytes:
        rms = np.sqrt(np.mean(sound**2)) * 10 ** (-snr_db / 20)
        return wav(sound + np.random.default_rng(len(sound)).normal(0, rms, len(sound)), rate)

    return add


def wav(sound: Sound, rate: int) -> bytes:
    """A WAV of float samples, so that no gain clips."""
    out = io.BytesIO()
    soundfile.write(out, np.asarray(sound, np.float32), rate, format="WAV", subtype="FLOAT")
    return out.getvalue()


#: what is done to a clip; bit rates are those of 16 to 48 kHz speech
ATTACKS: dict[str, Callable[[Sound, int], bytes]] = {
    "MP3, 40 kbit/s": _encoded("MP3", "MPEG_LAYER_III", 0.95),
    "Vorbis, 48 kbit/s": _encoded("OGG", "VORBIS", 1.0),
    "Opus, 20 kbit/s": _encoded("OGG", "OPUS", 0.95),
    "gain -20 dB": lambda sound, rate: wav(sound * 0.1, rate),
    "gain +12 dB": lambda sound, rate: wav(sound * 4, rate),
    "half a second of silence before": lambda sound, rate: wav(np.append(np.zeros(rate // 2 + 37), sound), rate),
    "half a second cut off": lambda sound, rate: wav(sound[rate // 2 + 41 :], rate),
    "11 ms cut off": lambda sound, rate: wav(sound[rate * 11 // 1000 :], rate),
    "resampled to 8 kHz": lambda sound, rate: wav(soxr.resample(sound, rate, 8_000), 8_000),
    "noise at 20 dB": _noisy(20),
    "noise at 10 dB": _noisy(10),
}


def clips(folder: Path) -> list[tuple[Sound, int]]:
    """(samples, rate) of the clips that are long enough, the longest ones cut."""
    found = []
    for path in sorted(folder.glob("speech*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith((".wav", ".flac", ".mp3")) and "formats" not in path.name:
                    data = tar.extractfile(member).read()  # type: ignore[union-attr]
                    sound, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
                    if len(sound) >= MIN_CLIP_S * rate:
                        found.append((sound.mean(axis=1)[: int(MAX_CLIP_S * rate)], rate))
    if len(found) < 2:
        raise SystemExit(f"{folder}: no speech*.tar with clips of {MIN_CLIP_S:g} s")
    return found if size() == "full" else found[:: max(1, len(found) // SMALL_CLIPS)][:SMALL_CLIPS]


def traps(originals: Sequence[tuple[Sound, int]]) -> dict[str, list[tuple[bytes, bytes]]]:
    """Pairs of different recordings: after the same two seconds of six, or over the same chord, as loud or at -6 dB."""
    sounds = [soxr.resample(sound, rate, 16_000) for sound, rate in originals]
    at = np.arange(20 * 16_000) / 16_000
    beat = 0.6 + 0.4 * np.sin(2 * np.pi * 2 * at)
    chord = sum(np.sin(2 * np.pi * hz * at) for hz in (220.0, 277.2, 329.6, 440.0, 659.3)) * beat
    made: dict[str, list[tuple[bytes, bytes]]] = {"the same jingle": [], "the same music": [], "music at -6 dB": []}
    for one, two, jingle in zip(sounds, sounds[1:], sounds[2:], strict=False):
        pair = [one[:64_000], two[:64_000]]
        made["the same jingle"].append(tuple(wav(np.append(jingle[:32_000], half), 16_000) for half in pair))  # type: ignore[arg-type]
        for name, gain in (("the same music", 1.0), ("music at -6 dB", 0.5)):
            beds = [gain * half.std() / chord.std() * chord[: len(half)] for half in pair]
            made[name].append(tuple(wav(half + bed, 16_000) for half, bed in zip(pair, beds, strict=True)))  # type: ignore[arg-type]
    return made


def batch_of(recordings: Sequence[bytes]) -> pa.RecordBatch:
    """One row a recording."""
    rows = [
        {"id": str(k), "source": str(k), "text": SENTINEL, "media": [media_part(0, data, "audio")]}
        for k, data in enumerate(recordings)
    ]
    return sample_batch(rows)


def reported(recordings: Sequence[bytes]) -> tuple[set[tuple[int, int]], int]:
    """(pairs (earlier, later) that audio.near_dedup proposes and verifies, how many it proposes)."""
    step = AudioNearDedup(AudioNearDedupParams())
    batch = batch_of(recordings)
    keys = step.keys(batch)
    holders: dict[tuple[int, int], list[int]] = {}
    for row, key in zip(keys.row.tolist(), keys.key.tolist(), strict=True):
        holders.setdefault((key[0], key[1]), []).append(row)
    pairs = sorted({(a, b) for rows in holders.values() for a in rows for b in rows if a < b})
    first, second = np.asarray(pairs, np.int64).reshape(-1, 2).T
    similarity = step.similarity(step.evidence(batch, np.zeros(len(recordings), np.int32)), first, second)
    least = step.min_similarity or 0.0
    return {pair for pair, like in zip(pairs, similarity, strict=True) if like >= least}, len(pairs)


def looked_up(originals: Sequence[bytes], copies: Sequence[bytes]) -> tuple[set[tuple[int, int]], float]:
    """audfprint's pairs (original, other), and the CPU seconds of the originals' fingerprints."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = []
        for k, data in enumerate([*originals, *copies]):
            sound, rate = soundfile.read(io.BytesIO(data), dtype="float32")
            paths.append(str(folder / f"{k}.wav"))
            soundfile.write(paths[-1], soxr.resample(sound, rate, RATE_HZ), RATE_HZ, subtype="PCM_16")
        job = {"originals": paths[: len(originals)], "copies": paths[len(originals) :]}
        (folder / "job.json").write_text(json.dumps(job))
        python = peer_python("audfprint", AUDFPRINT)
        measured([python, "-m", "benchmarks.peers.audfprint_match", folder / "job.json", folder / "result.json"])
        result = json.loads((folder / "result.json").read_text())
    place = {path: k for k, path in enumerate(paths)}
    return {(place[original], place[path]) for path, original in result["pairs"]}, result["cpu_s"]


def run(data: Path) -> None:
    """Runs it on a data folder, prints the table and writes benchmarks/results/dedup_audio.json."""
    where, sounds = machine(), clips(data / "audio" / "wds")
    originals = [wav(sound, rate) for sound, rate in sounds]
    copies = [(name, k, attack(*sounds[k])) for name, attack in ATTACKS.items() for k in range(len(sounds))]
    everything = [*originals, *(copy for _, _, copy in copies)]
    of = [*range(len(sounds)), *(k for _, k, _ in copies)]
    found, proposals = reported(everything)
    theirs, their_s = looked_up(originals, [copy for _, _, copy in copies])
    stages: dict[str, Stage] = {}
    for attack in ATTACKS:
        pairs = {(k, len(sounds) + at) for at, (name, k, _) in enumerate(copies) if name == attack}
        shares = [len(pairs & some) / len(pairs) for some in (found, theirs)]
        stages[f"found: {attack}"] = Stage.of(shares[0], {"audfprint": shares[1]}, "share of copies")
    precision = [sum(of[a] == of[b] for a, b in some) / max(1, len(some)) for some in (found, theirs)]
    stages["precision"] = Stage.of(precision[0], {"audfprint": precision[1]}, "share of reported pairs")
    seconds = sum(len(sound) / rate for sound, rate in sounds)
    step = AudioNearDedup(AudioNearDedupParams())
    batch = batch_of([wav(soxr.resample(sound, rate, RATE_HZ), RATE_HZ) for sound, rate in sounds])
    ours_s, as_they_are_s = (
        min(cpu_s(step.keys, given)[0] for _ in range(3)) for given in (batch, batch_of(originals))
    )
    stages["fingerprints"] = Stage.of(seconds / ours_s, {"audfprint": seconds / their_s}, "audio s per CPU s")
    stages["fingerprints, at the clips' own rates"] = Stage.of(seconds / as_they_are_s, {}, "audio s per CPU s")
    stages["clips"] = Stage.of(len(sounds) / as_they_are_s, {}, "clips per CPU s")
    caught = {}
    for name, pairs in traps(sounds).items():
        wrong = sum((0, 1) in reported(pair)[0] for pair in pairs)
        caught[name] = {"pairs": len(pairs), "called duplicates": wrong}
    facts: dict[str, Any] = {
        "clips": len(sounds),
        "audio_s": seconds,
        "recordings": len(everything),
        "pairs in all": len(everything) * (len(everything) - 1) // 2,
        "pairs proposed": proposals,
        "pairs reported": len(found),
        "wrong pairs reported": sum(of[a] != of[b] for a, b in found),
        "traps": caught,
    }
    versions = our_versions(("soundfile", "soxr", "numba", "numpy"))
    versions |= peer_versions(peer_python("audfprint", AUDFPRINT), ["audfprint2"])
    write_result("dedup_audio", stages, machine=where, versions=versions, size=size(), facts=facts)
    print(json.dumps(facts, indent=2))


def main() -> None:
    """Runs it on the folder named as an argument or in DATA."""
    data = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DATA", ""))
    if not (data / "audio" / "wds").is_dir():
        raise SystemExit(f"{data / 'audio' / 'wds'} does not exist; give the data folder as an argument or in DATA")
    run(data)


if __name__ == "__main__":
    main()
