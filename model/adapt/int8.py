"""Weights as int8 with one float32 scale for each output row: the form that files hold and kernels read.

`weight` [out, in] int8 and `scale` [out]: the matrix is `weight * scale[:, None]`. Fused experts are the same with a
leading expert dimension. Few rows, as decoding has them, go through loops that read the integers as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.adapt.experts import PROJECTIONS, ProjectedExperts
from model.adapt.integers import dequantise, quantise, quantise_rows
from model.net.few_rows import FEW_ROWS, few_experts, few_linear, is_compiled, takes_few
from model.net.moe import Experts


def quantise_matrix(weight: Tensor) -> tuple[Tensor, Tensor]:
    """weight [..., out, in] -> int8 of the same shape and float32 scales [..., out]."""
    q, scale = quantise(weight, 8, weight.shape[-1])
    return q, scale.squeeze(-1)


def int8_linear(x: Tensor, weight: Tensor, scale: Tensor, *, dynamic: bool) -> Tensor:
    """x [N, in], weight int8 [out, in], scale [out] -> [N, out] in x's dtype.

    With `dynamic`, x is rounded to int8 row by row and the sum is exact in int32 (torchao's
    Int8DynamicActivationInt8WeightConfig).
    """
    if dynamic:
        q, row_scale = quantise_rows(x)
        return (torch._int_mm(q, weight.T).float() * row_scale[:, None] * scale).to(x.dtype)
    if len(x) <= FEW_ROWS and not x.requires_grad and is_compiled(x):
        return few_linear(x, weight, scale)
    return F.linear(x, weight.to(x.dtype)) * scale.to(x.dtype)


class Int8Linear(nn.Module):
    """A linear layer with int8 weights; buffers `weight` [out, in], `scale` [out], `bias` [out] or None."""

    def __init__(self, out_features: int, in_features: int, *, bias: bool, dynamic: bool) -> None:
        super().__init__()
        self.dynamic = dynamic
        self.weight: Tensor
        self.scale: Tensor
        self.bias: Tensor | None
        self.register_buffer("weight", torch.empty(out_features, in_features, dtype=torch.int8))
        self.register_buffer("scale", torch.empty(out_features, dtype=torch.float32))
        self.register_buffer("bias", torch.empty(out_features) if bias else None)

    @classmethod
    def of(cls, linear: nn.Linear, *, dynamic: bool = False) -> Int8Linear:
        """The quantised form of a linear layer."""
        made = cls(linear.out_features, linear.in_features, bias=linear.bias is not None, dynamic=dynamic)
        made.weight, made.scale = quantise_matrix(linear.weight.detach())
        made.bias = None if linear.bias is None else linear.bias.detach()
        return made

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out]."""
        y = int8_linear(x.flatten(0, -2), self.weight, self.scale, dynamic=self.dynamic)
        y = y.unflatten(0, x.shape[:-1])
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def plain_integers(self) -> tuple[Tensor, Tensor] | None:
        """Weight and scale, where they are all there is to it."""
        return None if self.dynamic or self.bias is not None else (self.weight, self.scale)

    def dequantised(self, dtype: torch.dtype) -> Tensor:
        """The matrix [out, in] that the integers stand for."""
        return dequantise(self.weight, self.scale[:, None], dtype)


class Int8Experts(ProjectedExperts):
    """Fused experts: `gate_up_proj` [E, 2I, d], `down_proj` [E, d, I] int8; `NAME_scale` [E, 2I] and [E, d]."""

    def __init__(self, experts: int, size: int, width: int, *, dynamic: bool) -> None:
        super().__init__({"gate_up_proj": (experts, 2 * width, size), "down_proj": (experts, size, width)})
        self.dynamic = dynamic
        for name, shape in self.shapes.items():
            self.register_buffer(name, torch.empty(shape, dtype=torch.int8))
            self.register_buffer(f"{name}_scale", torch.empty(shape[:2], dtype=torch.float32))

    @classmethod
    def of(cls, source: Experts, *, dynamic: bool = False) -> Int8Experts:
        """The quantised form of a layer's experts."""
        experts, size, width = source.down_proj.shape
        made = cls(experts, size, width, dynamic=dynamic)
        for name in PROJECTIONS:
            q, scale = quantise_matrix(getattr(source, name).detach())
            setattr(made, name, q)
            setattr(made, f"{name}_scale", scale)
        return made

    def forward(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """See Experts."""
        integers = self.plain_integers()
        if integers is None or not takes_few(x, experts):
            return super().forward(x, weights, experts)
        return few_experts(x, weights, experts, *integers)

    def plain_integers(self) -> tuple[Tensor, ...] | None:
        """Both weights and both scales, where they are all there is to it."""
        weights = [getattr(self, name) for name in PROJECTIONS]
        scales = [getattr(self, f"{name}_scale") for name in PROJECTIONS]
        return None if self.dynamic else (*weights, *scales)

    def project(self, name: str, rows: Tensor, counts: Tensor) -> Tensor:
        """See ProjectedExperts."""
        weights, scales = getattr(self, name), getattr(self, f"{name}_scale")
        return self.each(name, rows, counts, lambda e, x: int8_linear(x, weights[e], scales[e], dynamic=self.dynamic))
