"""What the workers of one global step are told, and how they share the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pipeline.plan import StageKey
from transforms.dedup.base import Dedup
from transforms.dedup.spans import SpanDedup


class Phase(Protocol):
    """One pass of a step. `plan` lists the work once the passes before it are done; workers are called with each."""

    def plan(self) -> list[Any]: ...

    def __call__(self, work: Any, /) -> None: ...


#: runs phases one after the other
Chain = Callable[[Sequence[Phase]], None]


@dataclass(frozen=True, slots=True)
class Sizes:
    """What one worker takes at most; they bound its memory and never shape the result.

    run_keys: keys sorted together, about 100 bytes each · partition_keys: keys matched together, about 100 bytes each ·
    verify_pairs: candidate pairs made distinct and verified together, about 150 bytes each · graph_edges: pairs
    resolved together, about 150 bytes each · fewest: smaller pieces of work are not worth handing out.
    """

    run_keys: int = 4_000_000
    partition_keys: int = 2_000_000
    verify_pairs: int = 1_000_000
    graph_edges: int = 4_000_000
    fewest: int = 50_000


class IndexRun(NamedTuple):
    """Some entries of an index (pipeline.index): their keys, sorted by `lo`, and what is known of each."""

    unit: int
    keys: str
    entries: str


@dataclass(frozen=True, slots=True)
class DedupTask:
    """One global step over all units. `keys`, `kept` and `drops_before` are file paths by unit number, `counts` how
    many keys a unit has; `drops_after` where each unit's drops go (those of earlier steps of the stage included);
    `scratch` is a folder for what the phases hand on; `index` is what earlier data is compared with."""

    key: StageKey
    label: str
    keys: dict[int, str]
    counts: dict[int, int]
    kept: dict[int, str]
    drops_before: dict[int, str | None]
    drops_after: dict[int, str]
    scratch: str
    workers: int
    index: tuple[IndexRun, ...] = ()
    sizes: Sizes = field(default_factory=Sizes)

    def step(self) -> Dedup:
        """The transform, set up."""
        found = self.key.ready_dedup(self.label)
        assert isinstance(found, Dedup), self.label
        return found

    def span_step(self) -> SpanDedup | None:
        """The transform, set up, when it is one that removes spans."""
        found = self.key.ready_dedup(self.label)
        return found if isinstance(found, SpanDedup) else None

    @property
    def paths(self) -> dict[int, str]:
        """Where rows and entries are, by unit number."""
        return self.kept | {run.unit: run.entries for run in self.index}

    @property
    def partitions(self) -> int:
        """Into how many ranges of hashes the keys are cut."""
        return self.pieces(sum(self.counts.values()), self.sizes.partition_keys)

    def share(self, total: int, most: int) -> int:
        """How much of `total` one piece of work takes: at most `most`, and little enough for all workers."""
        return max(1, min(most, max(-(-total // (2 * self.workers)), self.sizes.fewest)))

    def pieces(self, total: int, most: int) -> int:
        """Into how many pieces of work `total` is cut."""
        return max(1, -(-total // self.share(total, most)))

    def file(self, name: str) -> Path:
        """A file in the scratch folder. Its name holds how the work was shared out: a run that is taken up again with
        another number of workers does not mix with what the first left."""
        return Path(self.scratch) / f"{self.workers}x{self.partitions}-{name}"

    def files(self, pattern: str) -> list[Path]:
        """The files in the scratch folder that phases before have left, in the order of their names."""
        return sorted(Path(self.scratch).glob(f"{self.workers}x{self.partitions}-{pattern}"))


def neighbours(counts: dict[int, int], most: int) -> list[list[int]]:
    """Numbers in ascending order, in groups whose counts add up to `most` at most; a larger one stands alone."""
    groups: list[list[int]] = []
    held = 0
    for number in sorted(counts):
        if not groups or held + counts[number] > most:
            groups.append([])
            held = 0
        groups[-1].append(number)
        held += counts[number]
    return groups


def total(values: Iterable[dict[str, Any]], name: str) -> int:
    """The sum of one count over what several pieces of work reported."""
    return int(sum(value[name] for value in values))
