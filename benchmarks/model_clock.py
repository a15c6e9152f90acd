"""How the model's benchmark times: both sides in turn, so that a busy machine disturbs them alike."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True)
class Times:
    """Medians of one run, in seconds: of the process's CPU time (of the device, on a GPU), and of the wall clock."""

    cpu_s: float
    wall_s: float


def interleaved(sides: Mapping[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, Times]:
    """Runs every side once unmeasured, then all in turn `repeats` times; a peer that a GPU's memory is too small for is
    left out, and said to be."""
    fitting = {name: side for name, side in sides.items() if _fits(name, side)}
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in fitting}
    for _ in range(repeats):
        for name, side in fitting.items():
            _wait(device)
            cpu, wall = time.process_time(), time.perf_counter()
            side()
            _wait(device)
            seen[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    found = {}
    for name, runs in seen.items():
        walls = median(wall for _, wall in runs)
        found[name] = Times(walls if device.type == "cuda" else median(cpu for cpu, _ in runs), walls)
    return found


def _fits(name: str, side: Callable[[], object]) -> bool:
    try:
        side()
    except torch.OutOfMemoryError:
        if name == "ours":
            raise
        print(f"{name} does not fit the memory", file=sys.stderr)
        torch.cuda.empty_cache()
        return False
    return True


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
