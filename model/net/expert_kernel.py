"""The products of a mixture of experts: rows sorted by expert in, rows out, with hand-written gradients.

`F.grouped_mm` multiplies each expert's rows by its own matrix in one call, forward and backward, on CPU and GPU. Around
it, rows move by gathers and sums over a token's slots (`embedding_bag`), never by scatter-adds, whose order would
depend on thread timing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: oneDNN builds a kernel for each row count it meets; bfloat16 segments are padded to multiples of this many
SEGMENT_ROWS = 64


@dataclass(frozen=True)
class Slots:
    """Where the k copies of each token go: rows sorted by expert, perhaps with padding at the end of an expert's.

    `tokens` [N] names the token of each row, `places` [T, k] the row of each token's slot, `counts` [E] the rows of
    each expert (padding included, which holds copies of token 0 that no slot points to).
    """

    tokens: Tensor
    places: Tensor
    counts: Tensor


def count_experts(experts: Tensor, num_experts: int) -> Tensor:
    """How often each expert is chosen, [E]."""
    if experts.device.type == "cpu":
        return torch.bincount(experts.flatten(), minlength=num_experts)
    # on a GPU `bincount` waits for the largest value; whole numbers add up to the same in any order
    ones = torch.ones_like(experts.flatten())
    return ones.new_zeros(num_experts).scatter_add_(0, experts.flatten(), ones)


def plan_slots(experts: Tensor, num_experts: int, multiple: int = 1) -> Slots:
    """experts [T, k] -> where each (token, slot) goes when every expert's rows are padded to a multiple."""
    flat = experts.flatten()
    order = flat.argsort(stable=True)
    counts = count_experts(flat, num_experts)
    ranks = torch.arange(len(order), device=order.device)
    tokens = order.div(experts.shape[1], rounding_mode="floor")
    if multiple > 1:
        padded = counts.add(multiple - 1).div_(multiple, rounding_mode="floor").mul_(multiple)
        shift = (padded - counts).cumsum(0) - (padded - counts)
        ranks = ranks + shift.index_select(0, flat.index_select(0, order))
        tokens = tokens.new_zeros(int(padded.sum())).index_copy_(0, ranks, tokens)
        counts = padded
    places = torch.empty_like(order).index_copy_(0, order, ranks)
    return Slots(tokens, places.view_as(experts), counts)


class _Dispatch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        return x.index_select(0, tokens)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return F.embedding_bag(places, grad, mode="sum"), None, None


class _Combine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weights, tokens, places)
        return F.embedding_bag(places, rows, mode="sum", per_sample_weights=weights)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        rows, weights, tokens, places = ctx.saved_tensors
        grad = grad.contiguous()
        slots = places.flatten()
        # padding weighs nothing
        row_weights = weights.new_zeros(len(tokens)).index_copy_(0, slots, weights.flatten())
        grad_rows = grad.index_select(0, tokens).mul_(row_weights[:, None])
        return grad_rows, slot_products(grad, rows, places), None, None


def slot_products(grad: Tensor, rows: Tensor, places: Tensor) -> Tensor:
    """grad [T, d], rows [N, d], places [T, k] -> [T, k], the product of each slot's row with its token's gradient."""
    slots = places.flatten()
    if rows.device.type != "cpu":  # the operator below has no bfloat16 form there
        return torch.bmm(rows.index_select(0, slots).unflatten(0, places.shape), grad[:, :, None]).squeeze(2)
    ends = torch.arange(0, len(slots), places.shape[1])
    bags = torch.arange(len(slots)).div_(places.shape[1], rounding_mode="floor")
    products = torch.ops.aten._embedding_bag_per_sample_weights_backward(grad, rows, slots, ends, bags, 0)
    return products.view(places.shape)


def dispatch(x: Tensor, slots: Slots) -> Tensor:
    """x [T, d] -> [N, d], the rows of each expert together."""
    return _Dispatch.apply(x, slots.tokens, slots.places)


def combine(rows: Tensor, weights: Tensor, slots: Slots) -> Tensor:
    """rows [N, d], weights [T, k] -> the weighted sum of each token's slots, [T, d]."""
    return _Combine.apply(rows, weights, slots.tokens, slots.places)


class _SwiGluExperts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, gate_up: Tensor, down: Tensor, ends: Tensor) -> Tensor:
        hidden = grouped_product(rows, gate_up.mT, ends)
        gate, up = hidden.chunk(2, dim=-1)
        ctx.save_for_backward(rows, gate_up, down, ends, hidden)
        return grouped_product(F.silu(gate).mul_(up), down.mT, ends)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        rows, gate_up, down, ends, hidden = ctx.saved_tensors
        gate, up = hidden.chunk(2, dim=-1)
        activated = F.silu(gate)
        grad_product = grouped_product(grad, down, ends)
        grad_hidden = torch.empty_like(hidden)
        grad_gate, grad_up = grad_hidden.chunk(2, dim=-1)
        torch.mul(grad_product, activated, out=grad_up)
        torch.ops.aten.silu_backward.grad_input(grad_product.mul_(up), gate, grad_input=grad_gate)
        grad_rows = grouped_product(grad_hidden, gate_up, ends) if ctx.needs_input_grad[0] else None
        grad_gate_up = grouped_outer(grad_hidden, rows, ends) if ctx.needs_input_grad[1] else None
        grad_down = grouped_outer(grad, activated.mul_(up), ends) if ctx.needs_input_grad[2] else None
        return grad_rows, grad_gate_up, grad_down, None


def swiglu_experts(rows: Tensor, gate_up: Tensor, down: Tensor, counts: Tensor) -> Tensor:
    """rows [N, d] sorted by expert, counts [E] -> down(silu(gate(rows)) * up(rows)) of each row's expert, [N, d].

    gate_up [E, 2I, d] holds the gate's rows first, down is [E, d, I].
    """
    return _SwiGluExperts.apply(rows, gate_up, down, counts.cumsum(0, dtype=torch.int32))


def grouped_product(rows: Tensor, matrices: Tensor, ends: Tensor) -> Tensor:
    """rows [N, m] in groups that end at `ends` [E], matrices [E, m, n] -> each group times its matrix, [N, n]."""
    if _has_kernel(rows.dtype, *matrices.shape[1:]):
        return F.grouped_mm(rows, matrices, offs=ends)
    groups = rows.tensor_split(ends[:-1].cpu().long())
    return torch.cat([group @ matrix for group, matrix in zip(groups, matrices.unbind(), strict=True)])


def grouped_outer(left: Tensor, right: Tensor, ends: Tensor) -> Tensor:
    """left [N, m], right [N, n] in groups that end at `ends` [E] -> left^T right of each group, [E, m, n]."""
    if _has_kernel(left.dtype, left.shape[1], right.shape[1]):
        return F.grouped_mm(left.mT, right, offs=ends)
    groups = zip(left.tensor_split(ends[:-1].cpu().long()), right.tensor_split(ends[:-1].cpu().long()), strict=True)
    return torch.stack([a.mT @ b for a, b in groups])


def _has_kernel(dtype: torch.dtype, *widths: int) -> bool:
    """Whether `grouped_mm` takes rows of these widths: no float64, and every row starts at a multiple of 16 bytes."""
    return dtype != torch.float64 and all(n * dtype.itemsize % 16 == 0 for n in widths)
