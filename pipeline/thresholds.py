"""Thresholds from two corpora: reads a good and a bad one, measures every document, and ranks the cuts that part them.

The statistics are transforms.select.proposal's. Memory is bounded by a sample: of a corpus with more than `max_rows`
documents those with the lowest hash(seed, source) count, the same ones however the files are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
import yaml

from pipeline.engine import Step, run_steps, steps_schema
from schemas.errors import SluiceError
from schemas.sample import SAMPLE_COLUMNS, is_part_field
from transforms.base import Outcome
from transforms.registry import load_all
from transforms.select.proposal import Proposal, propose, resamples
from transforms.select.sample import draw
from transforms.signals import compute_signals, signal_columns


@dataclass(frozen=True, slots=True)
class Measured:
    """A corpus: `keys` uint64 [rows] (a hash of each row's source, ascending), `values` float64 [rows, metrics], and
    how many rows were read in all."""

    keys: np.ndarray
    values: np.ndarray
    rows_read: int


def metric_names(steps: Sequence[Step]) -> list[str]:
    """Every signal, and every column of numbers that the steps add."""
    load_all()
    added = [
        field.name
        for field in steps_schema(steps)
        if field.name not in SAMPLE_COLUMNS
        and not is_part_field(field)
        and (pt.is_integer(field.type) or pt.is_floating(field.type))
    ]
    return sorted({*signal_columns(), *added})


def measure(
    outcomes: Iterable[Outcome], steps: Sequence[Step], metrics: Sequence[str], max_rows: int, seed: int
) -> Measured:
    """Measures the rows of a corpus. Rows that a step rejects are measured as far as the steps got with them."""
    for step in steps:
        step.transform.setup()
    keys: list[np.ndarray] = [np.empty(0, np.uint64)]
    values: list[np.ndarray] = [np.empty((0, len(metrics)))]
    held = rows_read = 0
    for outcome in outcomes:
        judged = run_steps(steps, outcome.kept, score_rejected=True)
        for rows in (judged.kept, *(_whole(rejected) for _, rejected in judged.rejected)):
            keys.append(np.array([draw(source, seed) for source in rows.column("source").to_pylist()], np.uint64))
            values.append(_matrix(rows, metrics))
            held += rows.num_rows
        rows_read += outcome.kept.num_rows
        if held > 2 * max_rows:
            keys, values = ([part] for part in _lowest(keys, values, max_rows))
            held = len(keys[0])
    sampled = _lowest(keys, values, max_rows)
    return Measured(*sampled, rows_read)


def find_proposals(
    good: Measured,
    bad: Measured,
    metrics: Sequence[str],
    *,
    max_good_loss: float | None = None,
    num_resamples: int = 200,
    seed: int = 17,
) -> list[Proposal]:
    """A proposal for each metric that parts the corpora, the greatest distance first; raises SluiceError when there is
    nothing to compare."""
    for name, corpus in (("good", good), ("bad", bad)):
        if not len(corpus.keys):
            raise SluiceError(f"the {name} corpus has no rows; thresholds need documents of both kinds")
    weights = resamples(good.keys, num_resamples, seed), resamples(bad.keys, num_resamples, seed + 1)
    found = [
        propose(metric, good.values[:, at], bad.values[:, at], weights, max_good_loss)
        for at, metric in enumerate(metrics)
    ]
    return sorted((p for p in found if p is not None), key=lambda p: (-p.distance, p.metric))


def chosen_steps(proposals: Sequence[Proposal], count: int) -> list[Proposal]:
    """The first `count` proposals, of each signal only its best variant: the others measure the same."""
    first: dict[str, Proposal] = {}
    for proposal in proposals:
        first.setdefault(_stem(proposal.metric), proposal)
    return list(first.values())[:count]


def snippet(chosen: Sequence[Proposal]) -> str:
    """The proposals as steps of a recipe, in YAML."""
    steps = [
        {
            "use": "select.range",
            "with": {
                "column": proposal.metric,
                proposal.bound: proposal.threshold,
                "missing": "keep",
                "reason": f"{'low' if proposal.bound == 'min' else 'high'}_{_stem(proposal.metric).rpartition('.')[2]}",
            },
        }
        for proposal in chosen
    ]
    lines = [yaml.safe_dump(step, default_flow_style=True, sort_keys=False, width=10_000).strip() for step in steps]
    return "".join(f"- {line}\n" for line in lines)


def together(chosen: Sequence[Proposal], corpus: Measured, metrics: Sequence[str]) -> float:
    """Share of a corpus that any of the proposals removes."""
    gone = np.zeros(len(corpus.keys), bool)
    for proposal in chosen:
        gone |= proposal.removes(corpus.values[:, metrics.index(proposal.metric)])
    return float(gone.mean())


def _stem(metric: str) -> str:
    """A metric's name without its variant: signal.gopher.word_count.paper to signal.gopher.word_count."""
    return metric.rpartition(".")[0] if metric.startswith("signal.") else metric


def _whole(rejected: pa.RecordBatch) -> pa.RecordBatch:
    return rejected.filter(pc.is_null(rejected.column("reject.part")))


def _matrix(rows: pa.RecordBatch, metrics: Sequence[str]) -> np.ndarray:
    """float64 [rows, metrics], NaN for nulls and for columns that the rows do not have."""
    rows = compute_signals(rows, signal_columns())
    matrix = np.full((rows.num_rows, len(metrics)), np.nan)
    for at, name in enumerate(metrics):
        if name in rows.schema.names:
            matrix[:, at] = rows.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return matrix


def _lowest(keys: Sequence[np.ndarray], values: Sequence[np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    joined, matrix = np.concatenate(keys), np.concatenate(values)
    order = np.argsort(joined, kind="stable")[:count]
    return joined[order], matrix[order]
