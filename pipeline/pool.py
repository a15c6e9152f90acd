"""A DoFn that runs its function in a pool of processes: how the in-memory local runner uses more than one core.

Portable runners parallelise by themselves; there the pool has one worker and the function runs in place.
"""

from __future__ import annotations

import concurrent.futures as futures
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import forkserver
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.worker import start_worker
from schemas.errors import SluiceError

#: what workers run; their fork server imports it once for all of them
_PRELOAD = ["pipeline.stage", "pipeline.pack", "pipeline.dedup.resolve", "pipeline.dedup.verify"]

#: pools of this process by size: the phases of a run share one, because starting workers costs seconds of CPU
_pools: dict[int, futures.ProcessPoolExecutor] = {}
#: where workers' standard error goes: decoders in C write to it, whatever Python's warnings say
_worker_log: list[str] = []


@contextmanager
def worker_pools(log: str, workers: int, preload: Sequence[str] = ()) -> Iterator[None]:
    """Pools for the length of a run, their workers' standard error appended to the file `log`. The process's first
    run says what workers have loaded from the start."""
    _worker_log[:] = [log]
    if workers > 1:
        _start_fork_server(preload)
    try:
        yield
    finally:
        _worker_log.clear()
        close_pools()


def shared_pool(workers: int) -> futures.ProcessPoolExecutor:
    """The process's pool of `workers`, started when it is first asked for."""
    if workers not in _pools:
        # Beam runs threads, so a child forked from here could inherit a held lock: fork from a server without any
        context = multiprocessing.get_context("forkserver")
        begin = partial(start_worker, *_worker_log)
        _pools[workers] = futures.ProcessPoolExecutor(workers, context, initializer=begin)
    return _pools[workers]


def _start_fork_server(preload: Sequence[str]) -> None:
    """Starts the server workers are forked from, deaf to Ctrl-C from its first instruction: a terminal sends it to
    every process, and one that is still importing would answer with a traceback."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([*_PRELOAD, *preload])
    if threading.current_thread() is not threading.main_thread():
        forkserver.ensure_running()
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


def close_pools() -> None:
    """Ends the workers; what they were doing is not waited for."""
    while _pools:
        _pools.popitem()[1].shutdown(wait=False, cancel_futures=True)


class PooledMap(beam.DoFn):
    """`function(element)` for every element, in `workers` processes when there is more than one.

    At most 2 x `workers` elements are under way; results are yielded as they finish and at the end of the bundle, so
    their order is not the elements'. A worker that dies (a crash in native code, out of memory) fails the run with
    the element named; what was committed stays, and a rerun goes on from there.
    """

    def __init__(self, function: Callable[[Any], Any], workers: int) -> None:
        self._function = function
        self._workers = workers

    def start_bundle(self) -> None:
        self._pending: dict[futures.Future[Any], Any] = {}

    def process(self, element: Any) -> Iterator[Any]:
        if self._workers <= 1:
            yield self._function(element)
            return
        if len(self._pending) >= 2 * self._workers:
            done, _ = futures.wait(self._pending, return_when=futures.FIRST_COMPLETED)
            yield from self._results(done)
        self._pending[shared_pool(self._workers).submit(self._function, element)] = element

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for result in self._results(futures.as_completed(list(self._pending))):
            yield WindowedValue(result, MIN_TIMESTAMP, (GlobalWindow(),))

    def _results(self, done: Any) -> Iterator[Any]:
        for future in done:
            element = self._pending.pop(future)
            try:
                yield future.result()
            except BrokenProcessPool as error:
                close_pools()
                under_way = "; ".join(_named(e) for e in [element, *self._pending.values()])
                raise SluiceError(
                    f"a worker process died; native code crashed, or memory ran out. Under way were: {under_way}. "
                    "Finished units are kept: run the same command again, with fewer --workers if memory is short"
                ) from error


def _named(element: Any) -> str:
    """A task in a person's words; a chunk by its first."""
    first = element[0] if isinstance(element, list) and element else element
    return f"{first!s:.200}"
