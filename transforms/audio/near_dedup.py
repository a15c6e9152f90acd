"""Near-duplicate recordings: constellations of landmarks propose, their alignment in time disposes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from pydantic import Field

from transforms.audio.landmarks import RATE_HZ, Landmarks, landmarks_of
from transforms.audio.waveform import waveform
from transforms.base import Params
from transforms.dedup.base import Dedup, Keys
from transforms.dedup.keep import Keep, check_keep, rank_of
from transforms.dedup.shingles import mix
from transforms.kernels.landmarks import alignments
from transforms.parts import Parts
from transforms.registry import register


class VerifyLandmarks(Params):
    """How a proposed pair is checked."""

    #: share of the removed recording's landmarks that must be in the kept one, in [0, 1]
    landmarks: float = Field(default=0.5, ge=0, le=1)


class AudioNearDedupParams(Params):
    """Parameters of audio.near_dedup."""

    #: keys a recording: of pairs whose constellations have the Jaccard similarity J, about 1 - (1 - J)^num_keys are
    #: proposed. At the default: J = .05 .91, J = .1 .994, J = .2 1.000
    num_keys: int = Field(default=48, ge=1, le=4096)
    #: a recording with fewer landmarks has no key; speech has some 35 a second
    min_landmarks: int = Field(default=32, ge=4)
    #: a longer recording has no key; bounds memory to 32 kB a second
    max_duration_s: float = Field(default=3600.0, gt=0)
    #: null: candidates are duplicates, connected components keep one recording
    verify: VerifyLandmarks | None = VerifyLandmarks()
    #: which recording of a duplicate pair stays; `longest`: the one that lasts longer
    keep: Keep = "first"


@register("audio.near_dedup", version=1)
class AudioNearDedup(Dedup[AudioNearDedupParams]):
    """The same recording again: at another volume, sample rate or bit rate, shifted, cut at its ends, or with noise.

    Landmarks are those of Wang 2003. Candidates share one of the `num_keys` smallest hashes of constellations (a
    bottom-k sketch, Broder 1997), each of four landmarks, as in Sonnleitner and Widmer 2016. Similarity is the share of
    the removed recording that is in the kept one at one offset in time (transforms.kernels.landmarks.alignments). So an
    excerpt is a duplicate of the whole and not the other way round, and a common jingle counts for as much as it takes
    of a recording. Silence and steady tones have no landmarks; they, very short clips and what audio.decode would
    reject have no key. The same words said twice are different recordings.
    """

    Params = AudioNearDedupParams
    of_parts = True
    measure = "landmarks"

    def check(self, schema: pa.Schema) -> None:
        check_keep(self.params.keep, schema)

    @property
    def proof(self) -> bool:
        return False

    @property
    def min_similarity(self) -> float | None:
        return self.params.verify.landmarks if self.params.verify else None

    def keys(self, batch: pa.RecordBatch) -> Keys:
        parts = Parts.of(batch, "audio")
        rows, indices, hashes, ranks = [np.empty(0, np.uint32)], [np.empty(0, np.int32)], [_NONE], [_NONE]
        row_rank = None if self.params.keep == "longest" else rank_of(self.params.keep, batch)
        for row, index, data in zip(parts.row.tolist(), parts.index.tolist(), parts.field("data"), strict=True):
            samples = waveform(data.as_py(), RATE_HZ, max_duration_s=self.params.max_duration_s)
            if samples is None or len(found := landmarks_of(samples)) < self.params.min_landmarks:
                continue
            smallest = found.hashes()[: self.params.num_keys]
            rank = np.uint64(2**63 - len(samples)) if row_rank is None else row_rank[row]
            rows.append(np.full(len(smallest), row, np.uint32))
            indices.append(np.full(len(smallest), index, np.int32))
            hashes.append(smallest)
            ranks.append(np.full(len(smallest), rank, np.uint64))
        low = np.concatenate(hashes)
        with np.errstate(over="ignore"):
            # the smallest hashes are small numbers; mixed, they spread
            key = np.stack([mix(low), mix(~low)], axis=1)
        return Keys(
            np.concatenate(rows), np.concatenate(indices), np.zeros(len(low), np.uint16), key, np.concatenate(ranks)
        )

    def evidence(self, batch: pa.RecordBatch, part: np.ndarray) -> pa.LargeBinaryArray:
        parts = Parts.of(batch, "audio")
        place = {at: which for which, at in enumerate(zip(parts.row.tolist(), parts.index.tolist(), strict=True))}
        data = parts.field("data")
        wanted = [data[place[row, index]].as_py() for row, index in enumerate(part.tolist())]
        return pa.array([found.packed().tobytes() for found in self._landmarks(wanted)], pa.large_binary())

    def similarity(self, evidence: pa.LargeBinaryArray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        _, offsets, data = evidence.buffers()
        bounds = np.frombuffer(offsets, np.int64, len(evidence) + 1, evidence.offset * 8) // 4
        landmarks = np.frombuffer(data, "<u4", int(bounds[-1])) if data else np.empty(0, np.uint32)
        similarity: np.ndarray = alignments(landmarks, bounds, first, second)
        return similarity

    def _landmarks(self, recordings: Iterable[bytes]) -> Iterable[Landmarks]:
        for data in recordings:
            samples = waveform(data, RATE_HZ, max_duration_s=self.params.max_duration_s)
            yield landmarks_of(np.empty(0, np.float32) if samples is None else samples)


_NONE = np.empty(0, np.uint64)
