"""One step's forward and backward passes: micro-batches whose losses and gradients add up to the mean over the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.net.vlm import VisionLanguageModel
from model.train.gradients import Gradients
from model.train.objective import Objective, device_of
from model.train.ranks import Ranks


@dataclass(frozen=True)
class StepTotals:
    """Over all micro-batches of all ranks: the objective's measures, tokens read, and `load` [moe layers, experts],
    each expert's share of its layer's assignments (None when there are no experts)."""

    measures: dict[str, float]
    tokens: int
    load: Tensor | None

    def balance_of_experts(self) -> dict[str, Any]:
        """By layer, the busiest expert's load over the mean; over all layers, the share of experts without a token."""
        if self.load is None or not self.load.numel():
            return {}
        imbalance = self.load.amax(1) * self.load.shape[1]
        return {"imbalance": imbalance.tolist(), "dead_experts": float((self.load == 0).float().mean())}


def forward_backward(
    objective: Objective[Any],
    model: VisionLanguageModel,
    micros: Sequence[Any],
    gradients: Gradients,
    ranks: Ranks,
) -> StepTotals:
    """Leaves the step's gradients in `gradients`; each is the gradient of the mean loss over the targets of all ranks.

    A micro-batch that touches nothing trained (text alone, when only projectors are) adds its loss and no gradient.
    """
    device = device_of(model)
    counts = ranks.sum(torch.tensor([[m.targets, m.tokens] for m in micros], device=device).sum(0)).tolist()
    targets, tokens = int(counts[0]), int(counts[1])
    measures: dict[str, Tensor] = {}
    load: Tensor | None = None
    for micro in micros:
        losses = objective.losses(model, micro, targets)
        if losses.total.requires_grad:
            losses.total.backward()
        gradients.collect()
        for name, value in losses.measures.items():
            measures[name] = measures[name] + value if name in measures else value
        if losses.load is not None:
            own = losses.load * (micro.tokens / tokens)
            load = own if load is None else load + own
    summed = ranks.sum(torch.stack([m.float() for m in measures.values()])).tolist()
    return StepTotals(dict(zip(measures, summed, strict=True)), tokens, None if load is None else ranks.sum(load))
