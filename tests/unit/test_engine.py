"""The engine: conservation, isolation of bad rows, guards, signals, scoring of rejected rows."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.engine import ERROR, Step, modality, run_steps, signal_plan, steps_schema
from schemas.sample import SAMPLE, SENTINEL, sample_batch
from transforms.base import (
    Explode,
    Filter,
    Map,
    Outcome,
    Params,
    Transform,
    Verdicts,
    append_columns,
    append_fields,
    partition,
)


class NoParams(Params):
    pass


class Length(Map[NoParams]):
    name, version = "test.length", 1

    def output_schema(self, schema):
        return append_fields(schema, [pa.field("text.length", pa.int64())])

    def map(self, batch):
        return append_columns(
            batch, [(pa.field("text.length", pa.int64()), [len(t) for t in batch["text"].to_pylist()])]
        )


class NoX(Filter[NoParams]):
    name, version = "test.no_x", 1
    reasons = frozenset({"has_x"})

    def judge(self, batch):
        return Verdicts(["has_x" if "x" in t else None for t in batch["text"].to_pylist()])


class Fragile(Filter[NoParams]):
    name, version = "test.fragile", 1

    def judge(self, batch):
        if any("boom" in t for t in batch["text"].to_pylist()):
            raise RuntimeError("cannot bear it")
        return Verdicts([None] * batch.num_rows)


class Loses(Transform[NoParams]):
    name, version = "test.loses", 1

    def apply(self, batch):
        kept = batch.slice(1)
        return Outcome(kept, NoX(NoParams()).apply(kept.slice(0, 0)).rejected)


class Forgets(Explode[NoParams]):
    """Two rows of each but the first, which yields none."""

    name, version = "test.forgets", 1

    def explode(self, batch):
        children = pa.array([row for row in range(1, batch.num_rows) for _ in range(2)], pa.int64())
        return partition(batch.take(children), Verdicts([None] * len(children)))


def step(number: int, cls: type, **more) -> Step:
    return Step(f"{number}:{cls.name}", cls(NoParams()), **more)


def batch_of(*texts: str) -> pa.RecordBatch:
    return sample_batch([{"id": str(k), "source": f"s#{k}", "text": text} for k, text in enumerate(texts)])


def media_row(kind: str) -> dict:
    part = {"index": 0, "kind": kind, "data": b"1", "mime": "m", "sha256": b"0" * 32}
    return {"id": kind, "source": kind, "text": SENTINEL, "media": [part]}


def test_kept_and_rejected_rows_are_the_rows_in():
    judged = run_steps([step(1, NoX)], batch_of("a", "x", "b"))
    assert judged.kept["id"].to_pylist() == ["0", "2"]
    [(label, rejected)] = judged.rejected
    assert (label, rejected["id"].to_pylist(), rejected["reject.reason"].to_pylist()) == (
        "1:test.no_x",
        ["1"],
        ["has_x"],
    )


def test_a_row_that_raises_is_rejected_alone():
    texts = ["fine"] * 37 + ["boom"] + ["fine"] * 26
    judged = run_steps([step(1, Fragile)], batch_of(*texts))
    assert judged.kept["id"].to_pylist() == [str(k) for k in range(64) if k != 37]
    [(_, rejected)] = judged.rejected
    assert rejected["reject.reason"].to_pylist() == [ERROR]
    assert rejected["reject.detail"].to_pylist() == ["RuntimeError: cannot bear it"]
    assert judged.errors == {"1:test.fragile": 1}


def test_a_step_that_loses_a_row_is_our_own_defect():
    with pytest.raises(AssertionError, match="2 in, 1 kept, 0 rejected"):
        run_steps([step(1, Loses)], batch_of("a", "b"))


def test_a_row_that_yields_none_must_be_rejected():
    with pytest.raises(AssertionError, match=r"1:test\.forgets lost rows: s#0"):
        run_steps([step(1, Forgets)], batch_of("a", "b", "c"))


def test_a_guard_lets_other_modalities_pass_in_place():
    batch = sample_batch([{"id": "t", "source": "t", "text": "x"}, media_row("image"), media_row("audio")])
    assert modality(batch).tolist() == ["text", "image", "audio"]
    guarded = [step(1, Length, modalities=frozenset({"image"})), step(2, NoX, modalities=frozenset({"text"}))]
    judged = run_steps(guarded, batch)
    assert judged.kept["id"].to_pylist() == ["image", "audio"]
    assert judged.kept["text.length"].to_pylist() == [1, None]
    assert judged.kept.schema.equals(steps_schema(guarded, SAMPLE))


def test_full_ledger_scores_rejected_rows_with_later_steps():
    steps = [step(1, NoX), step(2, Length)]
    first = run_steps(steps, batch_of("xx", "abc"))
    assert "text.length" not in first.rejected[0][1].schema.names
    full = run_steps(steps, batch_of("xx", "abc"), score_rejected=True)
    [(label, rejected)] = full.rejected
    assert (label, rejected["text.length"].to_pylist()) == ("1:test.no_x", [2])
    assert rejected.schema.names[-4:] == ["reject.part", "reject.reason", "reject.detail", "reject.match_id"]


class Reads(NoX):
    wanted: tuple[str, ...] = ()

    def signals(self):
        return self.wanted


class Edits(Reads):
    edits_text = True


def test_signals_are_planned_once_and_again_after_an_edit():
    def reads(cls, *wanted):
        made = cls(NoParams())
        made.wanted = wanted
        return Step("s", made)

    plan = signal_plan([reads(Reads, "a"), reads(Edits, "b"), reads(Reads, "a", "c"), reads(Reads, "c")])
    assert plan == [["a", "b"], [], ["a", "c"], []]
