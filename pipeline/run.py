"""A run under way: units through the stages, global steps between them, packing.

Every piece of work is committed under a name made from all that shapes it, so a run that was killed goes on where it
stopped, a run that is complete has nothing to do, and neither needs to be told.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.dedup.task import DedupTask, IndexRun, Sizes, neighbours
from pipeline.graph import Launcher
from pipeline.index.against import Against, dedups
from pipeline.index.append import IndexTask, SignedUnit, segment_of, write_entries
from pipeline.pack import PackTask, pack_groups, run_pack
from pipeline.plan import TOKENIZER_PENDING, Plan, StageKey
from pipeline.progress import Listener, Meter, Watch
from pipeline.recipe import digest
from pipeline.stage import StageTask, check_stage, run_stage
from pipeline.storage import sha256_file, write_bytes
from pipeline.tokenizer import prepare_tokenizer
from pipeline.units import Unit
from pipeline.workdir import UnitFiles, carry_drops, unit_files
from schemas.control_tokens import END_OF_TEXT
from schemas.index import SEGMENTS, Segment
from schemas.recipe import TokenizerSpec
from transforms.dedup.base import Dedup
from transforms.tokens.tokenizer import Tokenizer


@dataclass
class Run:
    """A run under way. `fingerprints`, `previous`, `drops` and `ledgers` are one entry a unit, by unit number."""

    plan: Plan
    specs: list[list[dict[str, Any]]]
    units: list[Unit]
    launcher: Launcher
    work: Path
    listener: Listener | None
    meter: Meter
    against: Against | None = None
    fingerprints: list[str] = field(init=False)
    previous: list[str | None] = field(init=False)
    drops: list[str | None] = field(init=False)
    tokenizer: str = TOKENIZER_PENDING
    ledgers: list[list[str]] = field(init=False)
    #: by stage, every unit's folder and what its marker says
    folders: list[list[str]] = field(default_factory=list)
    results: list[list[dict[str, Any]]] = field(default_factory=list)
    phases: list[dict[str, Any]] = field(default_factory=list)
    #: by global step, what it counted
    dedups: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fingerprints = [unit.fingerprint for unit in self.units]
        self.previous = [None] * len(self.units)
        self.drops = [None] * len(self.units)
        self.ledgers = [[] for _ in self.units]

    def key(self, stage: int) -> StageKey:
        """What a worker makes the stage from."""
        return StageKey(self.recipe_json, self.tokenizer, stage, digest(self.specs[stage]))

    @cached_property
    def recipe_json(self) -> str:
        return self.plan.recipe.model_dump_json(by_alias=True)

    @contextmanager
    def phase(self, name: str, markers: list[Path]) -> Iterator[None]:
        """Reports and times one phase."""
        started, ready = self.meter.seconds, sum(marker.exists() for marker in markers)
        with Watch(self.listener, name, markers):
            yield
        seconds = round(self.meter.seconds - started, 3)
        self.phases.append({"name": name, "seconds": seconds, "units": len(markers), "reused": ready})


def run_stages(run: Run) -> None:
    """All stages, each with the global steps after it."""
    for stage in range(len(run.plan.stages)):
        _run_stage(run, stage)


def _run_stage(run: Run, stage: int) -> None:
    last = stage == len(run.plan.stages) - 1
    if last:
        spec = run.plan.recipe.tokens.tokenizer
        name = "train tokenizer" if isinstance(spec, TokenizerSpec) else "load tokenizer"
        with run.phase(name, []):
            kept = [(str(UnitFiles(Path(p)).kept), d) for p, d in zip(run.previous, run.drops, strict=True) if p]
            run.tokenizer = prepare_tokenizer(run.plan.recipe, kept, run.work, _inputs_digest(run))
    for unit in run.units:
        made_from = {"before": run.fingerprints[unit.number], "stage": stage, "specs": run.specs[stage]}
        if run.drops[unit.number] is not None:
            made_from["drops"] = sha256_file(run.drops[unit.number] or "")
        if last:
            made_from["tokenizer"] = Path(run.tokenizer).name
        if stage or last:
            run.fingerprints[unit.number] = digest(made_from)
    key = run.key(stage)
    tasks = [
        StageTask(
            key,
            str(run.work),
            unit,
            run.fingerprints[unit.number],
            run.previous[unit.number],
            run.drops[unit.number],
        )
        for unit in run.units
    ]
    files = [unit_files(run.work, stage, fingerprint) for fingerprint in run.fingerprints]
    with run.phase("tokenize" if last and stage else f"stage {stage + 1}", [f.marker for f in files]):
        pending = [task for task, f in zip(tasks, files, strict=True) if not f.marker.exists()]
        run.launcher.map(f"Stage{stage}", run_stage, pending)
    results = [_finished(f) for f in files]
    check_stage(run.results[-1] if run.results else None, results, run.plan.recipe.max_error_ratio)
    run.results.append(results)
    run.previous = [str(f.folder) for f in files]
    run.folders.append([str(f.folder) for f in files])
    for ledgers, f in zip(run.ledgers, files, strict=True):
        ledgers.append(str(f.ledger))
    run.drops = [None] * len(run.units)
    for label, _ in run.plan.stages[stage].dedups:
        _run_dedup(run, stage, label)


def _run_dedup(run: Run, stage: int, label: str) -> None:
    """One global step over all units; it depends on all of them, so its name is made from all of them."""
    made_from: dict[str, Any] = {
        "units": run.fingerprints,
        "drops": [d and sha256_file(d) for d in run.drops],
        "label": label,
    }
    if run.against is not None:
        made_from["against"] = run.against.files
    folder = run.work / "drops" / digest(made_from)
    marker = folder / "done.json"
    after = {unit.number: str(folder / f"{unit.number:08d}.arrow") for unit in run.units}
    with run.phase(label, [marker]):
        if not marker.exists():
            folder.mkdir(parents=True, exist_ok=True)
            files = {u.number: UnitFiles(Path(run.previous[u.number] or "")) for u in run.units}
            keys = {number: _finished(f)["keys"].get(label, 0) for number, f in files.items()}
            task = DedupTask(
                run.key(stage),
                label,
                {number: str(f.keys(label)) for number, f in files.items()},
                keys,
                {number: str(f.kept) for number, f in files.items()},
                dict(enumerate(run.drops)),
                after,
                str(folder / "scratch"),
                run.launcher.workers,
                _index_runs(run, stage, label),
            )
            counted: dict[str, Any] = {}
            if any(keys.values()):
                counted = run.launcher.dedup(task)
            else:  # no row has a key (no media at all, say): nothing can be a duplicate
                for number, path in after.items():
                    carry_drops(task.drops_before[number], path)
            missing = [path for path in after.values() if not Path(path).exists()]
            if missing:
                raise AssertionError(f"global step {label} left {len(missing)} units without drops")
            write_bytes(marker, json.dumps(counted).encode())
            shutil.rmtree(task.scratch, ignore_errors=True)
    counted = json.loads(marker.read_bytes())
    if counted:
        run.dedups[label] = counted
    run.drops = [after[unit.number] for unit in run.units]


def _index_runs(run: Run, stage: int, label: str) -> tuple[IndexRun, ...]:
    step = next(step for name, step in run.plan.stages[stage].dedups if name == label)
    return run.against.runs(step) if run.against is not None and isinstance(step, Dedup) else ()


def write_segment(run: Run, against: Against) -> Segment:
    """Writes what the run kept into the index's folder, where nobody sees it yet; returns the segment to append."""
    folder = against.folder / SEGMENTS / against.name
    tasks: list[IndexTask] = []
    steps: list[Dedup] = []
    for stage, label, step in dedups(run.plan):
        counts = {u.number: run.results[stage][u.number]["keys"].get(label, 0) for u in run.units}
        for group in neighbours(counts, Sizes().run_keys):
            signed = [
                SignedUnit(str(files.keys(label)), str(files.kept), str(UnitFiles(Path(run.folders[-1][u])).kept))
                for u, files in ((u, UnitFiles(Path(run.folders[stage][u]))) for u in group)
            ]
            tasks.append(IndexTask(run.key(stage), label, tuple(signed), str(folder / f"{len(tasks):06d}")))
            steps.append(step)
    with run.phase("index", [task.keys.with_suffix(".json") for task in tasks]):
        run.launcher.map("Index", write_entries, tasks)
    return segment_of(against, run.plan.recipe.output.path, tasks, steps)


def pack_shards(run: Run) -> list[dict[str, Any]]:
    """Packs the shards; returns what commit_dataset needs to know of each group."""
    files = [UnitFiles(Path(folder or "")) for folder in run.previous]
    tokens = [_finished(f)["tokens"] for f in files]
    recipe = run.plan.recipe
    pad_id = Tokenizer.load(run.tokenizer).special_ids[END_OF_TEXT]
    tasks = []
    for number, units in enumerate(pack_groups(tokens, recipe.output.shard_tokens)):
        made_from = [[run.fingerprints[u] for u in units], recipe.output.shard_tokens, run.plan.ledger.names]
        tasks.append(
            PackTask(
                number,
                tuple(str(files[u].kept) for u in units),
                tuple(path for u in units for path in run.ledgers[u]),
                run.plan.ledger.serialize().to_pybytes(),
                str(run.work / "packed" / digest(made_from)),
                recipe.tokens.sequence_length,
                recipe.output.shard_tokens,
                pad_id,
            )
        )
    with run.phase("pack", [task.marker for task in tasks]):
        run.launcher.map("Pack", run_pack, [task for task in tasks if not task.marker.exists()])
    return [json.loads(task.marker.read_bytes()) | {"folder": task.folder} for task in tasks]


def _finished(files: UnitFiles) -> dict[str, Any]:
    counts = files.counts()
    if counts is None:
        raise AssertionError(f"the runner finished, but {files.folder} was not committed")
    return counts


def _inputs_digest(run: Run) -> str:
    return digest({"units": run.fingerprints, "drops": [d and sha256_file(d) for d in run.drops]})
