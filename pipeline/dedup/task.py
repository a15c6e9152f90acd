"""What the workers of one global step are told."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.plan import ready_plan
from transforms.dedup.base import Dedup


@dataclass(frozen=True, slots=True)
class DedupTask:
    """One global step over all units. `keys`, `kept` and `drops_before` are file paths by unit number;
    `drops_after` where each unit's drops go (those of earlier steps of the stage included)."""

    recipe_json: str
    tokenizer: str
    stage: int
    label: str
    keys: dict[int, str]
    kept: dict[int, str]
    drops_before: dict[int, str | None]
    drops_after: dict[int, str]

    def step(self) -> Dedup:
        """The transform, set up."""
        plan = ready_plan(self.recipe_json, self.tokenizer)
        return next(dedup for label, dedup in plan.stages[self.stage].dedups if label == self.label)
