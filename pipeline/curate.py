"""A run: units through the stages, global steps between them, packing, commit.

Every piece of work is committed under a name made from all that shapes it, so a run that was killed goes on where it
stopped, a run that is complete has nothing to do, and neither needs to be told.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.commit import commit_dataset
from pipeline.dedup.task import DedupTask
from pipeline.graph import Launcher
from pipeline.outputs import finished, locked
from pipeline.pack import PackTask, pack_groups, run_pack
from pipeline.plan import TOKENIZER_PENDING, Plan, StageKey, compile_plan
from pipeline.pool import worker_pools
from pipeline.progress import Listener, Meter, Watch
from pipeline.recipe import digest, recipe_hash
from pipeline.specs import stage_specs
from pipeline.stage import StageTask, check_stage, run_stage
from pipeline.storage import sha256_file, write_bytes
from pipeline.tokenizer import prepare_tokenizer
from pipeline.units import Unit, code_versions, plan_units
from pipeline.workdir import WORK, UnitFiles, carry_drops, unit_files
from schemas.control_tokens import END_OF_TEXT
from schemas.manifest import Manifest
from schemas.recipe import Recipe, TokenizerSpec
from transforms.tokens.tokenizer import Tokenizer


@dataclass
class Run:
    """A run under way. `fingerprints`, `previous` and `drops` are one entry a unit, by unit number."""

    plan: Plan
    specs: list[list[dict[str, Any]]]
    units: list[Unit]
    launcher: Launcher
    work: Path
    listener: Listener | None
    meter: Meter
    fingerprints: list[str]
    previous: list[str | None]
    drops: list[str | None]
    tokenizer: str = TOKENIZER_PENDING
    ledgers: list[list[str]] = field(default_factory=list)
    #: by stage, what every unit's marker says
    results: list[list[dict[str, Any]]] = field(default_factory=list)
    phases: list[dict[str, Any]] = field(default_factory=list)
    #: by global step, what it counted
    dedups: dict[str, dict[str, Any]] = field(default_factory=dict)

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


@dataclass(frozen=True)
class Result:
    """How a run ended: the dataset's manifest, and whether there was anything to do."""

    manifest: Manifest
    folder: Path
    unchanged: bool


def curate(recipe: Recipe, launcher: Launcher, *, overwrite: bool = False, listener: Listener | None = None) -> Result:
    """Runs a resolved recipe into `recipe.output.path`; raises SluiceError with what to do when it cannot.

    A finished dataset of the same recipe, code and input is left as it is. One of another recipe is only replaced
    with `overwrite`.
    """
    out = Path(recipe.output.path).absolute()
    recipe = recipe.model_copy(update={"output": recipe.output.model_copy(update={"path": str(out)})})
    plan = compile_plan(recipe)
    specs = stage_specs(plan)
    units = plan_units(plan, specs[0])
    if len(units) == 1:
        launcher = replace(launcher, workers=1)  # nothing to share
    fingerprint = digest(
        {
            "recipe": recipe_hash(recipe),
            "units": [unit.fingerprint for unit in units],
            "specs": specs,
            "tokenizer": _given_tokenizer(recipe),
        }
    )
    work = out / WORK
    with locked(out), Meter() as meter, worker_pools(str(work / "workers.log"), launcher.pool, _preload(plan)):
        existing = finished(out, fingerprint, overwrite)
        if existing is None:
            work.mkdir(exist_ok=True)
            run = _new_run(plan, specs, units, launcher, work, listener, meter)
            for stage in range(len(plan.stages)):
                _run_stage(run, stage)
            entries = _run_pack(run)
            facts = {
                "seconds": round(meter.seconds, 3),
                "cpu_seconds": round(meter.cpu_seconds, 3),
                "peak_rss_bytes": meter.peak_rss_bytes,
                "runner": launcher.runner,
                "workers": launcher.workers,
                "stages": run.phases,
                "dedup": run.dedups,
                "tokenizer_engine": run.results[-1][0]["tokenizer_engine"],
                "versions": code_versions(),
            }
            rows_in = sum(result["rows_in"] for result in run.results[0])
            manifest = commit_dataset(plan, units, fingerprint, Path(run.tokenizer), entries, out, facts, rows_in)
        if not recipe.output.keep_work:
            shutil.rmtree(work, ignore_errors=True)
    if existing is not None:
        return Result(existing, out, unchanged=True)
    return Result(manifest, out, unchanged=False)


def _new_run(
    plan: Plan,
    specs: list[list[dict[str, Any]]],
    units: list[Unit],
    launcher: Launcher,
    work: Path,
    listener: Listener | None,
    meter: Meter,
) -> Run:
    nothing: list[str | None] = [None] * len(units)
    fingerprints = [unit.fingerprint for unit in units]
    return Run(
        plan,
        specs,
        units,
        launcher,
        work,
        listener,
        meter,
        fingerprints,
        list(nothing),
        list(nothing),
        ledgers=[[] for _ in units],
    )


def _preload(plan: Plan) -> list[str]:
    """Modules that workers share from the start, beside those they always need."""
    uses_text = any(spec.use.startswith("text.") for spec in plan.recipe.steps)
    return ["pipeline.ready"] if uses_text else []


def _given_tokenizer(recipe: Recipe) -> str | None:
    """The content of the tokenizer a recipe names: the same path may hold another one next time."""
    spec = recipe.tokens.tokenizer
    return Tokenizer.load(spec).fingerprint if isinstance(spec, str) else None


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
    for ledgers, f in zip(run.ledgers, files, strict=True):
        ledgers.append(str(f.ledger))
    run.drops = [None] * len(run.units)
    for label, _ in run.plan.stages[stage].dedups:
        _run_dedup(run, stage, label)


def _run_dedup(run: Run, stage: int, label: str) -> None:
    """One global step over all units; it depends on all of them, so its name is made from all of them."""
    made_from = {"units": run.fingerprints, "drops": [d and sha256_file(d) for d in run.drops], "label": label}
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


def _run_pack(run: Run) -> list[dict[str, Any]]:
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
