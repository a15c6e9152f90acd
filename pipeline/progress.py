"""What a run tells its caller while it works: phases and committed tasks, counted from the files themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil

#: called with (phase, tasks done, tasks in all)
Listener = Callable[[str, int, int], None]


class Watch(AbstractContextManager["Watch"]):
    """Polls a phase's markers while the runner works, whatever process or machine writes them."""

    def __init__(self, listener: Listener | None, phase: str, markers: Sequence[Path]) -> None:
        self._listener = listener
        self._phase = phase
        self._markers = list(markers)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> Watch:
        if self._listener:
            self._listener(self._phase, 0, len(self._markers))
            self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stop.set()
        if self._listener:
            self._thread.join()
            if error[0] is None:
                self._listener(self._phase, len(self._markers), len(self._markers))

    def _poll(self) -> None:
        waiting = self._markers
        while not self._stop.wait(0.3):
            waiting = [marker for marker in waiting if not marker.exists()]
            if self._listener:
                self._listener(self._phase, len(self._markers) - len(waiting), len(self._markers))


class Meter(AbstractContextManager["Meter"]):
    """Wall seconds, CPU seconds and peak memory of this process and its children, sampled twice a second."""

    def __enter__(self) -> Meter:
        self._started = time.perf_counter()
        self._process = psutil.Process()
        self._cpu: dict[int, float] = {}
        self._cpu_before = self._own_cpu()
        self.peak_rss_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        """Wall seconds since the start."""
        return time.perf_counter() - self._started

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of this process since the start and of its children while they lived."""
        return self._own_cpu() - self._cpu_before + sum(self._cpu.values())

    def _own_cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _sample(self) -> None:
        while not self._stop.wait(0.5):
            rss = self._process.memory_info().rss
            for child in self._process.children(recursive=True):
                try:
                    rss += child.memory_info().rss
                    times = child.cpu_times()
                    self._cpu[child.pid] = times.user + times.system
                except psutil.Error:
                    continue
            self.peak_rss_bytes = max(self.peak_rss_bytes, rss)
