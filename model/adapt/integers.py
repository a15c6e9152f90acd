"""Symmetric integer quantisation: `weight` is close to `scale * q`, one scale for each group of a row's columns.

The arithmetic is torchao's (`choose_qparams_affine`, `quantize_affine` with MappingType.SYMMETRIC), to the last bit,
for any number of leading dimensions: torchao's own tensors hold matrices, our experts are fused.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: the smallest group that is worth a scale of its own
MIN_GROUP = 8
_EPS = torch.finfo(torch.float32).eps


def group_size(columns: int, wanted: int) -> int:
    """The largest group that divides both; a result below MIN_GROUP means that the matrix is better left alone."""
    return math.gcd(columns, wanted)


def scales(weight: Tensor, bits: int, group: int) -> Tensor:
    """weight [..., columns] -> float32 [..., columns / group]: the largest magnitude over half the integer range."""
    largest = weight.float().unflatten(-1, (-1, group)).abs().amax(-1)
    return (largest / ((2**bits - 1) / 2)).clamp(min=_EPS)


def quantise(weight: Tensor, bits: int, group: int) -> tuple[Tensor, Tensor]:
    """weight [..., columns] -> `bits`-bit integers, int8 [..., columns], and float32 scales [..., columns / group]."""
    scale = scales(weight, bits, group)
    units = weight.float().unflatten(-1, (-1, group)) * (1.0 / scale)[..., None]
    return units.round().clamp(*bounds(bits)).to(torch.int8).flatten(-2), scale


def dequantise(q: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """int8 [..., columns] and scales [..., groups] -> [..., columns] in `dtype`; the product is taken in float32."""
    groups = q.unflatten(-1, (scale.shape[-1], -1))
    return (groups * scale[..., None]).flatten(-2).to(dtype)


def bounds(bits: int) -> tuple[int, int]:
    """Smallest and largest signed integer of `bits` bits."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def pack_nibbles(q: Tensor) -> Tensor:
    """int8 [..., columns] in [-8, 7] -> uint8 [..., columns / 2]; even columns are the low halves."""
    low, high = (q & 15).to(torch.uint8).unflatten(-1, (-1, 2)).unbind(-1)
    return low | (high << 4)


def unpack_nibbles(packed: Tensor) -> Tensor:
    """The inverse of `pack_nibbles`."""
    halves = torch.stack([packed & 15, packed >> 4], -1).flatten(-2)
    # the sign bit of four is moved by adding 8 and taking it away again
    return (halves ^ 8).to(torch.int8) - 8


def quantise_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Activations [N, columns] -> int8 and one float32 scale a row [N], symmetric (torchao's int8 dynamic)."""
    q, scale = quantise(x, 8, x.shape[-1])
    return q, scale.squeeze(-1)


def round_rows(x: Tensor) -> Tensor:
    """Activations [N, columns] rounded to the nearest of 256 levels a row (torchao's int8_asym_per_token).

    Zero is always a level. The gradient passes the rounding by (straight-through).
    """
    low, high = bounds(8)
    with torch.no_grad():
        least = x.amin(-1, keepdim=True).clamp(max=0)
        most = x.amax(-1, keepdim=True).clamp(min=0)
        scale = ((most - least) / 255).clamp(min=torch.finfo(x.dtype).eps)
        zero = (low - (least / scale).round()).clamp(low, high)
    levels = (straight_through_round(x * (1.0 / scale)) + zero).clamp(low, high)
    return (levels - zero) * scale


def fake_quantise(weight: Tensor, bits: int, group: int) -> Tensor:
    """`weight` rounded to what `quantise` can represent, with gradients as if it had not been (straight-through)."""
    with torch.no_grad():
        scale = scales(weight, bits, group)[..., None]
    units = weight.float().unflatten(-1, (-1, group)) * (1.0 / scale)
    return (straight_through_round(units).clamp(*bounds(bits)) * scale).flatten(-2).to(weight.dtype)


def straight_through_round(x: Tensor) -> Tensor:
    """Rounds; the gradient is that of the identity (Bengio et al. 2013, arXiv 1308.3432)."""
    return x + (x.round() - x).detach()
