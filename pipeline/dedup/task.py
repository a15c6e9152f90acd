"""What the workers of one global step are told."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.plan import StageKey
from transforms.dedup.base import Dedup
from transforms.dedup.spans import SpanDedup


@dataclass(frozen=True, slots=True)
class DedupTask:
    """One global step over all units. `keys`, `kept` and `drops_before` are file paths by unit number;
    `drops_after` where each unit's drops go (those of earlier steps of the stage included)."""

    key: StageKey
    label: str
    keys: dict[int, str]
    kept: dict[int, str]
    drops_before: dict[int, str | None]
    drops_after: dict[int, str]

    def step(self) -> Dedup:
        """The transform, set up."""
        found = self.key.ready_dedup(self.label)
        assert isinstance(found, Dedup), self.label
        return found

    def span_step(self) -> SpanDedup | None:
        """The transform, set up, when it is one that removes spans."""
        found = self.key.ready_dedup(self.label)
        return found if isinstance(found, SpanDedup) else None
