"""Keeping the experts evenly used: two losses on the router, and a bias on its choices that needs no loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from model.net.moe import BIAS_UNIT, Router, Routing

_EVEN = 1e-6


def pooled(
    routings: Sequence[Routing], targets: Tensor, total: Callable[[Tensor], Tensor]
) -> tuple[list[Routing], Tensor]:
    """The routings, and the number of targets, of a batch whose parts lie on several ranks, in one exchange.

    `total` sums a float32 vector over the ranks, and hands its gradient back as it is: each rank's loss then is that
    of the whole batch, and its gradient that of its own tokens, so that gradients are to be summed over ranks.
    """
    own = [
        t
        for r in routings
        for t in (r.assignments, r.probabilities, r.squared_normalisers, targets.new_tensor(r.tokens))
    ]
    sizes = [t.numel() for t in own] + [1]
    parts = total(torch.cat([t.reshape(-1).float() for t in [*own, targets]])).split(sizes)
    layers = [parts[i : i + 4] for i in range(0, len(own), 4)]
    found = [Routing(a.detach(), p, z.squeeze(0), n.detach().squeeze(0)) for a, p, z, n in layers]
    return found, parts[-1].detach().squeeze(0)


def load_balancing_loss(routings: Sequence[Routing]) -> Tensor:
    """E * sum_e f_e * P_e, pooled over all layers and tokens; k when the load is even.

    Switch Transformer (Fedus et al. 2021), eq. 4-6, for k > 1; transformers `load_balancing_loss_func`.
    """
    tokens = sum(r.tokens for r in routings)
    share = torch.stack([r.assignments for r in routings]).sum(0) / tokens
    probability = torch.stack([r.probabilities for r in routings]).sum(0) / tokens
    return len(share) * (share * probability).sum()


def z_loss(routings: Sequence[Routing]) -> Tensor:
    """Mean over tokens and layers of logsumexp(router logits)^2 (Zoph et al. 2022, ST-MoE, eq. 5)."""
    return torch.stack([r.squared_normalisers for r in routings]).sum() / sum(r.tokens for r in routings)


def expert_load(routings: Sequence[Routing]) -> Tensor:
    """[layers, E]: each expert's share of its layer's assignments; rows sum to 1. Carries no gradient."""
    assignments = torch.stack([r.assignments for r in routings])
    return assignments / assignments.sum(-1, keepdim=True)


@torch.no_grad()
def update_balancing(model: nn.Module, loads: Tensor, rate: float) -> None:
    """Moves the bias on the choice of experts by `rate` towards an even load, after an optimizer step.

    loads [MoE layers, E]: share of assignments over the whole step, all micro-batches and ranks; equal on all ranks,
    or their biases drift apart. b_e += rate * sign(mean load - load_e), as Wang et al. 2024 (arXiv 2408.15664), alg. 1.
    Layers without a bias (`router_bias_update_rate` 0) are left alone.
    """
    routers = [module for module in model.modules() if isinstance(module, Router)]
    step = round(rate / BIAS_UNIT)
    for router, load in zip(routers, loads, strict=True):
        if router.bias is not None:
            error = load.mean() - load
            # an even load is even up to rounding, which depends on how many ranks it was summed over
            error = torch.where(error.abs() < _EVEN, 0.0, error)
            router.bias.add_(step * torch.sign(error).to(router.bias))
