"""Mixture-of-experts feed-forward: softmax, top-k, renormalise; every token goes to its k experts, none is dropped.

Reference: transformers `Qwen3VLMoeTextSparseMoeBlock`. Rows are sorted by expert so that each expert is one matrix
product; experts stay fused, `gate_up_proj` [E, 2I, d] with the gate's rows first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import TextConfig
from model.net.expert_kernel import SEGMENT_ROWS, combine, count_experts, dispatch, plan_slots, swiglu_experts
from model.net.few_rows import few_experts, takes_few

#: the unit of the bias on the choice of experts, which is kept as whole numbers: `model.to(bfloat16)` would round a
#: float buffer, and steps of 0.001 would be lost
BIAS_UNIT = 2.0**-24


@dataclass(frozen=True)
class Routing:
    """What the losses of model.net.balance need from one layer, summed over its tokens; float32."""

    assignments: Tensor  # [E] (token, slot) pairs sent to each expert; carries no gradient
    probabilities: Tensor  # [E] softmax mass of each expert
    squared_normalisers: Tensor  # [] logsumexp(logits)^2
    tokens: int | Tensor


class Router(nn.Module):
    """Chooses the experts of a token; `weight` [E, d].

    `bias` [E] int32, in units of BIAS_UNIT, is added to the probabilities for the choice alone, never to the weights
    of the chosen (Wang et al. 2024, arXiv 2408.15664, eq. 3); None unless `router_bias_update_rate` asks for it.
    """

    bias: Tensor | None

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.normalise = config.norm_topk_prob
        self.weight = nn.Parameter(torch.empty(config.num_experts, config.hidden_size))
        biased = config.router_bias_update_rate > 0
        self.register_buffer("bias", torch.zeros(config.num_experts, dtype=torch.int32) if biased else None)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Routing]:
        """x [T, d] -> weights [T, k] in x's dtype, experts [T, k], and the layer's routing statistics."""
        logits = F.linear(x, self.weight)
        weights, experts, probabilities = self.choose(logits)
        assignments = count_experts(experts, len(self.weight)).float()
        normalisers = logits.float().logsumexp(-1).square().sum()
        return weights, experts, Routing(assignments, probabilities.sum(0), normalisers, len(x))

    def choose(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """logits [T, E] -> weights [T, k] in their dtype, experts [T, k], probabilities [T, E] in float32."""
        probabilities = F.softmax(logits, dim=-1, dtype=torch.float32)
        if self.bias is None:
            weights, experts = probabilities.topk(self.top_k, dim=-1)
        else:
            experts = (probabilities + self.bias * BIAS_UNIT).topk(self.top_k, dim=-1).indices
            weights = probabilities.gather(-1, experts)
        if self.normalise:
            weights = weights / weights.sum(-1, keepdim=True)
        return weights.to(logits.dtype), experts, probabilities


class Experts(nn.Module):
    """All experts of a layer, fused."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        experts, d, width = config.num_experts, config.hidden_size, config.moe_intermediate_size
        #: of the layer; a rank that shares it with others holds fewer
        self.num_experts = experts
        self.gate_up_proj = nn.Parameter(torch.empty(experts, 2 * width, d))
        self.down_proj = nn.Parameter(torch.empty(experts, d, width))

    def forward(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """x [T, d], weights and experts [T, k] -> sum over k of weight * expert(x), [T, d]."""
        if type(self) is Experts and takes_few(x, experts):
            return few_experts(x, weights, experts, self.gate_up_proj, self.down_proj)
        enough = experts.numel() >= self.num_experts * SEGMENT_ROWS
        pads = enough and x.dtype == torch.bfloat16 and x.device.type == "cpu"
        slots = plan_slots(experts, self.num_experts, SEGMENT_ROWS if pads else 1)
        return combine(self.compute(dispatch(x, slots), slots.counts), weights, slots)

    def compute(self, rows: Tensor, counts: Tensor) -> Tensor:
        """rows [N, d] sorted by expert, counts [E] of each -> [N, d]; what expert parallelism calls on its own rows."""
        return swiglu_experts(rows, self.gate_up_proj, self.down_proj, counts)


class SparseMoe(nn.Module):
    """Router and experts."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.gate = Router(config)
        self.experts = Experts(config)

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """x [T, d] -> [T, d] and the layer's routing statistics."""
        weights, experts, routing = self.gate(x)
        return self.experts(x, weights, experts), routing

    def project(self, x: Tensor) -> Tensor:
        """x [T, d] -> [T, d] alone."""
        weights, experts, _ = self.gate.choose(F.linear(x, self.gate.weight))
        return self.experts(x, weights, experts)


class DenseMlp(nn.Module):
    """SwiGLU feed-forward of the layers that have no experts."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """x [T, d] -> [T, d]; there is no routing to report."""
        return self.project(x), None

    def project(self, x: Tensor) -> Tensor:
        """x [T, d] -> [T, d] alone."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
