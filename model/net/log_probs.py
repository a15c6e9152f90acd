"""Log-probabilities of given tokens without the [N, vocab] matrix: logits are made a chunk at a time, forward and back.

What cross-entropy can do in one pass needs two here: the gradient of each token's log-probability is known only when
the loss over them is. So the normalisers are kept, and the backward pass makes the logits again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model.net.loss import add_head_gradient, chunk_rows, softmax_rows


class _TokenLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        normalisers = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        aimed = torch.empty_like(normalisers)
        size = chunk_rows(weight)
        for start in range(0, len(hidden), size):
            logits = hidden[start : start + size] @ weight.T
            for first in range(0, len(logits), softmax_rows(weight)):
                part = logits[first : first + softmax_rows(weight)].float()
                rows = slice(start + first, start + first + len(part))
                normalisers[rows] = part.logsumexp(-1)
                aimed[rows] = part.gather(1, targets[rows, None]).squeeze(1)
        ctx.save_for_backward(hidden, weight, targets, normalisers)
        return aimed - normalisers

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        hidden, weight, targets, normalisers = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden)
        grad_weight: Tensor | None = None
        size = chunk_rows(weight)
        for start in range(0, len(hidden), size):
            h = hidden[start : start + size]
            logits = h @ weight.T
            for first in range(0, len(logits), softmax_rows(weight)):
                part = logits[first : first + softmax_rows(weight)]
                rows = slice(start + first, start + first + len(part))
                scale = grad[rows, None]
                slope = (part.float() - normalisers[rows, None]).exp_().mul_(-scale)
                part.copy_(slope.scatter_add_(1, targets[rows, None], scale))
            grad_hidden[start : start + size] = logits @ weight
            if ctx.needs_input_grad[1]:
                grad_weight = add_head_gradient(grad_weight, logits, h, single=len(h) == len(hidden))
        if ctx.needs_input_grad[1]:
            grad_weight = torch.zeros_like(weight) if grad_weight is None else grad_weight.to(weight.dtype)
        return grad_hidden, grad_weight, None


def token_log_probs(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """log softmax(hidden @ weight^T)[target] of each row; every row has a target.

    hidden [N, d], weight [vocab, d], targets [N] -> [N] in float32.
    """
    return _TokenLogProbs.apply(hidden, weight, targets)
