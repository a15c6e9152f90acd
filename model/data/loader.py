"""Sequences -> the micro-batches of each step, made ahead of training by threads; the order is the reader's alone.

Threads, not processes: decoding, resizing and transforms release the interpreter's lock, and all threads share the
memory-mapped shards and the cache of decoded media.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from model.batch import Batch
from model.config import LoaderConfig
from model.data.collate import collate
from model.data.media import MediaCache
from model.data.shards import Pick, SequenceReader
from schemas.errors import SluiceError


@dataclass(frozen=True)
class MicroBatch:
    """What one forward pass reads: some sequences, the dataset rows they are, how many tokens carry loss."""

    batch: Batch
    rows: tuple[int, ...]
    targets: int

    @property
    def tokens(self) -> int:
        """Tokens read, whether they carry loss or not."""
        return len(self.batch.tokens)


@dataclass(frozen=True)
class _Planned:
    """A step that has been handed to the threads, and where the reader stood after choosing its sequences."""

    micros: list[Future[MicroBatch]] | list[list[Pick]]
    reader: dict[str, Any]


class Loader:
    """An endless iterator over the steps of a run: `accumulate` micro-batches of `sequences`.

    Rank r of n takes every n-th sequence of a micro-batch, so that what a step reads does not depend on the number of
    ranks, and a run may go on with another. The state is that of the steps taken, not of those made ahead.
    """

    def __init__(
        self,
        reader: SequenceReader,
        config: LoaderConfig,
        *,
        sequences: int,
        accumulate: int = 1,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._reader = reader
        self._sequences, self._accumulate, self._rank, self._ranks = sequences, accumulate, rank, ranks
        self._media = MediaCache(config.cache_mib << 20)
        self._threads, self._steps_ahead = config.threads, config.steps_ahead
        self._pool: ThreadPoolExecutor | None = None
        self._planned: deque[_Planned] = deque()
        self._taken = reader.state_dict()

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> list[MicroBatch]:
        """The micro-batches of the next step; raises SluiceError naming the row whose media cannot be read."""
        if self._threads and self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "sluice-loader")
        ahead = 1 + self._steps_ahead if self._pool else 1
        while len(self._planned) < ahead:
            self._planned.append(self._plan())
        step = self._planned.popleft()
        micros = [self._make(m) if isinstance(m, list) else m.result() for m in step.micros]
        self._taken = step.reader
        return micros

    def _plan(self) -> _Planned:
        mine = []
        for _ in range(self._accumulate):
            picks = [self._reader.pick() for _ in range(self._sequences)]
            mine.append(picks[self._rank :: self._ranks])
        made = [self._pool.submit(self._make, picks) for picks in mine] if self._pool else mine
        return _Planned(made, self._reader.state_dict())

    def _make(self, picks: list[Pick]) -> MicroBatch:
        try:
            batch = collate([self._reader.read(pick) for pick in picks], self._media)
        except SluiceError as error:
            raise self._placed(picks, error) from error
        assert batch.targets is not None
        return MicroBatch(batch, tuple(pick.row for pick in picks), int((batch.targets >= 0).sum()))

    def _placed(self, picks: list[Pick], error: SluiceError) -> SluiceError:
        """The error of the first row that cannot be collated by itself, with its place."""
        for pick in picks:
            try:
                collate([self._reader.read(pick)], self._media)
            except SluiceError as own:
                return type(own)(f"{self._reader.place(pick.row)}: {own}")
        return error

    def place(self, row: int) -> str:
        """Where a row of a micro-batch is on disk, and which documents it holds."""
        return self._reader.place(row)

    def state_dict(self) -> dict[str, Any]:
        """Where the reader stood after the last step taken."""
        return self._taken

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on after a saved step; what was made ahead is forgotten."""
        self._reader.load_state_dict(state)
        self._planned.clear()
        self._taken = self._reader.state_dict()

    def close(self) -> None:
        """Ends the threads and forgets what was made ahead; the next step starts them again."""
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        self.load_state_dict(self._taken)
