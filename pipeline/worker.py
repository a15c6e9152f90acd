"""What a pool's worker does first, and what it is given to do. Apart from Beam, which workers never import."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any


def start_worker(log: str | None = None) -> None:
    """Leaves Ctrl-C to the parent, and ends the worker when its parent is gone (kill -9 leaves no orphans)."""
    if log is not None:
        target = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        os.dup2(target, 2)
        os.close(target)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Each:
    """Calls a function on every task of a chunk; picklable, and a chunk is known by its tasks."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __call__(self, tasks: list[Any]) -> None:
        for task in tasks:
            self._function(task)
