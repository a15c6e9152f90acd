"""A run's progress: bars on a terminal, plain lines when piped."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class RunProgress(AbstractContextManager["RunProgress"]):
    """A listener for pipeline.curate: one bar a phase, or one line a phase and every ten seconds."""

    def __init__(self, console: Console, opening: str | None = None) -> None:
        self._console = console
        self._opening = opening  # said before the first phase, so never before an error in the recipe
        self._bars: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}
        self._last = ""
        self._progress: Progress | None = None
        if console.is_terminal:
            columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._progress = Progress(*columns, console=console)

    def __enter__(self) -> RunProgress:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.stop()

    def stop(self) -> None:
        """Takes the bars down and gives the terminal its cursor back."""
        if self._progress:
            self._progress.stop()

    def __call__(self, phase: str, done: int, total: int) -> None:
        if self._opening:
            self._console.print(self._opening, soft_wrap=True)
            self._opening = None
        if self._progress:
            if phase not in self._bars:
                self._bars[phase] = self._progress.add_task(phase, total=total or 1)
            self._progress.update(self._bars[phase], completed=done if total else 1, total=total or 1)
            return
        now = time.monotonic()
        line = f"{phase}: {done}/{total}"
        if total and line != self._last and (done == total or now - self._said.get(phase, -10.0) >= 10):
            self._said[phase], self._last = now, line
            self._console.print(line, soft_wrap=True)
