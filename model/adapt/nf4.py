"""Frozen weights in 4 bits: NormalFloat4 (Dettmers et al. 2023, QLoRA, arXiv 2305.14314, section 3), by bitsandbytes.

A block of 64 consecutive weights shares one float32 scale, its largest magnitude: 4.5 bits a weight. A matrix is made
whole for the moment of a product, forward and backward, and never kept.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.adapt.experts import PROJECTIONS, ProjectedExperts, plain_weights, shapes_of
from model.adapt.places import projections, replace
from model.net.moe import Experts
from model.net.vlm import VisionLanguageModel
from schemas.errors import SluiceError

BLOCK = 64


def _functional() -> Any:
    # it warns of a kernel for whole products on CPU that it would fetch from the net; none is needed here
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import bitsandbytes.functional as functional
    except ImportError as error:
        raise SluiceError(
            f"adapter.quantize: nf4 needs {error.name}, which is not installed: pip install 'sluice[adapt]'"
        ) from error
    return functional


def quantise_matrix(weight: Tensor) -> tuple[Tensor, Tensor]:
    """weight [out, in] -> uint8 [out * in / 2], two weights a byte, and float32 scales [out * in / 64, rounded up]."""
    packed, state = _functional().quantize_4bit(weight.contiguous(), blocksize=BLOCK, quant_type="nf4")
    return packed.flatten(), state.absmax


def dequantise_matrix(packed: Tensor, absmax: Tensor, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """The inverse of `quantise_matrix`: [out, in] in `dtype`."""
    functional = _functional()
    state = functional.QuantState(absmax, torch.Size(shape), dtype=dtype, blocksize=BLOCK, quant_type="nf4")
    return functional.dequantize_4bit(packed[:, None], state)


class _Product(torch.autograd.Function):
    """x @ W^T, W made from its 4 bits in each direction; there is no gradient of W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: Tensor, absmax: Tensor, shape: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(packed, absmax)
        ctx.shape = shape
        return F.linear(x, dequantise_matrix(packed, absmax, shape, x.dtype))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        packed, absmax = ctx.saved_tensors
        return grad @ dequantise_matrix(packed, absmax, ctx.shape, grad.dtype), None, None, None


class Nf4Linear(nn.Module):
    """A frozen linear layer; `packed` and `absmax` as of `quantise_matrix`."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.dtype = linear.weight.dtype
        packed, absmax = quantise_matrix(linear.weight.detach())
        self.packed: Tensor
        self.absmax: Tensor
        self.register_buffer("packed", packed)
        self.register_buffer("absmax", absmax)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out]."""
        y = _Product.apply(x, self.packed, self.absmax, (self.out_features, self.in_features))
        return y if self.bias is None else y + self.bias

    @property
    def weight(self) -> Tensor:
        """The matrix [out, in] that the 4 bits stand for, made anew."""
        return dequantise_matrix(self.packed, self.absmax, (self.out_features, self.in_features), self.dtype)


class Nf4Experts(ProjectedExperts):
    """Frozen experts: `NAME` uint8 [E, out * in / 2] and `NAME_absmax` [E, out * in / 64] for both projections."""

    def __init__(self, experts: Experts) -> None:
        super().__init__(shapes_of(experts))
        self.dtype = experts.down_proj.dtype
        for name, weight in plain_weights(experts).items():
            parts = [quantise_matrix(matrix) for matrix in weight]
            self.register_buffer(name, torch.stack([packed for packed, _ in parts]))
            self.register_buffer(f"{name}_absmax", torch.stack([absmax for _, absmax in parts]))

    def project(self, name: str, rows: Tensor, counts: Tensor) -> Tensor:
        """See ProjectedExperts; only experts that have rows are ever made whole."""
        packed, absmax = getattr(self, name), getattr(self, f"{name}_absmax")
        shape = self.shapes[name][1:]
        return self.each(name, rows, counts, lambda e, x: _Product.apply(x, packed[e], absmax[e], shape))

    def weights(self) -> dict[str, Tensor]:
        """The fused matrices that the 4 bits stand for."""
        return {name: torch.stack([self._matrix(name, e) for e in range(self.shapes[name][0])]) for name in PROJECTIONS}

    def _matrix(self, name: str, expert: int) -> Tensor:
        packed, absmax = getattr(self, name)[expert], getattr(self, f"{name}_absmax")[expert]
        return dequantise_matrix(packed, absmax, self.shapes[name][1:], self.dtype)


def quantise_frozen(model: VisionLanguageModel) -> None:
    """Puts the decoder's linear layers and experts into 4 bits; the router, the norms and the embeddings stay whole."""
    for path, module in list(projections(model)):
        if isinstance(module, nn.Linear):
            replace(model, path, Nf4Linear(module))
        elif isinstance(module, Experts):
            replace(model, path, Nf4Experts(module))
