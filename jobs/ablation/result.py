"""The outcome of an experiment as plain data: what ablate.json holds, and the table and the page show."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from jobs.ablation.training import Budget, Trained


def result(
    trained: Sequence[Trained], budget: Budget, seeds: Sequence[int], facts: dict[str, Any], more: dict[str, Any]
) -> dict[str, Any]:
    """Arms with their losses, and comparisons: every recipe against raw, where there is raw, and against the first."""
    from model.eval.arms import gather

    losses = {arm.data.arm.name: gather(arm.losses) for arm in trained}
    first = trained[0].data.arm.name
    raws = [arm.data.arm.name for arm in trained if arm.data.arm.is_raw]
    comparisons = []
    for against in [*raws, first]:
        for arm in trained:
            name = arm.data.arm.name
            if name != against and not (arm.data.arm.is_raw and against == first):
                comparisons.append(_comparison(arm, against, losses))
    found = {
        "version": 1,
        "seeds": list(seeds),
        "budget_tokens": budget.tokens,
        "held_out": facts | {"scored_tokens": int(losses[first].tokens.sum()), "scored_bytes": losses[first].bytes},
        "arms": [_arm(arm, budget, losses) for arm in trained],
        "comparisons": comparisons,
    }
    return found | more


def _arm(arm: Trained, budget: Budget, losses: dict[str, Any]) -> dict[str, Any]:
    from model.eval.compare import spread

    data = arm.data
    found = losses[data.arm.name]
    counts = data.manifest.counts
    told = spread(found.nats, found.tokens)
    return {
        "name": data.arm.name,
        "leaves_out": data.arm.leaves_out,
        "same_data_as": arm.same_as,
        "rows_in": counts.rows_in,
        "rows_kept": counts.rows_kept,
        "excluded_as_held_out": data.excluded,
        "dataset_tokens": counts.tokens,
        "steps": budget.steps(data),
        "trained_tokens": budget.trained(data),
        "train_loss_by_seed": [summary["train_loss"] for summary in arm.summaries],
        "epochs": budget.epochs(data),
        "loss": told.mean,
        "loss_by_seed": list(told.by_seed),
        "loss_deviation": told.deviation,
        "bits_per_byte": told.mean * float(found.tokens.sum()) / math.log(2) / found.bytes if found.bytes else None,
    }


def _comparison(arm: Trained, against: str, losses: dict[str, Any]) -> dict[str, Any]:
    from model.eval.arms import compare

    name = arm.data.arm.name
    groups = []
    for group in compare(losses[name], losses[against]):
        plain = dataclasses.asdict(group)
        told = plain.pop("difference")
        groups.append(plain | told | {"is_told": group.difference.is_told})
    return {"arm": name, "against": against, "leaves_out": arm.data.arm.leaves_out, "groups": groups}


def verdict(group: dict[str, Any]) -> str:
    """What a difference says, in words: a difference is told only when both intervals exclude 0."""
    if not group["is_told"]:
        return "not told apart"
    return "better" if group["mean"] < 0 else "worse"
