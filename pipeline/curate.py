"""A run: units through the stages, global steps between them, packing, commit.

Every piece of work is committed under a name made from all that shapes it, so a run that was killed goes on where it
stopped, a run that is complete has nothing to do, and neither needs to be told.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.commit import commit_dataset
from pipeline.dedup.task import DedupTask
from pipeline.graph import Launcher
from pipeline.pack import PackTask, pack_groups, run_pack
from pipeline.plan import TOKENIZER_PENDING, Plan, compile_plan
from pipeline.pool import worker_pools
from pipeline.progress import Listener, Meter, Watch
from pipeline.recipe import digest, recipe_hash
from pipeline.report import write_report
from pipeline.stage import StageTask, check_errors, run_stage
from pipeline.storage import sha256_file, write_bytes
from pipeline.tokenizer import prepare_tokenizer
from pipeline.units import Unit, code_versions, plan_units
from pipeline.workdir import WORK, UnitFiles, carry_drops, unit_files
from schemas.errors import SluiceError
from schemas.manifest import MANIFEST_NAME, Manifest, read_manifest
from schemas.recipe import Recipe, TokenizerSpec
from transforms.tokens.tokenizer import Tokenizer


@dataclass
class Run:
    """A run under way. `fingerprints`, `previous` and `drops` are one entry a unit, by unit number."""

    plan: Plan
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
    phases: list[dict[str, Any]] = field(default_factory=list)

    @property
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
    plan = compile_plan(recipe)
    units = plan_units(plan)
    out = Path(recipe.output.path)
    fingerprint = digest({"recipe": recipe_hash(recipe), "units": [u.fingerprint for u in units], "specs": plan.specs})
    if (out / MANIFEST_NAME).exists():
        existing = read_manifest(out)
        if existing.run_fingerprint == fingerprint:
            if not (out / "report.json").exists():  # killed between the commit and its report
                write_report(out)
            return Result(existing, out, unchanged=True)
        if not overwrite:
            raise SluiceError(
                f"{out} holds the dataset {existing.name!r} of another recipe, input or version; choose another --out, "
                "or pass --overwrite to replace it"
            )
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    with _locked(work / "lock"), Meter() as meter, worker_pools(str(work / "workers.log")):
        nothing: list[str | None] = [None] * len(units)
        run = Run(
            plan, units, launcher, work, listener, meter, [u.fingerprint for u in units], list(nothing), list(nothing)
        )
        run.ledgers = [[] for _ in units]
        for stage in range(len(plan.stages)):
            _run_stage(run, stage)
        entries = _run_pack(run)
        report = {
            "seconds": round(meter.seconds, 3),
            "cpu_seconds": round(meter.cpu_seconds, 3),
            "peak_rss_bytes": meter.peak_rss_bytes,
            "runner": launcher.runner,
            "workers": launcher.workers,
            "stages": run.phases,
            "versions": code_versions(),
        }
        manifest = commit_dataset(run.plan, run.units, fingerprint, Path(run.tokenizer), entries, out, report)
    if not recipe.output.keep_work:
        shutil.rmtree(work)
    return Result(manifest, out, unchanged=False)


def _run_stage(run: Run, stage: int) -> None:
    last = stage == len(run.plan.stages) - 1
    if last:
        spec = run.plan.recipe.tokens.tokenizer
        name = "train tokenizer" if isinstance(spec, TokenizerSpec) else "load tokenizer"
        with run.phase(name, []):
            kept = [(str(UnitFiles(Path(p)).kept), d) for p, d in zip(run.previous, run.drops, strict=True) if p]
            run.tokenizer = prepare_tokenizer(run.plan.recipe, kept, run.work, _inputs_digest(run))
    for unit in run.units:
        made_from = {"before": run.fingerprints[unit.number], "stage": stage, "specs": run.plan.specs[stage]}
        if run.drops[unit.number] is not None:
            made_from["drops"] = sha256_file(run.drops[unit.number] or "")
        if last:
            made_from["tokenizer"] = Path(run.tokenizer).name
        if stage or last:
            run.fingerprints[unit.number] = digest(made_from)
    tasks = [
        StageTask(
            run.recipe_json,
            str(run.work),
            stage,
            unit,
            run.fingerprints[unit.number],
            run.tokenizer,
            run.previous[unit.number],
            run.drops[unit.number],
        )
        for unit in run.units
    ]
    files = [unit_files(run.work, stage, fingerprint) for fingerprint in run.fingerprints]
    with run.phase("tokenize" if last and stage else f"stage {stage + 1}", [f.marker for f in files]):
        pending = [task for task, f in zip(tasks, files, strict=True) if not f.marker.exists()]
        run.launcher.map(f"Stage{stage}", run_stage, pending)
    counts = [_finished(f) for f in files]
    check_errors(counts, run.plan.recipe.max_error_ratio)
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
            task = DedupTask(
                run.recipe_json,
                run.tokenizer,
                stage,
                label,
                {number: str(f.keys(label)) for number, f in files.items()},
                {number: str(f.kept) for number, f in files.items()},
                dict(enumerate(run.drops)),
                after,
            )
            if any(_finished(f)["keys"].get(label, 0) for f in files.values()):
                run.launcher.dedup(task)
            else:  # no row has a key (no media at all, say): nothing can be a duplicate
                for number, path in after.items():
                    carry_drops(task.drops_before[number], path)
            missing = [path for path in after.values() if not Path(path).exists()]
            if missing:
                raise AssertionError(f"global step {label} left {len(missing)} units without drops")
            write_bytes(marker, json.dumps({"label": label, "units": len(run.units)}).encode())
    run.drops = [after[unit.number] for unit in run.units]


def _run_pack(run: Run) -> list[dict[str, Any]]:
    files = [UnitFiles(Path(folder or "")) for folder in run.previous]
    tokens = [_finished(f)["tokens"] for f in files]
    recipe = run.plan.recipe
    pad_id = Tokenizer.load(run.tokenizer).special_ids["<|endoftext|>"]
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


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One run at a time in an output folder; the lock dies with its process."""
    handle = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise SluiceError(
            f"another sluice run is writing to {path.parent.parent}; wait for it, or choose another --out"
        ) from error
    try:
        yield
    finally:
        os.close(handle)
