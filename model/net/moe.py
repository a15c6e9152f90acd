"""Mixture-of-experts feed-forward: softmax, top-k, renormalise; every token goes to its k experts, none is dropped.

Reference: transformers `Qwen3VLMoeTextSparseMoeBlock`, `load_balancing_loss_func` (Switch Transformer, Fedus et al.
2021, eq. 4-6, for k > 1). Rows are sorted by expert so that each expert is one matrix product; experts stay fused,
`gate_up_proj` [E, 2I, d] with the gate's rows first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import TextConfig
from model.net.segments import gather_rows


@dataclass(frozen=True)
class Routing:
    """What the load-balancing loss needs from one layer, summed over its tokens."""

    assignments: Tensor  # [E] (token, slot) pairs sent to each expert; carries no gradient
    probabilities: Tensor  # [E] softmax mass of each expert
    tokens: int


def load_balancing_loss(routings: list[Routing]) -> Tensor:
    """E * sum_e f_e * P_e, pooled over all layers and tokens; k when the load is even."""
    tokens = sum(r.tokens for r in routings)
    share = torch.stack([r.assignments for r in routings]).sum(0) / tokens
    probability = torch.stack([r.probabilities for r in routings]).sum(0) / tokens
    return len(share) * (share * probability).sum()


class Router(nn.Module):
    """Chooses the experts of a token; `weight` [E, d]."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.normalise = config.norm_topk_prob
        self.weight = nn.Parameter(torch.empty(config.num_experts, config.hidden_size))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [T, d] -> weights [T, k] in x's dtype, experts [T, k], probabilities [T, E] in float32."""
        logits = F.linear(x, self.weight)
        probabilities = F.softmax(logits, dim=-1, dtype=torch.float32)
        weights, experts = probabilities.topk(self.top_k, dim=-1)
        if self.normalise:
            weights = weights / weights.sum(-1, keepdim=True)
        return weights.to(logits.dtype), experts, probabilities


class Experts(nn.Module):
    """All experts of a layer, fused."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        experts, d, width = config.num_experts, config.hidden_size, config.moe_intermediate_size
        self.gate_up_proj = nn.Parameter(torch.empty(experts, 2 * width, d))
        self.down_proj = nn.Parameter(torch.empty(experts, d, width))

    def forward(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """x [T, d], weights and experts [T, k] -> sum over k of weight * expert(x), [T, d]."""
        top_k = experts.shape[1]
        order = experts.flatten().argsort(stable=True)
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        counts = torch.bincount(experts.flatten(), minlength=len(self.gate_up_proj)).tolist()
        copies = x[:, None].expand(-1, top_k, -1).flatten(0, 1)
        outputs = self.compute(gather_rows(copies, order, back), counts)
        slots = gather_rows(outputs, back, order).unflatten(0, (-1, top_k))
        return (slots * weights[..., None]).sum(1)

    def compute(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """rows [N, d] sorted by expert, counts [E] of each -> [N, d]."""
        # unbind, not weight[e]: each indexing's backward would allocate a gradient the size of all experts
        outputs = []
        weights = zip(self.gate_up_proj.unbind(), self.down_proj.unbind(), strict=True)
        for h, (gate_up, down) in zip(rows.split(list(counts)), weights, strict=True):
            gate, up = F.linear(h, gate_up).chunk(2, dim=-1)
            outputs.append(F.linear(F.silu(gate) * up, down))
        return torch.cat(outputs)


class SparseMoe(nn.Module):
    """Router and experts."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.gate = Router(config)
        self.experts = Experts(config)

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """x [T, d] -> [T, d] and the layer's routing statistics."""
        weights, experts, probabilities = self.gate(x)
        assignments = torch.bincount(experts.flatten(), minlength=probabilities.shape[1]).float()
        routing = Routing(assignments, probabilities.sum(0), len(x))
        return self.experts(x, weights, experts), routing


class DenseMlp(nn.Module):
    """SwiGLU feed-forward of the layers that have no experts."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """x [T, d] -> [T, d]; there is no routing to report."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x)), None
