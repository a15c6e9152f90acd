"""An index of earlier data, as a run sees it: what came before the run, and nothing of the run itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.dedup.records import INDEX_UNIT
from pipeline.dedup.task import IndexRun
from pipeline.index.files import check_files
from pipeline.plan import Plan
from pipeline.recipe import digest
from schemas.errors import RecipeError, SluiceError
from schemas.index import Index, read_index
from schemas.manifest import Manifest
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

    @property
    def files(self) -> list[str]:
        """What those segments are now: forgetting rows gives a segment other files."""
        return [files.keys for segment in self.index.segments[: self.before] for files in segment.files]

    def check_replaced(self, manifest: Manifest) -> None:
        """Raises SluiceError when a dataset that the run would replace is in the index: its rows would come again, and
        all go as duplicates of themselves."""
        if manifest.run_fingerprint in self.segments:
            raise SluiceError(
                f"{self.folder} holds what the dataset {manifest.name!r} kept, which this run would replace: the rows "
                "that both have would all be dropped as duplicates of the old ones. Start another index for the new "
                "dataset, or choose another --out for data that the index does not have"
            )

    def check_forgotten(self, manifest: Manifest) -> None:
        """Raises SluiceError when the index lacks what a finished dataset kept, and rows were taken out of that: the
        run would have to be made again, with them."""
        if manifest.forgotten and not self.appended:
            raise SluiceError(
                f"{self.folder} lacks what the dataset {manifest.name!r} kept, and {manifest.forgotten} of its rows "
                "were forgotten, which would come back if the run were made again. Restore the index; or clean the "
                "input, and choose another --out"
            )

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

    Raises SchemaError when the folder is no index or its files are not whole, and RecipeError when the recipe has no
    global step, or one that the index holds nothing of.
    """
    index = read_index(folder)
    steps = dedups(plan)
    if not steps:
        raise RecipeError(f"recipe {plan.recipe.name!r} has no step that an index could be of; add a dedup step")
    names = [segment.name for segment in index.segments]
    before = next((k for k in range(len(names)) if names[k] == fingerprint(names[:k])), len(names))
    against = Against(folder, index, fingerprint(names[:before]), before)
    for segment in index.segments[:before]:
        known = {files.step.name: files.step.signed_by for files in segment.files}
        for _, label, step in steps:
            if step_name(step) not in known:
                told = "; ".join(f"{made['use']} with {made['with']}" for made in known.values())
                raise RecipeError(
                    f"{label} makes keys that {folder} has none of for {segment.dataset}, so nothing could be compared "
                    f"with that. It holds {told}. Use the same parameters and versions, or another index"
                )
    check_files(folder, index)
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
