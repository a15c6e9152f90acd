"""The folder of a training run: OUT/checkpoints/step-NNNNNN."""

from __future__ import annotations

import re
from pathlib import Path

from model.interop.checkpoint import CONFIG
from schemas.errors import SluiceError

#: what stands in for it in a checkpoint that holds adapters of another model (model.adapt.adapter_files)
ADAPTER = "adapter_config.json"
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
