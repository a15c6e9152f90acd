"""An index of earlier data, as a run sees it: what came before the run, and nothing of the run itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.dedup.records import INDEX_UNIT
from pipeline.dedup.task import IndexRun
from pipeline.plan import Plan
from pipeline.recipe import digest
from schemas.errors import RecipeError, SchemaError
from schemas.index import Index, read_index
from transforms.dedup.base import Dedup


@dataclass(frozen=True)
class Against:
    """The segments a run is compared with; `name` is what the run's own will be called, and is called if it is there
    already: a run that is repeated sees what it saw the first time."""

    folder: Path
    index: Index
    name: str
    before: int

    @property
    def appended(self) -> bool:
        """Whether the run's own segment is in the index."""
        return self.before < len(self.index.segments)

    @property
    def segments(self) -> list[str]:
        """Names of the segments before the run, in order."""
        return [segment.name for segment in self.index.segments[: self.before]]

    def runs(self, step: Dedup) -> tuple[IndexRun, ...]:
        """What the step is compared with."""
        name = step_name(step)
        files = [files for segment in self.index.segments[: self.before] for files in segment.files]
        return tuple(
            IndexRun(INDEX_UNIT + number, str(self.folder / found.keys), str(self.folder / found.entries))
            for number, found in enumerate(files)
            if found.step.name == name
        )


def open_index(folder: Path, plan: Plan, fingerprint: Callable[[list[str]], str]) -> Against:
    """Opens an index for a run; `fingerprint` names the run, given the segments before it.

    Raises SchemaError when the folder is no index or lacks files, and RecipeError when the recipe has no global step,
    or one that the index holds nothing of.
    """
    index = read_index(folder)
    steps = dedups(plan)
    if not steps:
        raise RecipeError(f"recipe {plan.recipe.name!r} has no step that an index could be of; add a dedup step")
    names = [segment.name for segment in index.segments]
    before = next((k for k in range(len(names)) if names[k] == fingerprint(names[:k])), len(names))
    against = Against(folder, index, fingerprint(names[:before]), before)
    known = {files.step.name: files.step.signed_by for files in index.files}
    for _, label, step in steps:
        if index.segments and step_name(step) not in known:
            told = "; ".join(f"{made['use']} with {made['with']}" for made in known.values())
            raise RecipeError(
                f"{label} makes keys that {folder} has none of, so nothing could be compared. It holds {told}. Use the "
                "same parameters and versions, or another index"
            )
    for files in index.files:
        for path in (files.keys, files.entries):
            if not (folder / path).exists():
                raise SchemaError(f"{folder / path} is missing: the index is incomplete; restore it, or start another")
    return against


def dedups(plan: Plan) -> list[tuple[int, str, Dedup]]:
    """(stage, label, step) of the global steps on rows and parts."""
    return [
        (number, label, step)
        for number, stage in enumerate(plan.stages)
        for label, step in stage.dedups
        if isinstance(step, Dedup)
    ]


def step_name(step: Dedup) -> str:
    """What an index calls a step: its name, and a hash of all that shapes its keys and evidence."""
    return f"{step.name}-{digest(step.signed_by())[:12]}"
