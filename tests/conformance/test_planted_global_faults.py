"""The contract of global steps catches what it is there for: each one here signs rows or spans wrongly in one way."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tests.conformance.contract import check_dedup, first_complaint
from transforms.base import Params, Verdicts
from transforms.dedup.base import Dedup, Keys
from transforms.dedup.spans import SpanDedup, SpanKeys


class SoundKeys(Dedup[Params]):
    """Not broken: the text's length is its key."""

    def keys(self, batch: pa.RecordBatch) -> Keys:
        return self._keys([len(text) for text in batch.column("text").to_pylist()])

    def _keys(self, values: list[int]) -> Keys:
        count = len(values)
        key = np.zeros((count, 2), np.uint64)
        key[:, 0] = values
        row = np.arange(count, dtype=np.uint32)
        return Keys(row, np.full(count, -1, np.int32), np.zeros(count, np.uint16), key, np.zeros(count, np.uint64))


class KeysOfPosition(SoundKeys):
    def keys(self, batch: pa.RecordBatch) -> Keys:
        return self._keys(list(range(batch.num_rows)))


class KeysThatDrift(SoundKeys):
    calls = 0

    def keys(self, batch: pa.RecordBatch) -> Keys:
        self.calls += 1
        return self._keys([self.calls] * batch.num_rows)


class KeysOfNothing(SoundKeys):
    def keys(self, batch: pa.RecordBatch) -> Keys:
        keys = super().keys(batch)
        return Keys(keys.row + np.uint32(1), keys.part, keys.band, keys.key, keys.rank)


class SoundSpans(SpanDedup[Params]):
    """Not broken: the first letter of a text without media is its span."""

    max_rows = 1

    def span_keys(self, batch: pa.RecordBatch) -> SpanKeys:
        first = [text[:1] for text in batch.column("text").to_pylist()]
        rows = [row for row, letter in enumerate(first) if letter not in ("", "\ufffc")]
        stop = np.asarray([len(first[row].encode()) for row in rows], np.uint32)
        key = np.asarray([[ord(first[row]), 0] for row in rows], np.uint64).reshape(-1, 2)
        return SpanKeys(np.asarray(rows, np.uint32), np.zeros(len(rows), np.uint32), stop, key)

    def judge(self, batch: pa.RecordBatch, num_spans: np.ndarray) -> Verdicts:
        return Verdicts([None] * batch.num_rows)


class SpansCutCharacters(SoundSpans):
    def span_keys(self, batch: pa.RecordBatch) -> SpanKeys:
        keys = super().span_keys(batch)
        return SpanKeys(keys.row, keys.start, np.minimum(keys.stop, 1).astype(np.uint32), keys.key)


class SpansBeyondTheText(SoundSpans):
    def span_keys(self, batch: pa.RecordBatch) -> SpanKeys:
        keys = super().span_keys(batch)
        return SpanKeys(keys.row, keys.start, keys.stop + np.uint32(1_000_000), keys.key)


class SpansOfMedia(SoundSpans):
    def span_keys(self, batch: pa.RecordBatch) -> SpanKeys:
        keys = super().span_keys(batch)
        sizes = np.asarray([len(text.encode()) for text in batch.column("text").to_pylist()], np.uint32)
        return SpanKeys(keys.row, keys.start, sizes[keys.row], keys.key)


class SpansOutOfOrder(SoundSpans):
    def span_keys(self, batch: pa.RecordBatch) -> SpanKeys:
        keys = super().span_keys(batch)
        return SpanKeys(keys.row[::-1], keys.start[::-1], keys.stop[::-1], keys.key[::-1])


FAULTY_KEYS = {
    KeysOfPosition: "the batch split",
    KeysThatDrift: "second run",
    KeysOfNothing: "not there",
    SpansCutCharacters: "cuts a character",
    SpansBeyondTheText: "not there",
    SpansOfMedia: "holds a media part",
    SpansOutOfOrder: "out of order",
}


@pytest.mark.parametrize("sound", [SoundKeys, SoundSpans])
def test_sound_keys_pass(sound: type[Dedup]) -> None:
    assert first_complaint(check_dedup, sound(Params())) is None


@pytest.mark.parametrize("faulty", list(FAULTY_KEYS), ids=lambda cls: cls.__name__)
def test_planted_key_fault_is_caught(faulty: type[Dedup]) -> None:
    complaint = first_complaint(check_dedup, faulty(Params()))
    assert complaint is not None
    assert FAULTY_KEYS[faulty] in complaint
