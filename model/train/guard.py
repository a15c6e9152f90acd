"""Stops a run that has gone wrong, before the step that would spoil its weights, and says what was seen."""

from __future__ import annotations

import json
import math
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from model.config import GuardConfig
from model.train.freeze import part_of
from schemas.errors import SluiceError

REPORT_NAME = "stopped.json"
#: a loss that hardly moves has no deviation to speak of; below this share of the mean nothing is a spike
_LEAST_DEVIATION = 0.01
_LISTED = 20


@dataclass(frozen=True)
class StopReport:
    """Why a run stopped at `step`, the step that was not applied."""

    step: int
    reason: str
    loss: float
    grad_norm: float
    #: losses of the steps before, oldest first
    last_losses: tuple[float, ...]
    #: part of the model -> parameters whose gradient was not finite
    not_finite: dict[str, tuple[str, ...]]
    #: what the step read
    rows: tuple[str, ...]
    advice: str


class RunStopped(SluiceError):
    """A run that stopped by itself; `report` says why."""

    def __init__(self, report: StopReport, path: Path) -> None:
        self.report = report
        lines = [f"the run stopped at step {report.step}, which was not applied: {report.reason}"]
        lines += [f"gradients not finite in {part}: {', '.join(names)}" for part, names in report.not_finite.items()]
        lines += [f"it had read {row}" for row in report.rows[:3]]
        lines += [report.advice, f"the whole report is {path}"]
        super().__init__("\n".join(lines))


class Guard:
    """Watches losses and gradients. Its verdict depends on the losses it was shown alone, and its state is saved with
    the run, so that a resumed run stops where an undisturbed one does."""

    def __init__(self, config: GuardConfig) -> None:
        self._config = config
        self._losses: deque[float] = deque(maxlen=max(config.window_steps, 2))
        self._spikes = 0

    def verdict(self, loss: float, grad_norm: float) -> str | None:
        """Takes note of a step's loss; returns why the step must not be applied, or None."""
        if not math.isfinite(loss):
            return f"its loss is {loss}"
        if not math.isfinite(grad_norm):
            return f"its loss is {loss:.4f}, but its gradient is not finite"
        if self._is_spike(loss):
            self._spikes += 1
            if self._spikes >= self._config.patience:
                return (
                    f"its loss is {loss:.4f}, the {self._spikes}. in a row more than {self._config.spike_deviations:g} "
                    f"deviations above the mean of {fmean(self._losses):.4f}"
                )
            return None
        # a spike is not part of what is normal
        self._spikes = 0
        self._losses.append(loss)
        return None

    @property
    def spiking(self) -> bool:
        """Whether the step last shown was a spike that is let pass."""
        return self._spikes > 0

    def _is_spike(self, loss: float) -> bool:
        if not self._config.spike_deviations or len(self._losses) < self._config.window_steps:
            return False
        mean = fmean(self._losses)
        deviation = max(pstdev(self._losses), _LEAST_DEVIATION * abs(mean))
        return loss > mean + self._config.spike_deviations * deviation

    @property
    def last_losses(self) -> tuple[float, ...]:
        """The newest losses that were no spikes, oldest first."""
        return tuple(self._losses)[-_LISTED:]

    def state_dict(self) -> dict[str, Any]:
        """What the next verdict depends on, as JSON."""
        return {"losses": list(self._losses), "spikes": self._spikes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a saved state; raises SluiceError when it is none."""
        losses, spikes = state.get("losses"), state.get("spikes")
        if not isinstance(losses, list) or {type(loss) for loss in losses} - {float} or type(spikes) is not int:
            raise SluiceError(
                "the checkpoint does not say what its last losses were; remove it to go on from the checkpoint before"
            )
        self._losses.clear()
        self._losses.extend(losses)
        self._spikes = spikes


def stop(
    out: Path,
    *,
    step: int,
    reason: str,
    loss: float,
    grad_norm: float,
    last_losses: Sequence[float],
    not_finite: Sequence[str],
    rows: Sequence[str],
    writes: bool = True,
) -> RunStopped:
    """Writes OUT/stopped.json, unless another rank `writes` it; returns the error to raise."""
    by_part: dict[str, list[str]] = {}
    for name in not_finite:
        by_part.setdefault(part_of(name), []).append(name)
    report = StopReport(
        step=step,
        reason=reason,
        loss=loss,
        grad_norm=grad_norm,
        last_losses=tuple(last_losses),
        not_finite={part: tuple(names) for part, names in by_part.items()},
        rows=tuple(rows),
        advice=(
            "the same command would stop here again: look at those rows, or start a new run with `init:` set to the "
            "last checkpoint, a lower learning rate, a smaller max_grad_norm or another seed"
        ),
    )
    path = out / REPORT_NAME
    if not writes:
        return RunStopped(report, path)
    temporary = path.with_name(f".{path.name}.tmp")
    # an infinity is not JSON: numbers that are not finite are written as words
    plain = {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(report).items()}
    temporary.write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return RunStopped(report, path)
