"""Runs functions over tasks, and global steps, as Beam jobs. Results travel through committed files, not through the
runner, so every runner gives the same ones and a crash loses only what was under way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.runners.runner import PipelineState

import pipeline.coders  # noqa: F401  registers the record batch coder wherever a graph is built
from pipeline.dedup.job import run_dedup
from pipeline.dedup.spans import span_graph
from pipeline.dedup.task import DedupTask, Phase
from pipeline.pool import PooledMap
from pipeline.runners import is_local, pipeline_arguments
from pipeline.worker import Each
from schemas.errors import SluiceError

#: elements of a job at most: an element costs the local runner milliseconds and kilobytes, so that with very many
#: units each element holds several
MAX_ELEMENTS = 4096


@dataclass(frozen=True)
class Launcher:
    """How jobs run: the runner, its flags, and the processes a local run uses."""

    runner: str = "direct"
    workers: int = 1
    flags: list[str] = field(default_factory=list)

    @property
    def pool(self) -> int:
        """Processes inside the DoFn: `workers` on the local runner, one where the runner parallelises itself."""
        return self.workers if is_local(self.runner) else 1

    def map(self, name: str, function: Callable[[Any], Any], tasks: Sequence[Any]) -> None:
        """Calls `function` on every task."""
        if not tasks:
            return

        size = -(-len(tasks) // MAX_ELEMENTS)
        chunks = [list(tasks[at : at + size]) for at in range(0, len(tasks), size)]

        def build(root: beam.Pipeline) -> None:
            spread = root | "Tasks" >> beam.Create(chunks) | "Spread" >> beam.Reshuffle()
            # even one task: workers have the kernels loaded that this process has not
            _ = spread | name >> beam.ParDo(PooledMap(Each(function), self.pool)) | "Done" >> beam.Map(_nothing)

        self._run(build)

    def dedup(self, task: DedupTask) -> dict[str, Any]:
        """Runs one global step; returns what it counted."""
        if (step := task.span_step()) is not None:
            self._run(lambda root: span_graph(root, task, step.max_rows))
            return {}
        return run_dedup(task, self.chain)

    def chain(self, phases: Sequence[Phase]) -> None:
        """Runs phases one after the other, in one job: a phase is planned when the one before it is done."""

        def build(root: beam.Pipeline) -> None:
            done: Any = None
            for number, phase in enumerate(phases):
                name = f"{number}{type(phase).__name__}"
                start = root | f"Start{name}" >> beam.Create([None])
                before = beam.pvalue.AsIter(start if done is None else done)
                work = start | f"Plan{name}" >> beam.FlatMap(_planned, phase, before)
                spread = work | f"Spread{name}" >> beam.Reshuffle()
                done = spread | name >> beam.ParDo(PooledMap(phase, self.pool)) | f"Done{name}" >> beam.Map(_nothing)

        self._run(build)

    def _run(self, build: Callable[[beam.Pipeline], Any]) -> None:
        runner, options = pipeline_arguments(self.runner, self.flags)
        pipeline_ = beam.Pipeline(runner=runner, options=options)
        build(pipeline_)
        try:
            result = pipeline_.run()
            state = result.wait_until_finish()
        except Exception as error:
            raise _ours(error) from error
        if state not in (None, PipelineState.DONE):
            raise SluiceError(f"the {self.runner} runner ended the job in state {state}; its log says why")


def _planned(_: None, phase: Phase, before: Any) -> list[Any]:
    """The work of a phase. `before`, what the phase before it gave, is there to be waited for."""
    return phase.plan()


def _nothing(_: Any) -> None:
    """Results are in files; the runner need not carry them."""


def _ours(error: BaseException) -> BaseException:
    """The SluiceError inside a chain of Beam errors, or the error itself."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, SluiceError):
            return SluiceError(str(seen).split(" [while running")[0])
        seen = seen.__cause__ or seen.__context__
    return error
