"""A decoder layer for one new token a sequence, as a single compiled loop on CPU.

At this size a layer's time goes into starting its thirty operations, not into them. The loop reads the weights as they
are stored, float32, bfloat16 or int8 with scales, and keeps activations in float32.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from model.net.few_rows import is_compiled, loops
from model.net.moe import BIAS_UNIT, Experts, SparseMoe
from model.net.threads import array

#: sequences up to which reading the weights anew for each is cheaper
MAX_SEQUENCES = 4
#: parameters of a layer that one token meets; the loop runs on one thread
MAX_PARAMETERS = 1 << 22
_NOTHING = np.empty(0, np.float32)
_NOTHING_2D = np.empty((0, 0), np.float32)


class StepCache(Protocol):
    """Storage that the loop itself writes to."""

    @property
    def steps(self) -> bool:
        """Whether every sequence has one new token."""

    def storage(self) -> tuple[Tensor, Tensor, Tensor, int]:
        """keys, values [B, capacity, kv_heads, D], the row each new token goes to [B], and the window (0: none)."""


def layer_step(layer: Any, x: Tensor, rope: tuple[Tensor, Tensor], cache: StepCache) -> Tensor | None:
    """x [B, d] -> the layer's output [B, d]; None when the layer, its form or the batch is not for this loop."""
    if torch.is_grad_enabled() or len(x) > MAX_SEQUENCES or not cache.steps or not is_compiled(x):
        return None
    attention, moe = layer.self_attn, layer.mlp
    names = ("q_proj", "k_proj", "v_proj", "o_proj")
    linears = [_weights(getattr(attention, name)) for name in names]
    experts = _expert_weights(moe)
    if experts is None or any(w is None for w in linears) or not _fits(linears, experts, moe.gate.top_k):
        return None
    keys, values, places, window = cache.storage()
    norms = layer.input_layernorm, layer.post_attention_layernorm
    rows, y = x.float().contiguous(), torch.empty(x.shape)
    bias = moe.gate.bias
    loops("decode_loops").layer_step(
        rows.numpy(),
        y.numpy(),
        tuple(array(norm.weight) for norm in norms),
        np.float32(norms[0].eps),
        tuple(array(w[0]) for w in linears if w),
        tuple(array(w[1]) if w[1] is not None else _NOTHING for w in linears if w),
        (array(attention.q_norm.weight), array(attention.k_norm.weight)),
        *(array(table) for table in rope),
        array(keys),
        array(values),
        places.numpy(),
        window,
        array(moe.gate.weight),
        _NOTHING if bias is None else (bias.float() * BIAS_UNIT).numpy(),
        moe.gate.top_k,
        moe.gate.normalise,
        tuple(array(w) for w in experts[:2]),
        tuple(_NOTHING_2D if s is None else array(s) for s in experts[2:]),
    )
    return y.to(x.dtype)


def _weights(module: Any) -> tuple[Tensor, Tensor | None] | None:
    """The matrix of a linear layer and its scales; None for any other form."""
    if type(module) is nn.Linear:
        return None if module.bias is not None else (module.weight, None)
    return module.plain_integers() if hasattr(module, "plain_integers") else None


def _expert_weights(moe: nn.Module) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None] | None:
    if not isinstance(moe, SparseMoe):
        return None
    experts: Any = moe.experts
    if type(experts) is Experts:
        return experts.gate_up_proj, experts.down_proj, None, None
    return experts.plain_integers() if hasattr(experts, "plain_integers") else None


def _fits(linears: list[Any], experts: tuple[Any, ...], top_k: int) -> bool:
    met = sum(weight.numel() for weight, _ in linears) + top_k * sum(w[0].numel() for w in experts[:2])
    return met <= MAX_PARAMETERS or torch.get_num_threads() == 1
