"""audio.near_dedup: what it takes for the same recording, what it does not, and what has no key."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import soxr

from pipeline.curate import curate
from pipeline.graph import Launcher
from pipeline.recipe import resolve
from schemas.sample import SENTINEL, sample_batch
from tests.audio_fixtures import chatter
from tests.conformance.contract import check_dedup
from tests.fixtures import media_fixture, pcm, sound_file, tone, wav_file
from transforms.audio.landmarks import RATE_HZ, landmarks_of
from transforms.audio.near_dedup import AudioNearDedup, AudioNearDedupParams
from transforms.audio.waveform import waveform
from transforms.media import media_part

RATE = 16_000
SPEECH = chatter(1, 4.0)


def wav(samples: np.ndarray, rate_hz: int = RATE) -> bytes:
    return wav_file(pcm(samples), rate_hz)


def noisy(samples: np.ndarray, snr_db: float) -> np.ndarray:
    rms = np.sqrt(np.mean(samples**2)) * 10 ** (-snr_db / 20)
    return samples + np.random.default_rng(7).normal(0, rms, len(samples))


def compressed(samples: np.ndarray, container: str, subtype: str) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, RATE, format=container, subtype=subtype, compression_level=0.95)
    return out.getvalue()


COPIES = {
    "quieter": wav(SPEECH * 0.05),
    "later": wav(np.concatenate([np.zeros(RATE // 2 + 137), SPEECH])),
    "cut": wav(SPEECH[RATE // 2 + 71 :]),
    "resampled": wav(soxr.resample(SPEECH, RATE, 8_000), 8_000),
    "upsampled": wav(soxr.resample(SPEECH, RATE, 44_100), 44_100),
    "stereo": wav(np.stack([SPEECH, np.zeros_like(SPEECH)], axis=1)),
    "noise at 20 dB": wav(noisy(SPEECH, 20)),
    "mp3": compressed(SPEECH, "MP3", "MPEG_LAYER_III"),
    "ogg": compressed(SPEECH, "OGG", "VORBIS"),
    "opus": compressed(SPEECH, "OGG", "OPUS"),
}
JINGLE, BED = chatter(40, 1.5), sum(tone(4.0, hz=hz, amplitude=0.05) for hz in (220.0, 277.2, 329.6))
OTHERS = {
    "other words": wav(chatter(2, 4.0)),
    "other words after the same jingle": wav(np.concatenate([JINGLE, chatter(3, 2.5)])),
    "yet other words after the same jingle": wav(np.concatenate([JINGLE, chatter(4, 2.5)])),
    "other words over the same music": wav(chatter(5, 4.0) + BED),
    "yet other words over the same music": wav(chatter(6, 4.0) + BED),
}


def audio_batch(recordings: Sequence[bytes]) -> pa.RecordBatch:
    rows = [
        {"id": str(k), "source": str(k), "text": SENTINEL, "media": [media_part(0, data, "audio")]}
        for k, data in enumerate(recordings)
    ]
    return sample_batch(rows)


def step_of(**params) -> AudioNearDedup:
    step = AudioNearDedup(AudioNearDedupParams(**params))
    step.setup()
    return step


def similarities(recordings: Sequence[bytes], first: Sequence[int], second: Sequence[int]) -> np.ndarray:
    evidence = step_of().evidence(audio_batch(recordings), np.zeros(len(recordings), np.int32))
    return step_of().similarity(evidence, np.asarray(first), np.asarray(second))


def proposed(recordings: Sequence[bytes], **params) -> set[tuple[int, int]]:
    keys = step_of(**params).keys(audio_batch(recordings))
    held = {row: {tuple(key) for key in keys.key[keys.row == row].tolist()} for row in range(len(recordings))}
    return {(a, b) for a in held for b in held if a < b and held[a] & held[b]}


@pytest.mark.parametrize("how", list(COPIES))
def test_a_copy_is_found_whichever_comes_first(how: str) -> None:
    both = [wav(SPEECH), COPIES[how]]
    assert proposed(both) == {(0, 1)}
    assert similarities(both, [0, 1], [1, 0]).min() >= AudioNearDedupParams().verify.landmarks


def test_other_recordings_are_not_alike() -> None:
    recordings = [wav(SPEECH), *OTHERS.values()]
    first, second = (np.ravel(grid) for grid in np.mgrid[: len(recordings), : len(recordings)])
    found = similarities(recordings, first, second)
    assert (found[first == second] == 1).all()
    assert found[first != second].max() < AudioNearDedupParams().verify.landmarks - 0.05
    assert (0, 1) not in proposed(recordings)


def test_an_excerpt_is_in_the_whole_and_the_whole_not_in_the_excerpt() -> None:
    whole = chatter(8, 8.0)
    there, back = similarities([wav(whole), wav(whole[2 * RATE : 4 * RATE])], [0, 1], [1, 0])
    assert there > 0.9
    assert back == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize(
    "data",
    [
        wav(np.zeros(4 * RATE)),
        wav(tone(10.0)),
        wav(tone(10.0) + 0.3 * tone(10.0, hz=1_237.0)),
        wav(SPEECH[: RATE // 2]),
        *(wav_file(np.append(SPEECH, value).astype("<f4"), RATE) for value in (np.nan, np.inf)),
        wav(SPEECH)[: 2 * RATE],
        wav(SPEECH)[:-2],
        sound_file(pcm(SPEECH), RATE, "FLAC")[:-9000],
        wav(SPEECH, 2_000_000_000),
        wav(np.repeat(SPEECH[: 3 * RATE, None], 65, axis=1)),
        *map(media_fixture, ("wav_no_samples", "wav_header_cut", "wav_unknown_codec", "flac_corrupt", "text_as_wav")),
        b"",
        media_fixture("png"),
    ],
    ids=lambda data: f"{len(data)} bytes",
)
def test_what_cannot_be_compared_has_no_key(data: bytes) -> None:
    assert len(step_of().keys(audio_batch([data])).row) == 0


def test_evidence_of_what_cannot_be_decoded_is_like_nothing() -> None:
    assert similarities([b"", wav(SPEECH), b""], [0, 1, 0], [1, 0, 2]).tolist() == [0, 0, 0]


def test_huge_samples_are_a_matter_of_gain() -> None:
    huge = wav_file((SPEECH * 1e36).astype("<f4"), RATE)
    assert similarities([wav(SPEECH), huge], [0], [1]).tolist() == [1.0]


def test_a_longer_recording_than_allowed_has_no_key() -> None:
    assert len(step_of(max_duration_s=3.9).keys(audio_batch([wav(SPEECH)])).row) == 0
    assert len(step_of(max_duration_s=4.0).keys(audio_batch([wav(SPEECH)])).row) == 48


def test_gate_and_number_of_keys() -> None:
    count = len(landmarks_of(waveform(wav(SPEECH), RATE_HZ, max_duration_s=10)))
    batch = audio_batch([wav(SPEECH)])
    assert len(step_of(min_landmarks=count, num_keys=7).keys(batch).row) == 7
    assert len(step_of(min_landmarks=count + 1).keys(batch).row) == 0


def test_landmarks_do_not_depend_on_how_much_is_analysed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = chatter(9, 12.0, RATE_HZ).astype(np.float32)
    whole = landmarks_of(samples)
    monkeypatch.setattr("transforms.audio.landmarks._FRAMES", 97)
    pieces = landmarks_of(samples)
    assert len(whole) > 100
    assert pieces.packed().tolist() == whole.packed().tolist()


def test_the_longest_recording_is_kept() -> None:
    keys = step_of(keep="longest").keys(audio_batch([wav(SPEECH), wav(np.concatenate([SPEECH, SPEECH]))]))
    assert keys.rank[keys.row == 1].max() < keys.rank[keys.row == 0].min()
    assert set(step_of().keys(audio_batch([wav(SPEECH)])).rank.tolist()) == {1}


def test_keys_keep_the_contract_and_name_the_part() -> None:
    three = [media_part(0, media_fixture("png")), media_part(1, wav(SPEECH)), media_part(2, wav(chatter(2, 4.0)))]
    rows = [
        {"id": "a", "source": "a", "text": SENTINEL * 3, "media": three},
        {"id": "b", "source": "b", "text": "no sound"},
        {"id": "c", "source": "c", "text": SENTINEL, "media": [media_part(0, COPIES["mp3"])]},
    ]
    keys = check_dedup(step_of(), sample_batch(rows))
    named = dict.fromkeys(zip(keys.row.tolist(), keys.part.tolist(), strict=True))
    assert list(named) == [(0, 1), (0, 2), (2, 0)]
    assert len(keys.row) == 3 * 48
    # spread evenly: a bottom-k sketch's own hashes would all be small
    assert 0.4 < keys.key[:, 1].astype(float).mean() / 2**64 < 0.6


def test_copies_leave_a_dataset_and_the_ledger_names_what_they_are_copies_of(tmp_path: Path) -> None:
    sounds = [wav(SPEECH), COPIES["mp3"], OTHERS["other words"], COPIES["later"], COPIES["quieter"]]
    sounds += [wav(tone(4.0)), wav(tone(4.0, amplitude=0.1))]
    with tarfile.open(tmp_path / "clips.tar", "w") as tar:
        for k, data in enumerate(sounds):
            for suffix, body in ("mp3" if k == 1 else "wav", data), ("txt", f"clip number {k}".encode()):
                info = tarfile.TarInfo(f"{k:04d}.{suffix}")
                info.size = len(body)
                tar.addfile(info, io.BytesIO(body))
    recipe = {
        "recipe": 1,
        "name": "clips",
        "inputs": [{"use": "webdataset", "with": {"paths": str(tmp_path / "clips.tar")}}],
        "steps": [{"use": "audio.decode"}, {"use": "audio.near_dedup"}],
        "tokens": {"tokenizer": {"train": {"vocab_size": 300}}, "sequence_length": 256},
        "output": {"path": str(tmp_path / "out")},
    }
    curate(resolve(recipe), Launcher("direct", 1))
    rows = [
        row
        for path in sorted((tmp_path / "out" / "ledger").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]
    removed = {row["id"]: row for row in rows if row["step"] == "2:audio.near_dedup"}
    kept = {row["id"] for row in rows if row["part"] is None and row["verdict"] == "kept"}
    assert len(kept) == len(sounds)  # rows live on without the part
    (first,) = {row["match_id"] for row in removed.values()}
    assert sorted(name[-4:] for name in removed) == ["0001", "0003", "0004"] and first.endswith("0000")
    assert {row["part"] for row in removed.values()} == {0}
    for row in removed.values():
        measure, similarity, *which = row["detail"].split()
        assert (measure, which) == ("landmarks", ["with", "part", "0"]) and float(similarity) >= 0.5
