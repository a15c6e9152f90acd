"""AdamW (Loshchilov and Hutter 2019): Adam with weight decay apart from the gradient, over a list of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.optim.adamw import adamw

EPS = 1e-8


@dataclass(frozen=True)
class AdamState:
    """A parameter's running means of its gradient and its square, and the updates it has had."""

    momentum: Tensor
    square: Tensor
    step: Tensor


def adamw_(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    states: Sequence[AdamState],
    *,
    rate: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> None:
    """Updates parameters and states in place, with torch's fused kernel. All tensors are float32.

    The correction of the means for their start at zero counts a parameter's own updates, so a tower whose modality
    first appears late gets its full first step.
    """
    if not parameters:
        return
    adamw(
        list(parameters),
        list(gradients),
        [s.momentum for s in states],
        [s.square for s in states],
        [],
        [s.step for s in states],
        fused=True,
        amsgrad=False,
        beta1=betas[0],
        beta2=betas[1],
        lr=rate,
        weight_decay=weight_decay,
        eps=EPS,
        maximize=False,
    )
