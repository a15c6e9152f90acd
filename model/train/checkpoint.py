"""Checkpoints: model, optimizer and reader in one folder, made elsewhere and renamed into place, so never half there.

checkpoints/step-000400/   config.json  model.safetensors  tokenizer.json  …  optimizer.safetensors  training.json
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from model.interop import checkpoints, load_model, save_checkpoint_files
from model.net.vlm import VisionLanguageModel
from model.train.optim import Optimizer
from schemas.errors import SluiceError


@dataclass(frozen=True)
class Progress:
    """Where a run stands. `run` identifies configuration and data: a checkpoint continues no other run."""

    step: int
    run: dict[str, Any]
    objective: dict[str, Any]
    guard: dict[str, Any]


def save_checkpoint(
    folder: Path, model: VisionLanguageModel, optimizer: Optimizer, progress: Progress, tokenizer: Path, keep: int
) -> Path:
    """Writes a checkpoint and removes all but the newest `keep`; returns its folder."""
    final = folder / "checkpoints" / f"step-{progress.step:06d}"
    temporary = final.with_name(f".{final.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_checkpoint_files(model, temporary, tokenizer)
    save_file(optimizer.state_tensors(), temporary / "optimizer.safetensors")
    (temporary / "training.json").write_text(json.dumps(asdict(progress), indent=2) + "\n", encoding="utf-8")
    for path in temporary.rglob("*"):
        if path.is_file():
            _sync(path)
    if final.exists():
        shutil.rmtree(final)
    os.replace(temporary, final)
    _sync(final.parent)
    for old in checkpoints(folder)[: -max(keep, 1)]:
        shutil.rmtree(old)
    return final


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def restore_checkpoint(
    path: Path, run: dict[str, Any], prepare: Callable[[VisionLanguageModel], Optimizer]
) -> tuple[VisionLanguageModel, Optimizer, Progress]:
    """Reads a checkpoint back; `prepare(model)` makes a loaded model ready to train and gives its empty optimizer.

    Raises SluiceError when the checkpoint is torn or belongs to another run.
    """
    try:
        progress = Progress(**json.loads((path / "training.json").read_text(encoding="utf-8")))
        tensors = load_file(path / "optimizer.safetensors")
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise SluiceError(
            f"{path} cannot be resumed ({error}); remove it to go on from the checkpoint before"
        ) from error
    differing = [key for key in run if progress.run.get(key) != run[key]]
    if differing:
        raise SluiceError(
            f"{path} belongs to a run with another {' and '.join(differing)}; "
            "give a new output folder, or the configuration and data it was started with"
        )
    model = load_model(path)
    optimizer = prepare(model)
    try:
        optimizer.load_state_tensors(tensors)
    except KeyError as error:
        raise SluiceError(f"{path} holds no {error}; remove it to go on from the checkpoint before") from error
    return model, optimizer, progress
