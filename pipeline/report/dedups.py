"""What the global steps counted: removals by verified matches beside those that clustering alone would make."""

from __future__ import annotations

from typing import Any

#: what a step may have counted (pipeline.dedup.job.run_dedup)
COUNTS = (
    "removed",
    "removed_of_index",
    "removed_by_components",
    "candidate_pairs",
    "verified_pairs",
    "crowded_keys",
    "crowded_members",
    "pairs_skipped",
)


def dedup_counts(run: dict[str, Any] | None) -> list[dict[str, Any]]:
    """One entry a global step that compared keys, in the order they ran: `step` and COUNTS, null where a step has no
    such count. Whatever else a run left there is not shown."""
    told = (run or {}).get("dedup")
    if not isinstance(told, dict):
        return []
    return [
        {"step": str(step)} | {name: _count(counts.get(name)) for name in COUNTS}
        for step, counts in told.items()
        if isinstance(counts, dict)
    ]


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
