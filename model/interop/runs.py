"""The folder of a training run: OUT/checkpoints/step-NNNNNN."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from model.interop.checkpoint import CONFIG
from schemas.errors import SluiceError

#: what stands in for it in a checkpoint that holds adapters of another model (model.adapt.adapter_files)
ADAPTER = "adapter_config.json"
#: what a checkpoint of `sluice train` says of its run; model.train.checkpoint writes it
TRAINING, PROGRESS = "training", "training.json"
_STEP = re.compile(r"step-(\d{6,})")


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints of a run folder, oldest first."""
    found = [p for p in folder.glob("checkpoints/step-*") if _STEP.fullmatch(p.name)]
    return sorted(found, key=lambda p: int(p.name.removeprefix("step-")))


def newest_checkpoint(folder: Path) -> Path:
    """A checkpoint folder as given, or the newest one of a run folder; raises SluiceError when there is none."""
    if (folder / CONFIG).exists() or (folder / ADAPTER).exists():
        return folder
    found = checkpoints(folder)
    if not found:
        raise SluiceError(f"{folder} holds no checkpoint; give a folder that `sluice train` wrote")
    return found[-1]


def read_run(checkpoint: Path) -> dict[str, Any] | None:
    """What a checkpoint's run is: `configuration` and `data`; None for a checkpoint that does not say.

    Raises SluiceError when that is torn.
    """
    path = checkpoint / TRAINING / PROGRESS
    if not path.exists():
        return None
    try:
        run = json.loads(path.read_text(encoding="utf-8"))["run"]
        if not (isinstance(run["configuration"], dict) and isinstance(run["data"], str)):
            raise ValueError("it has another form")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SluiceError(f"{path} does not say what the checkpoint was trained on ({error!r})") from error
    return dict(run)
