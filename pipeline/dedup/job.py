"""The global step on rows and parts: keys ─► sorted runs ─► candidate pairs ─► verified pairs ─► removals ─► drops.

Each arrow is a shuffle through files (pipeline.dedup.shuffle); each phase is one function over pieces of work, which
Beam spreads. Memory is bounded by task.Sizes, whatever the data; the result depends neither on them, nor on workers.
"""

from __future__ import annotations

from typing import Any

from pipeline.dedup.candidates import FindCandidates
from pipeline.dedup.drops import WriteDrops
from pipeline.dedup.resolve import REMOVED, ResolveAtOnce, resolution, resolve_apart
from pipeline.dedup.shuffle import read_reports
from pipeline.dedup.sort import SortKeys
from pipeline.dedup.task import Chain, DedupTask, total
from pipeline.dedup.verify import VerifyPairs


def run_dedup(task: DedupTask, chain: Chain) -> dict[str, Any]:
    """Runs the step, leaving every unit's drops; returns what it counted.

    `keys`, `candidate_pairs`, `verified_pairs` (steps that verify), `removed`, `removed_of_index` (for a match with
    earlier data); of steps with LSH also `removed_by_components`, which is what connected components of the unverified
    candidates would remove, and the cost of crowded keys: `crowded_keys`, `crowded_members`, `pairs_skipped`.
    """
    step = task.step()
    found: dict[str, Any] = {}
    if step.proof:
        chain([SortKeys(task), FindCandidates(task), WriteDrops(task, "pairs-*.arrow")])
    else:
        chain([SortKeys(task), FindCandidates(task), VerifyPairs(task), ResolveAtOnce(task)])
        resolved = resolution(task) or resolve_apart(task, chain)
        chain([WriteDrops(task, REMOVED)])
        pairs, checked = (read_reports(task.files(f"{name}-*.arrow")) for name in ("pairs", "verified"))
        found["candidate_pairs"] = total(checked, "candidate_pairs")
        if step.min_similarity is not None:
            found["verified_pairs"] = total(checked, "pairs")
        found |= {name: total(pairs, name) for name in ("crowded_keys", "crowded_members", "pairs_skipped")}
        found |= {"removed_by_components": resolved["by_components"], "rounds": resolved["rounds"]}
    written = read_reports(task.files("drops-*.json"))
    keys = total(read_reports(task.files("sorted-*.arrow")), "keys")
    removed = {"removed": total(written, "removed"), "removed_of_index": total(written, "of_index")}
    return {"keys": keys} | found | removed
