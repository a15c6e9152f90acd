"""Root-mean-square normalisation (Zhang and Sennrich 2019), with the cast order of the Qwen3 reference.

On CPU, float32 and bfloat16 go through compiled loops (model.net.norm_loops), which round once, at the end; on a GPU,
through the library's fused kernel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.net.few_rows import is_compiled, loops
from model.net.rope import rotate
from model.net.threads import array, over_rows

Rope = tuple[Tensor, Tensor]


class RMSNorm(nn.Module):
    """weight * cast(x * rsqrt(mean(x^2) + eps)): statistics in float32, the product with the weight after the cast."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x [..., size] -> [..., size]."""
        if is_compiled(x):
            return _RowNorm.apply(x, self.weight, self.eps)
        if x.device.type == "cuda":
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        return self.plain(x)

    def plain(self, x: Tensor) -> Tensor:
        """The definition."""
        x32 = x.float()
        return self.weight * (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype)

    def turned(self, x: Tensor, rope: Rope) -> Tensor:
        """Normalises the heads of x [T, heads, size] and rotates them by the tables cos, sin [T, size]."""
        if is_compiled(x):
            return _TurnedNorm.apply(x, self.weight, self.eps, *rope)
        return rotate(self(x), *rope)


class _RowNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x, kernels = x.contiguous(), loops("norm_loops")
        y, inverse = torch.empty_like(x), x.new_empty(x.shape[:-1].numel(), dtype=torch.float32)
        arrays = [array(t.view(-1, x.shape[-1])) for t in (x, y)]
        weights = array(weight)
        scales = inverse.numpy()
        over_rows(
            kernels.norm_forward,
            len(inverse),
            kernels.BLOCK_ROWS,
            x.numel(),
            arrays[0],
            weights,
            np.float32(eps),
            arrays[1],
            scales,
        )
        ctx.save_for_backward(x, weight, inverse)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, inverse = ctx.saved_tensors
        return *_row_gradients(loops("norm_loops").norm_backward, x, weight, inverse, (), grad), None


class _TurnedNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, cosine: Tensor, sine: Tensor) -> Tensor:
        x, kernels = x.contiguous(), loops("norm_loops")
        y, inverse = torch.empty_like(x), x.new_empty(x.shape[:-1].numel(), dtype=torch.float32)
        rows, out = (array(t.view(-1, x.shape[-1])) for t in (x, y))
        tables = (array(cosine), array(sine))
        arguments = (rows, array(weight), np.float32(eps), *tables, out, inverse.numpy())
        over_rows(kernels.turn_forward, len(inverse), kernels.BLOCK_ROWS, x.numel(), *arguments)
        ctx.save_for_backward(x, weight, inverse, cosine, sine)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        x, weight, inverse, *tables = ctx.saved_tensors
        return *_row_gradients(loops("norm_loops").turn_backward, x, weight, inverse, tables, grad), None, None, None


def _row_gradients(
    kernel: Any, x: Tensor, weight: Tensor, inverse: Tensor, tables: Any, grad: Tensor
) -> tuple[Tensor, Tensor]:
    kernels, size = loops("norm_loops"), x.shape[-1]
    grad, grad_x = grad.contiguous(), torch.empty_like(x)
    blocks = x.new_zeros(-(-len(inverse) // kernels.BLOCK_ROWS), size, dtype=torch.float32)
    rows, given, out = (array(t.view(-1, size)) for t in (x, grad, grad_x))
    fixed = [array(t) for t in (weight, inverse, *tables)]
    over_rows(kernel, len(inverse), kernels.BLOCK_ROWS, x.numel(), rows, *fixed, given, out, blocks.numpy())
    return grad_x, blocks.sum(0).to(weight.dtype)
