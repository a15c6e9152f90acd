"""Expert parallelism (Shazeer et al. 2017, section 3.1; Lepikhin et al. 2020, GShard): ranks hold different experts of
a layer, and tokens travel to them and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from model.config import TextConfig
from model.net.moe import Experts
from model.net.segments import gather_rows
from model.train.ranks import exchange


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, sent: Sequence[int], received: Sequence[int], group: Any) -> Tensor:
        ctx.sizes, ctx.group = (received, sent), group
        return exchange(rows, sent, received, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        sent, received = ctx.sizes
        return exchange(grad, sent, received, ctx.group), None, None, None


class SpreadExperts(Experts):
    """This rank's share of a layer's experts: those of place `rank` when all are dealt out in `count` equal runs.

    Every rank of `group` must come here equally often, with however many tokens.
    """

    def __init__(self, config: TextConfig, group: Any) -> None:
        self._ranks = dist.get_world_size(group)
        super().__init__(replace(config, num_experts=config.num_experts // self._ranks))
        self.num_experts = config.num_experts
        self._group = group

    def compute(self, rows: Tensor, counts: Tensor) -> Tensor:
        """Rows [N, d] sorted by expert, counts [E] over all experts of the layer -> [N, d], each from its expert."""
        sent = counts.view(self._ranks, -1)
        received = torch.empty_like(sent)
        dist.all_to_all_single(received, sent, group=self._group)
        sizes = sent.sum(1).tolist(), received.sum(1).tolist()
        arrived = _Exchange.apply(rows, *sizes, self._group)
        # they come sorted by sender, then expert
        experts = torch.arange(sent.shape[1], device=rows.device).repeat(self._ranks)
        order = experts.repeat_interleave(received.flatten()).argsort(stable=True)
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        done = super().compute(gather_rows(arrived, order, back), received.sum(0))
        return _Exchange.apply(gather_rows(done, back, order), *sizes[::-1], self._group)
