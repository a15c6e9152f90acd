"""Leaving: at once, taking the workers along. Everything finished is committed, so there is nothing to wait for."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import psutil
from rich.console import Console
from rich.text import Text

INTERRUPTED = 130


def say(prefix: str, text: str) -> None:
    """One paragraph on standard error; `prefix` may hold rich markup, `text` is taken as it is."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text.from_markup(prefix).append(text))


def leave(code: int) -> NoReturn:
    """Ends the process and its workers now: Beam's threads would otherwise wait for work that is no longer wanted."""
    sys.stdout.flush()
    sys.stderr.flush()
    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.Error:
            continue
    os._exit(code)


def stopped() -> NoReturn:
    """Says that a run was stopped and how to go on, and leaves."""
    say("", "stopped. What was finished is kept: run the same command again to go on from there.")
    leave(INTERRUPTED)


@contextmanager
def leaving_on_interrupt(tidy: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C calls `tidy` (restores the terminal) and leaves, whatever thread of Beam's is at work.

    An exception would not do: Beam catches KeyboardInterrupt, waits for the work under way, and raises it as an error.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        tidy()
        stopped()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
