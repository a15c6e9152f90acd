"""Next-token loss without the [T, vocab] matrix: logits are made a chunk at a time, their gradient in the same pass.

The idea is that of Liger Kernel's fused linear cross-entropy (Hsu et al. 2024): the gradient of cross-entropy needs
only the logits, so it is taken while they are at hand, and three matrix products suffice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

IGNORE = -100
#: logits of a chunk: enough rows for a fast product, and the weight's gradient is added to once a chunk
CHUNK_BYTES = {"cpu": 64 << 20, "gpu": 512 << 20}
MIN_CHUNK_ROWS = 1024
#: float32 values that the softmax works on at a time: on CPU, what stays in a core's cache
SOFTMAX_VALUES = {"cpu": 1 << 19, "gpu": 1 << 28}


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, denominator: int | None) -> Tensor:
        live = targets != IGNORE
        # on a GPU, counting the live rows would wait for it: there the others are computed and weigh nothing
        rows = live.nonzero().flatten() if hidden.device.type == "cpu" else torch.arange(len(live), device=live.device)
        divisor = live.sum().clamp(min=1) if denominator is None else max(denominator, 1)
        scale = live.index_select(0, rows).float().div_(divisor)
        needs_grad = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        grad_hidden = torch.zeros_like(hidden) if needs_grad else None
        grad_weight: Tensor | None = None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        size = chunk_rows(weight)
        buffer = hidden.new_empty(min(size, len(rows)), len(weight))
        for chunk, weights in zip(rows.split(size), scale.split(size), strict=True):
            if not len(chunk):
                break
            h = hidden.index_select(0, chunk)
            logits = torch.mm(h, weight.T, out=buffer[: len(chunk)])
            target = targets.index_select(0, chunk).clamp_(min=0)
            total += _losses(logits, target, weights, with_gradient=needs_grad)
            if grad_hidden is not None:
                grad_hidden.index_copy_(0, chunk, logits @ weight)
                grad_weight = add_head_gradient(grad_weight, logits, h, single=len(chunk) == len(rows))
        if needs_grad:
            grad_weight = torch.zeros_like(weight) if grad_weight is None else grad_weight.to(weight.dtype)
            ctx.save_for_backward(grad_hidden, grad_weight)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grad, grad_weight * grad, None, None


def chunk_rows(weight: Tensor) -> int:
    """Rows of a chunk, for a head [vocab, d]."""
    limit = CHUNK_BYTES[_place(weight)]
    return max(MIN_CHUNK_ROWS, limit // (len(weight) * weight.element_size()))


def softmax_rows(weight: Tensor) -> int:
    """Rows of logits that the softmax works on at a time, for a head [vocab, d]."""
    return max(1, SOFTMAX_VALUES[_place(weight)] // len(weight))


def _place(tensor: Tensor) -> str:
    return "cpu" if tensor.device.type == "cpu" else "gpu"


def _losses(logits: Tensor, targets: Tensor, scale: Tensor, *, with_gradient: bool) -> Tensor:
    """Sum of scale * -log softmax(logits)[target], in float32; replaces `logits` [n, vocab] by its gradient."""
    size = max(1, SOFTMAX_VALUES[_place(logits)] // logits.shape[1])
    scratch = None if logits.dtype == torch.float32 else logits.new_empty(size, logits.shape[1], dtype=torch.float32)
    total = torch.zeros((), dtype=torch.float32, device=logits.device)
    for part, target, weight in zip(logits.split(size), targets.split(size), scale.split(size), strict=True):
        x = part if scratch is None else scratch[: len(part)].copy_(part)
        weight, target = weight[:, None], target[:, None]
        largest, aimed = x.amax(-1, keepdim=True), x.gather(1, target)
        x.sub_(largest).exp_()
        mass = x.sum(-1, keepdim=True)
        total += ((mass.log() + largest - aimed) * weight).sum()
        if with_gradient:
            x.mul_(weight / mass).scatter_add_(1, target, -weight)
            part.copy_(x)
    return total


def add_head_gradient(total: Tensor | None, grad_logits: Tensor, hidden: Tensor, *, single: bool) -> Tensor:
    """Adds a chunk's gradient of the head, [vocab, d]; several chunks are added up in float32."""
    if single:
        return grad_logits.T @ hidden
    if total is None:
        return (grad_logits.T @ hidden).float()
    if total.dtype == hidden.dtype:
        return total.addmm_(grad_logits.T, hidden)
    return total.add_(grad_logits.T @ hidden)


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, denominator: int | None = None) -> Tensor:
    """Sum of -log softmax(hidden @ weight^T)[target] over targets that are not -100, divided by `denominator`.

    Without a denominator, their number: the mean, 0 when there are none. hidden [T, d], weight [vocab, d],
    targets [T] -> scalar in float32.
    """
    return _LinearCrossEntropy.apply(hidden, weight, targets, denominator)
