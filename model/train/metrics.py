"""Where measurements go: metrics.jsonl, TensorBoard event files made from the same lines, a line for people."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any, Protocol

from schemas.errors import SluiceError

#: what differs between two runs of the same configuration
TIMING = ("time", "tokens_per_s", "memory_mib")

#: what an objective measures that is shown beside the loss
_SHOWN = ("reward", "margin", "accuracy")


class Sink(Protocol):
    """Takes measurements; a line is {"step": n, name: number or one number a layer}."""

    def write(self, line: dict[str, Any]) -> None:
        """Takes one line."""

    def close(self) -> None:
        """Nothing more comes."""


class MetricsFile:
    """metrics.jsonl: one line a measurement; a resumed run first drops the lines after its checkpoint.

    `kept` are the lines from before.
    """

    def __init__(self, path: Path, step: int) -> None:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.kept = [line for line in map(_parsed, lines) if line is not None and line["step"] <= step]
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text("".join(f"{json.dumps(line)}\n" for line in self.kept), encoding="utf-8")
        os.replace(temporary, path)
        self._file = path.open("a", encoding="utf-8")

    def write(self, line: dict[str, Any]) -> None:
        """Appends one line."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _parsed(line: str) -> dict[str, Any] | None:
    """A line of metrics.jsonl; None for one that a killed run left half written."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("step"), int) else None


class EventFile:
    """TensorBoard's event file. A run has one: a resumed run writes it anew from the lines it kept, so that no step is
    there twice. Only the record format is used: torch's own writer takes a thread, and names files by the moment."""

    def __init__(self, folder: Path, kept: list[dict[str, Any]]) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError as error:
            raise SluiceError(
                "tensorboard is not installed: pip install 'sluice[model]', or set `tensorboard: false`"
            ) from error

        self._event = Event
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        # the name says when it was begun; TensorBoard wants this form
        self._file = (folder / f"events.out.tfevents.{int(time.time()):010d}.sluice").open("wb")
        self._writer = RecordWriter(self._file)
        self._writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        for line in kept:
            self.write(line)

    def write(self, line: dict[str, Any]) -> None:
        """Appends one event; a list becomes a curve for each place in it."""
        event = self._event(wall_time=line.get("time", time.time()), step=line["step"])
        for name, value in line.items():
            if name in ("step", "time"):
                continue
            values = {f"{name}/{i}": v for i, v in enumerate(value)} if isinstance(value, list) else {name: value}
            for tag, number in values.items():
                event.summary.value.add(tag=tag, simple_value=number)
        self._writer.write(event.SerializeToString())
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def open_sinks(out: Path, step: int, *, tensorboard: bool) -> list[Sink]:
    """The files of a run that goes on after `step`."""
    lines = MetricsFile(out / "metrics.jsonl", step)
    return [lines, EventFile(out / "tensorboard", lines.kept)] if tensorboard else [lines]


def training_line(measured: dict[str, Any]) -> str:
    """A training step for people; columns stay where they are from line to line."""
    more = "".join(f"{name} {measured[name]:6.3f}  " for name in _SHOWN if name in measured)
    return (
        f"step {measured['step']:>6}  loss {measured['loss']:7.4f}  {more}grad {measured['grad_norm']:7.3f}  "
        f"rate {measured['rate']:5.3f}  {measured['tokens_per_s']:>9,.0f} tokens/s"
    )


def held_out_line(step: int, scores: dict[str, float]) -> str:
    """Scores on held-out data for people."""
    said = "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in scores.items())
    return f"step {step:>6}  {said}"
