"""Next-token loss without the [T, vocab] matrix: logits are made a chunk at a time, their gradient in the same pass.

The idea is that of Liger Kernel's fused linear cross-entropy (Hsu et al. 2024): the gradient of cross-entropy needs
only the logits, so it is taken while they are at hand, and three matrix products suffice.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = -100
CHUNK_ROWS = 1024


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, denominator: int | None) -> Tensor:
        rows = (targets != IGNORE).nonzero().flatten()
        divisor = max(len(rows) if denominator is None else denominator, 1)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        needs_grad = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        grad_hidden = torch.zeros_like(hidden) if needs_grad else None
        grad_weight = torch.zeros_like(weight) if needs_grad else None
        for chunk in rows.split(CHUNK_ROWS):
            h, target = hidden.index_select(0, chunk), targets.index_select(0, chunk)
            logits = F.linear(h, weight).float()
            normaliser = logits.logsumexp(-1, keepdim=True)
            total += (normaliser - logits.gather(1, target[:, None])).sum()
            if needs_grad:
                grad = logits.sub_(normaliser).exp_()
                grad.scatter_add_(1, target[:, None], grad.new_full((len(chunk), 1), -1.0))
                grad = grad.to(hidden.dtype).div_(divisor)
                grad_hidden.index_copy_(0, chunk, grad @ weight)  # type: ignore[union-attr]
                grad_weight.addmm_(grad.T, h)  # type: ignore[union-attr]
        if needs_grad:
            ctx.save_for_backward(grad_hidden, grad_weight)
        return total / divisor

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grad, grad_weight * grad, None, None


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, denominator: int | None = None) -> Tensor:
    """Sum of -log softmax(hidden @ weight^T)[target] over targets that are not -100, divided by `denominator`.

    Without a denominator, their number: the mean, 0 when there are none. hidden [T, d], weight [vocab, d],
    targets [T] -> scalar in float32.
    """
    return _LinearCrossEntropy.apply(hidden, weight, targets, denominator)
