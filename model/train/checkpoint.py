"""Checkpoints: written while training goes on, elsewhere, and renamed into place, so that none is ever half there.

checkpoints/step-000400/   what opens as a model   training/

training/ holds what only a resumed run needs: shards of the state (model.train.storage) and training.json, which says
whose they are and lists them. It can be resumed by any number of ranks.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from model.interop import checkpoints
from model.interop.runs import PROGRESS, TRAINING
from model.train.ranks import Ranks
from model.train.storage import ENDING, finish_writing, read_shards, write_shards
from schemas.errors import SluiceError


@dataclass(frozen=True)
class Progress:
    """Where a run stands, as JSON. `run` identifies configuration and data: a checkpoint continues no other run."""

    step: int
    run: dict[str, Any]
    objective: dict[str, Any]
    guard: dict[str, Any]


class Checkpointer:
    """Writes a run's checkpoints, one at a time, and keeps the newest `keep` of them. Used alike by every rank."""

    def __init__(self, folder: Path, ranks: Ranks, keep: int) -> None:
        self._folder, self._ranks, self._keep = folder, ranks, max(keep, 1)
        self._finisher = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None
        self._step = 0

    def save(self, state: Mapping[str, Tensor], progress: Progress, write_model: Callable[[Path], None]) -> None:
        """Copies the state to memory and returns; the rest is done meanwhile, and `wait` tells how it went.

        `write_model(folder)` is called once, on rank 0, when the shards are in folder/training: what it writes beside
        them is part of the checkpoint. It runs while training does, so it may look at nothing that training changes.
        Waits for the checkpoint before, and raises what `wait` does.
        """
        self.wait()
        self._step = progress.step
        final = self._folder / "checkpoints" / f"step-{progress.step:06d}"
        temporary = final.with_name(f".{final.name}.tmp")
        # a folder with its name is whole, and a run has one state at a step
        if not self._ranks.on_first(lambda: _prepare(final, temporary)):
            return
        writing = write_shards(temporary / TRAINING, state, self._ranks)

        def finish() -> None:
            finish_writing(writing)
            if self._ranks.is_first:
                _write_progress(temporary / TRAINING, progress)
                write_model(temporary)
                _commit(temporary, final)
                for old in checkpoints(self._folder)[: -self._keep]:
                    # out of sight first: a folder with its name is whole, even when this is killed half way
                    hidden = old.with_name(f".{old.name}.tmp")
                    os.replace(old, hidden)
                    _remove(hidden)

        self._pending = self._finisher.submit(finish)

    def wait(self) -> None:
        """Waits for the checkpoint under way; raises SluiceError when it could not be written."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            self._ranks.together(pending.result)
        except OSError as error:
            raise SluiceError(
                f"the checkpoint of step {self._step} could not be written to {self._folder}: {error}; "
                "those before it are whole"
            ) from error


def _prepare(final: Path, temporary: Path) -> bool:
    if final.exists():
        return False
    # what a killed run left half done, of this step or another
    for left in final.parent.glob(".step-*.tmp"):
        _remove(left)
    (temporary / TRAINING).mkdir(parents=True)
    return True


def _remove(path: Path) -> None:
    """Removes a folder; of a link to one (a checkpoint that somebody moved to another disk), the link alone."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)


def _write_progress(folder: Path, progress: Progress) -> None:
    shards = {path.name: path.stat().st_size for path in sorted(folder.glob(f"*{ENDING}"))}
    text = json.dumps(asdict(progress) | {"shards": shards}, indent=2, ensure_ascii=False)
    (folder / PROGRESS).write_text(text + "\n", encoding="utf-8")


def _commit(temporary: Path, final: Path) -> None:
    """Renames a finished folder into place once all of it is on the disk."""
    for path in [*temporary.rglob("*"), temporary]:
        _sync(path)
    os.replace(temporary, final)
    _sync(final.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_progress(checkpoint: Path, run: dict[str, Any]) -> Progress:
    """Where the run that wrote `checkpoint` stood.

    Raises SluiceError when the checkpoint is torn, or belongs to another run than `run`.
    """
    folder = checkpoint / TRAINING
    try:
        raw = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        shards = {str(name): int(size) for name, size in raw.pop("shards").items()}
        progress = Progress(**raw)
        if type(progress.step) is not int or not all(
            isinstance(part, dict) for part in (progress.run, progress.objective, progress.guard)
        ):
            raise ValueError("it does not have the form of one")
        there = {path.name: path.stat().st_size for path in folder.glob(f"*{ENDING}")}
        wrong = sorted(name for name in shards.keys() | there.keys() if shards.get(name) != there.get(name))
        if wrong:
            raise ValueError(f"{wrong[0]} is {there.get(wrong[0], 0)} bytes, not {shards.get(wrong[0], 0)}")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SluiceError(
            f"{checkpoint} cannot be resumed ({error}); remove it to go on from the checkpoint before"
        ) from error
    differing = [key for key in run if progress.run.get(key) != run[key]]
    if differing:
        raise SluiceError(
            f"{checkpoint} belongs to a run with another {' and '.join(differing)}; "
            "give a new output folder, or the configuration and data it was started with"
        )
    return progress


def read_state(checkpoint: Path, state: Mapping[str, Tensor], ranks: Ranks) -> None:
    """Fills the tensors of a run, plain or DTensors, with what `checkpoint` holds; every rank calls it.

    Raises SluiceError when a shard is torn, or does not hold what is asked for.
    """
    read_shards(checkpoint / TRAINING, state, ranks)
