"""Weights as 4-bit integers, two a byte, with one float32 scale for each group of a row's columns.

`weight` uint8 [out, in / 2] (even columns in the low halves) and `scale` [out, in / group]. With `dynamic`, activations
are rounded to 256 levels a row first: what QAT trains for (torchao's Int8DynamicActivationIntxWeightConfig).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.adapt.experts import ProjectedExperts, plain_weights
from model.adapt.integers import dequantise, pack_nibbles, quantise, round_rows, unpack_nibbles
from model.net.moe import Experts


def quantise_matrix(weight: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """weight [..., out, in] -> uint8 [..., out, in / 2] and float32 scales [..., out, in / group]."""
    q, scale = quantise(weight, 4, group)
    return pack_nibbles(q), scale


def int4_linear(x: Tensor, weight: Tensor, scale: Tensor, *, dynamic: bool) -> Tensor:
    """x [N, in], weight and scale as of `quantise_matrix` -> [N, out]; the matrix is made whole for the product."""
    whole = dequantise(unpack_nibbles(weight), scale, x.dtype)
    return F.linear(round_rows(x) if dynamic else x, whole)


class Int4Linear(nn.Module):
    """A linear layer with 4-bit weights; buffers `weight`, `scale`, and `bias` [out] or None."""

    def __init__(self, out_features: int, in_features: int, *, bias: bool, group: int, dynamic: bool) -> None:
        super().__init__()
        self.dynamic = dynamic
        self.weight: Tensor
        self.scale: Tensor
        self.bias: Tensor | None
        self.register_buffer("weight", torch.empty(out_features, in_features // 2, dtype=torch.uint8))
        self.register_buffer("scale", torch.empty(out_features, in_features // group))
        self.register_buffer("bias", torch.empty(out_features) if bias else None)

    @classmethod
    def of(cls, linear: nn.Linear, group: int, *, dynamic: bool = False) -> Int4Linear:
        """The quantised form of a linear layer."""
        bias = linear.bias is not None
        made = cls(linear.out_features, linear.in_features, bias=bias, group=group, dynamic=dynamic)
        made.weight, made.scale = quantise_matrix(linear.weight.detach(), group)
        made.bias = linear.bias.detach() if bias else None
        return made

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out]."""
        y = int4_linear(x.flatten(0, -2), self.weight, self.scale, dynamic=self.dynamic).unflatten(0, x.shape[:-1])
        return y if self.bias is None else y + self.bias.to(y.dtype)


class Int4Experts(ProjectedExperts):
    """Fused experts with 4-bit weights: `NAME` uint8 [E, out, in / 2] and `NAME_scale` [E, out, in / group]."""

    def __init__(self, experts: int, size: int, width: int, *, groups: tuple[int, int], dynamic: bool) -> None:
        super().__init__({"gate_up_proj": (experts, 2 * width, size), "down_proj": (experts, size, width)})
        self.dynamic = dynamic
        for (name, (_, out, columns)), group in zip(self.shapes.items(), groups, strict=True):
            self.register_buffer(name, torch.empty(experts, out, columns // 2, dtype=torch.uint8))
            self.register_buffer(f"{name}_scale", torch.empty(experts, out, columns // group))

    @classmethod
    def of(cls, source: Experts, groups: tuple[int, int], *, dynamic: bool = False) -> Int4Experts:
        """The quantised form of a layer's experts; `groups` are of gate_up_proj and of down_proj."""
        made = cls(*source.down_proj.shape, groups=groups, dynamic=dynamic)
        for (name, weight), group in zip(plain_weights(source).items(), groups, strict=True):
            q, scale = quantise_matrix(weight, group)
            setattr(made, name, q)
            setattr(made, f"{name}_scale", scale)
        return made

    def project(self, name: str, rows: Tensor, counts: Tensor) -> Tensor:
        """See ProjectedExperts."""
        weights, scales = getattr(self, name), getattr(self, f"{name}_scale")
        return self.each(name, rows, counts, lambda e, x: int4_linear(x, weights[e], scales[e], dynamic=self.dynamic))
