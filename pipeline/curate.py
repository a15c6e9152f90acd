"""`curate`: a recipe over its inputs, into a dataset, and into an index of what was kept."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.commit import commit_dataset
from pipeline.graph import Launcher
from pipeline.index.against import open_index
from pipeline.index.append import append_pending, append_segment
from pipeline.outputs import finished, locked
from pipeline.plan import Plan, compile_plan
from pipeline.pool import worker_pools
from pipeline.progress import Listener, Meter
from pipeline.recipe import digest, recipe_hash
from pipeline.run import Run, pack_shards, run_stages, write_segment
from pipeline.specs import stage_specs
from pipeline.units import code_versions, plan_units
from pipeline.workdir import WORK
from schemas.errors import SluiceError
from schemas.manifest import MANIFEST_NAME, Manifest, read_manifest
from schemas.recipe import Recipe
from transforms.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Result:
    """How a run ended: the dataset's manifest, and whether there was anything to do."""

    manifest: Manifest
    folder: Path
    unchanged: bool


def curate(
    recipe: Recipe,
    launcher: Launcher,
    *,
    overwrite: bool = False,
    listener: Listener | None = None,
    index: str | None = None,
) -> Result:
    """Runs a resolved recipe into `recipe.output.path`; raises SluiceError with what to do when it cannot.

    A finished dataset of the same recipe, code and input is left as it is. One of another recipe is only replaced
    with `overwrite`. With the folder of an `index`, rows are also compared with what the index holds, which loses
    nothing, and what the run keeps is appended to it at the commit (pipeline.index).
    """
    out = Path(recipe.output.path).absolute()
    recipe = recipe.model_copy(update={"output": recipe.output.model_copy(update={"path": str(out)})})
    plan = compile_plan(recipe)
    specs = stage_specs(plan)
    units = plan_units(plan, specs[0])
    if len(units) == 1:
        launcher = replace(launcher, workers=1)  # nothing to share
    identity = {
        "recipe": recipe_hash(recipe),
        "units": [unit.fingerprint for unit in units],
        "specs": specs,
        "tokenizer": _given_tokenizer(recipe),
    }
    folder = None if index is None else Path(index).absolute()
    if folder is not None and (folder == out or folder in out.parents or out in folder.parents):
        raise SluiceError(
            f"the dataset's folder {out} and the index's {folder} are one, or one lies in the other; name another one "
            "for --against"
        )
    work = out / WORK
    with ExitStack() as stack:
        stack.enter_context(locked(out))
        meter = stack.enter_context(Meter())
        stack.enter_context(worker_pools(str(work / "workers.log"), launcher.pool, _preload(plan)))
        against = None
        if folder is not None:
            stack.enter_context(locked(folder))
            append_pending(folder)
            against = open_index(folder, plan, lambda before: digest(identity | {"against": before}))
        fingerprint = against.name if against else digest(identity)
        existing = finished(out, fingerprint, overwrite)
        if against is not None and (out / MANIFEST_NAME).exists():
            against.check_forgotten(existing) if existing is not None else against.check_replaced(read_manifest(out))
        if existing is not None and against is not None and not against.appended:
            existing = None  # the index was lost since: made again, it can be appended to a new one
        manifest = existing
        if manifest is None:
            work.mkdir(exist_ok=True)
            run = Run(plan, specs, units, launcher, work, listener, meter, against)
            run_stages(run)
            entries = pack_shards(run)
            segment = write_segment(run, against) if against is not None and not against.appended else None
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
            if against is not None and segment is not None:
                append_segment(against, segment)
        if not recipe.output.keep_work:
            shutil.rmtree(work, ignore_errors=True)
    return Result(manifest, out, unchanged=existing is not None)


def _preload(plan: Plan) -> list[str]:
    """Modules that workers share from the start, beside those they always need."""
    uses_text = any(spec.use.startswith("text.") for spec in plan.recipe.steps)
    return ["pipeline.ready"] if uses_text else []


def _given_tokenizer(recipe: Recipe) -> str | None:
    """The content of the tokenizer a recipe names: the same path may hold another one next time."""
    spec = recipe.tokens.tokenizer
    return Tokenizer.load(spec).fingerprint if isinstance(spec, str) else None
