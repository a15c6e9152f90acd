"""Runs one command and writes what it and all its descendants cost: python -m benchmarks.measure RESULT.json COMMAND…

CPU time comes from the kernel's accounting of waited-for processes. Frameworks leave helpers behind (fork servers,
resource trackers) that nobody waits for, so this process makes itself the one that orphans fall to, and waits for
them too: no descendant's time is lost. Linux only for orphans; elsewhere they are missed.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

_PR_SET_CHILD_SUBREAPER = 36
SAMPLE_EVERY_S = 0.2
STRAGGLERS_S = 20.0


class PeakMemory(threading.Thread):
    """Samples the resident memory of all descendants: the largest sum seen, and the largest of the command's own
    process and of any other.

    Pages that processes share count in each of them.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = self.peak_main_bytes = self.peak_worker_bytes = 0
        self.main_pid = 0
        self.stop = threading.Event()

    def run(self) -> None:
        me = psutil.Process()
        while not self.stop.wait(SAMPLE_EVERY_S):
            total = 0
            for process in me.children(recursive=True):
                try:
                    held = process.memory_info().rss
                except psutil.Error:
                    continue
                total += held
                if process.pid == self.main_pid:
                    self.peak_main_bytes = max(self.peak_main_bytes, held)
                else:
                    self.peak_worker_bytes = max(self.peak_worker_bytes, held)
            self.peak_bytes = max(self.peak_bytes, total)


def measure(command: list[str]) -> dict[str, float | int]:
    """Runs `command` to its end; returns {exit_code, wall_s, cpu_s, peak_rss_bytes}, its descendants included, and
    {main_rss_bytes, worker_rss_bytes}, the peaks of its own process and of the largest other."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    memory = PeakMemory()
    memory.start()
    began = time.perf_counter()
    main = subprocess.Popen(command)
    memory.main_pid = main.pid
    cpu_s, exit_code, wall_s = 0.0, None, 0.0
    while exit_code is None:
        pid, status, usage = os.wait4(-1, 0)
        cpu_s += usage.ru_utime + usage.ru_stime
        if pid == main.pid:
            exit_code, wall_s = os.waitstatus_to_exitcode(status), time.perf_counter() - began
            main.returncode = exit_code
    cpu_s += _stragglers()
    memory.stop.set()
    memory.join()
    return {
        "exit_code": exit_code,
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "peak_rss_bytes": memory.peak_bytes,
        "main_rss_bytes": memory.peak_main_bytes,
        "worker_rss_bytes": memory.peak_worker_bytes,
    }


def _stragglers() -> float:
    """CPU seconds of the descendants that outlived the command; those that do not end by themselves are killed."""
    cpu_s = 0.0
    deadline = time.monotonic() + STRAGGLERS_S
    while True:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return cpu_s
        if pid:
            cpu_s += usage.ru_utime + usage.ru_stime
            continue
        if time.monotonic() > deadline:
            for process in psutil.Process().children(recursive=True):
                process.kill()
        time.sleep(0.05)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(measure(sys.argv[2:])))
