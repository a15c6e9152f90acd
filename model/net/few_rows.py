"""Products of few rows on CPU, as decoding makes them: bound by reading the weights, which are read once and as stored.

The compiled loops need numba, which comes with the data half of the package; without it, or on another device, the
ordinary products serve.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from typing import Any

import torch
from torch import Tensor

from model.net.threads import array, over_rows

#: (token, expert) pairs up to which a loop beats sorted products
FEW_SLOTS = 64
#: rows up to which `few_linear` beats a product with the matrix made whole again
FEW_ROWS = 32
_NO_SCALE = torch.empty(0, 0)


def is_compiled(x: Tensor) -> bool:
    """Whether the compiled loops take x: a CPU tensor that nobody is tracing."""
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.bfloat16) or torch.compiler.is_compiling():
        return False
    return _has_compiler()


@cache
def loops(name: str) -> Any:
    """The module of compiled loops model.net.NAME."""
    return importlib.import_module(f"model.net.{name}")


@cache
def _has_compiler() -> bool:
    return importlib.util.find_spec("numba") is not None


def takes_few(x: Tensor, experts: Tensor) -> bool:
    """Whether `few_experts` is the way to take: x [T, d], experts [T, k]."""
    return experts.numel() <= FEW_SLOTS and not torch.is_grad_enabled() and is_compiled(x)


def few_linear(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """x [M, K], weight [N, K] int8, scale [N] float32 -> x (weight * scale)^T, [M, N] in x's dtype."""
    kernels = loops("decode_loops")
    y = x.new_empty(len(x), len(weight))
    arrays = [array(t) for t in (x.float().contiguous(), weight, scale, y)]
    over_rows(kernels.linear, len(weight), 1, weight.numel() * len(x), *arrays)
    return y


def few_experts(
    x: Tensor,
    weights: Tensor,
    experts: Tensor,
    gate_up: Tensor,
    down: Tensor,
    gate_up_scale: Tensor = _NO_SCALE,
    down_scale: Tensor = _NO_SCALE,
) -> Tensor:
    """x [T, d], weights and experts [T, k] -> the weighted sum of the SwiGLU experts of each token, [T, d].

    gate_up [E, 2I, d] and down [E, d, I] are float32, bfloat16, or int8 with scales [E, 2I] and [E, d].
    """
    kernels = loops("decode_loops")
    chosen = experts.flatten().numpy()
    hidden = torch.empty(len(chosen), down.shape[2])
    y = torch.zeros(x.shape)
    rows, values = array(x.float().contiguous()), len(chosen) * down[0].numel()
    scales = [array(t) for t in (gate_up_scale, down_scale)]
    over_rows(
        kernels.experts_in,
        down.shape[2],
        1,
        2 * values,
        rows,
        chosen,
        array(gate_up),
        scales[0],
        hidden.numpy(),
    )
    shares = weights.float().flatten().numpy()
    arrays = (hidden.numpy(), shares, chosen, array(down), scales[1], y.numpy())
    over_rows(kernels.experts_out, x.shape[1], 1, values, *arrays)
    return y.to(x.dtype)
