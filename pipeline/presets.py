"""One rule step under several presets or parameters: which rows change verdict, and why.

Each variant judges every row. Where one keeps what another rejects, the reason is the rejecting variant's, and the
cause is found by trying the third way: the rejecting variant's definitions with the keeping variant's parameters. If
the row is still rejected, the two count differently (other words, other lines); if it is kept, a threshold did it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine import Step, apply_isolated, run_steps
from pipeline.reading import local_steps
from schemas.errors import RecipeError
from schemas.recipe import Recipe
from transforms.base import Outcome, Transform
from transforms.dedup.base import GlobalStep
from transforms.registry import build, get
from transforms.signals import compute_signals

DEFINITION = "definition"
PARAMETER = "parameter"
_PRESET = "preset"
#: source and id of a row
_Key = tuple[str, str]


@dataclass(frozen=True)
class Variant:
    """One way to run the step; `label` names it in the result."""

    label: str
    transform: Transform


@dataclass
class Cell:
    """Rows that one variant keeps and another rejects for one reason and cause.

    `kept_at` and `rejected_at` are the ranges of what the two measured, where the step's rules are about a number.
    """

    count: int = 0
    kept_at: tuple[float, float] | None = None
    rejected_at: tuple[float, float] | None = None
    examples: list[dict[str, Any]] = field(default_factory=list)


def preset_names(use: str) -> list[str]:
    """The presets a transform has; raises RecipeError when it has none."""
    known = get(use).Params.model_fields.get(_PRESET)  # type: ignore[attr-defined]
    if known is None:
        raise RecipeError(f"{use} has no presets; compare parameters instead, for example --variant 'min_words: 100'")
    return list(get_args(known.annotation))


def make_variants(use: str, base: dict[str, Any], changes: Sequence[tuple[str, dict[str, Any]]]) -> list[Variant]:
    """The step `use` with `base` parameters under each change, (label, parameters); raises RecipeError."""
    if issubclass(get(use), GlobalStep):
        raise RecipeError(f"{use} compares rows with each other; diff-presets is for steps that judge each row alone")
    labels = [label for label, _ in changes]
    if len(labels) < 2:
        raise RecipeError("one variant has nothing to be compared with; name at least two")
    twice = [label for label, times in Counter(labels).items() if times > 1]
    if twice:
        raise RecipeError(f"the variant {twice[0]!r} is named twice")
    return [Variant(label, build(use, base | change)) for label, change in changes]


def recipe_step(recipe: Recipe, named: str) -> tuple[str, dict[str, Any], list[Step]]:
    """A recipe's step by name or number from 1: (transform, its parameters, the local steps before it).

    The parameters are those that differ from their preset's own, so that another preset brings its constants along.
    Raises RecipeError when there is no such step.
    """
    names = [spec.use for spec in recipe.steps]
    at = int(named) - 1 if named.isdigit() else names.index(named) if named in names else -1
    if not 0 <= at < len(names):
        listed = ", ".join(f"{number} {name}" for number, name in enumerate(names, start=1))
        raise RecipeError(f"recipe {recipe.name!r} has no step {named!r}; its steps: {listed}")
    use, params = names[at], dict(recipe.steps[at].params)
    if _PRESET in params:
        usual = build(use, {_PRESET: params[_PRESET]}).params.model_dump()
        params = {name: value for name, value in params.items() if name == _PRESET or value != usual[name]}
    return use, params, local_steps(recipe.steps[:at])


class Comparison:
    """Verdicts of all variants over a stream of batches; holds counts, and at most `num_examples` rows a cell."""

    def __init__(self, variants: Sequence[Variant], before: Sequence[Step] = (), num_examples: int = 3) -> None:
        self.variants = list(variants)
        self.before = list(before)
        self.num_examples = num_examples
        self.rows = 0
        self.unread = 0
        self.lost_before = 0
        self.rejected: list[Counter[str]] = [Counter() for _ in self.variants]
        pairs = list(itertools.permutations(range(len(self.variants)), 2))
        self.agreeing = {(a, b): 0 for a, b in pairs if a < b}
        self.cells: dict[tuple[int, int, str, str], Cell] = {}
        self._swapped = {(a, b): _swapped(self.variants[a], self.variants[b]) for a, b in pairs}
        transforms = [v.transform for v in self.variants] + [t for t in self._swapped.values() if t is not None]
        self._signals = sorted({column for transform in transforms for column in transform.signals()})
        for transform in [*transforms, *(step.transform for step in self.before)]:
            transform.setup()

    def add(self, read: Outcome) -> None:
        """Judges one batch of a source."""
        self.unread += pc.sum(pc.is_null(read.rejected.column("reject.part"))).as_py() or 0
        batch = run_steps(self.before, read.kept).kept
        self.lost_before += read.kept.num_rows - batch.num_rows
        self.rows += batch.num_rows
        if not batch.num_rows:
            return
        batch = compute_signals(batch, self._signals)
        verdicts = [_verdicts(variant.transform, batch) for variant in self.variants]
        for counter, verdict in zip(self.rejected, verdicts, strict=True):
            counter.update(reason for reason, _ in verdict.values())
        for a, b in self.agreeing:
            differing = verdicts[a].keys() ^ verdicts[b].keys()
            self.agreeing[a, b] += batch.num_rows - len(differing)
            if differing:
                keys = _keys(batch)
                self._changed(batch, a, b, verdicts[b], [key in differing and key in verdicts[b] for key in keys])
                self._changed(batch, b, a, verdicts[a], [key in differing and key in verdicts[a] for key in keys])

    def _changed(
        self, batch: pa.RecordBatch, keeper: int, rejecter: int, verdicts: dict[_Key, tuple[str, str]], mask: list[bool]
    ) -> None:
        """Counts the rows of `mask`, which `keeper` keeps and `rejecter` rejects."""
        changed = batch.filter(pa.array(mask))
        if not changed.num_rows:
            return
        kept_by, rejected_by = self.variants[keeper].transform, self.variants[rejecter].transform
        swapped = self._swapped[keeper, rejecter]
        still = None if swapped is None else _verdicts(swapped, changed)
        only = PARAMETER if _preset(kept_by) == _preset(rejected_by) else DEFINITION
        for row, key in enumerate(_keys(changed)):
            reason, detail = verdicts[key]
            cause = only if still is None else DEFINITION if key in still else PARAMETER
            cell = self.cells.setdefault((keeper, rejecter, reason, cause), Cell())
            cell.count += 1
            signal = detail.partition(" ")[0]
            kept_at, rejected_at = (_measured(t, signal, changed, row) for t in (kept_by, rejected_by))
            cell.kept_at, cell.rejected_at = _widen(cell.kept_at, kept_at), _widen(cell.rejected_at, rejected_at)
            if len(cell.examples) < self.num_examples:
                source, name = key
                cell.examples.append({"id": name, "source": source, "detail": detail, "kept_at": kept_at})

    def result(self) -> dict[str, Any]:
        """What was found, in a fixed order: JSON-able."""
        labels = [variant.label for variant in self.variants]
        ordered = sorted(self.cells.items(), key=lambda item: (item[0][:2], -item[1].count, item[0][2:]))
        return {
            "step": self.variants[0].transform.name,
            "rows": self.rows,
            "rows_unread": self.unread,
            "rows_lost_before": self.lost_before,
            "variants": [
                {
                    "name": variant.label,
                    "params": variant.transform.params.model_dump(mode="json"),
                    "kept": self.rows - counter.total(),
                    "rejected": dict(sorted(counter.items(), key=lambda item: (-item[1], item[0]))),
                }
                for variant, counter in zip(self.variants, self.rejected, strict=True)
            ],
            "agreement": [[self._agreement(a, b) for b in range(len(labels))] for a in range(len(labels))],
            "changes": [
                {
                    "kept_by": labels[keeper],
                    "rejected_by": labels[rejecter],
                    "reason": reason,
                    "cause": cause,
                    "count": cell.count,
                    "kept_at": cell.kept_at,
                    "rejected_at": cell.rejected_at,
                    "examples": cell.examples,
                }
                for (keeper, rejecter, reason, cause), cell in ordered
            ],
        }

    def _agreement(self, a: int, b: int) -> float | None:
        """Share of rows on which two variants agree; null without rows."""
        if not self.rows:
            return None
        return 1.0 if a == b else self.agreeing[min(a, b), max(a, b)] / self.rows


def compare(
    outcomes: Iterable[Outcome], variants: Sequence[Variant], before: Sequence[Step] = (), num_examples: int = 3
) -> dict[str, Any]:
    """The comparison of `variants` over everything a source yields."""
    comparison = Comparison(variants, before, num_examples)
    for outcome in outcomes:
        comparison.add(outcome)
    return comparison.result()


def _keys(batch: pa.RecordBatch) -> list[_Key]:
    """What tells rows apart: those that a step made of one row have its source and ids of their own."""
    return list(zip(*(batch.column(name).to_pylist() for name in ("source", "id")), strict=True))


def _verdicts(transform: Transform, batch: pa.RecordBatch) -> dict[_Key, tuple[str, str]]:
    """(reason, detail) of the rows the transform rejects."""
    outcome, _ = apply_isolated(Step(transform.name, transform), batch)
    rejected = outcome.rejected.filter(pc.is_null(outcome.rejected.column("reject.part")))
    reasons, details = (rejected.column(name).to_pylist() for name in ("reject.reason", "reject.detail"))
    rows = zip(_keys(rejected), reasons, details, strict=True)
    return {key: (reason, detail or "") for key, reason, detail in rows}


def _preset(transform: Transform) -> Any:
    return getattr(transform.params, _PRESET, None)


def _swapped(keeper: Variant, rejecter: Variant) -> Transform | None:
    """The rejecting variant with the keeping one's parameters; None when that is one of the two."""
    kept, rejected = keeper.transform.params.model_dump(), rejecter.transform.params.model_dump()
    preset = rejected.get(_PRESET)
    swapped = kept if preset is None else kept | {_PRESET: preset}
    return None if swapped in (kept, rejected) else build(rejecter.transform.name, swapped)


def _measured(transform: Transform, name: str, batch: pa.RecordBatch, row: int) -> float | None:
    """The signal that a detail is about ("word_count 12 < 50"), as this transform measures it."""
    for column in transform.signals():
        if column.split(".")[-2] == name:
            value = batch.column(column)[row].as_py()
            return None if value is None else float(value)
    return None


def _widen(span: tuple[float, float] | None, value: float | None) -> tuple[float, float] | None:
    if value is None:
        return span
    return (value, value) if span is None else (min(span[0], value), max(span[1], value))
