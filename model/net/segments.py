"""Moving rows between the packed layout [T, …] and rectangular groups, without a scatter-add in the backward pass.

Scatter-adds on CPU either run row by row or use atomics, which makes gradients depend on thread timing; here every
packed row has exactly one live slot, so the backward pass is a gather too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return grad.index_select(0, inverse), None, None


def gather_rows(x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
    """x[index], where slot inverse[r] is the one live reader of row r.

    Other slots that read r are padding: whatever is computed from them must be thrown away, so their gradient is zero.
    """
    return _GatherRows.apply(x, index, inverse)


@dataclass(frozen=True)
class Segments:
    """A plan of segments grouped into rectangles: group g holds counts[g] segments of lengths[g] rows each.

    `index` [slots] names the packed row of each slot, `inverse` [T] the slot of each packed row. As kernels for
    segments of any length want it: `ends` [segments + 1] int32, from 0, and the length of the `longest`.
    """

    counts: tuple[int, ...]
    lengths: tuple[int, ...]
    index: Tensor
    inverse: Tensor
    ends: Tensor
    longest: int

    def split(self, x: Tensor) -> list[Tensor]:
        """x [T, …] -> one [count, length, …] a group."""
        slots = gather_rows(x, self.index, self.inverse)
        parts = slots.split([c * n for c, n in zip(self.counts, self.lengths, strict=True)])
        return [p.unflatten(0, (c, n)) for p, c, n in zip(parts, self.counts, self.lengths, strict=True)]

    def join(self, groups: Sequence[Tensor]) -> Tensor:
        """The inverse of `split`: groups [count, length, …] -> [T, …]; padding is dropped."""
        slots = torch.cat([g.flatten(0, 1) for g in groups])
        return _JoinRows.apply(slots, self.inverse)


class _JoinRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, slots: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        ctx.slots = slots.shape[0]
        return slots.index_select(0, inverse)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (inverse,) = ctx.saved_tensors
        full = grad.new_zeros((ctx.slots, *grad.shape[1:]))
        return full.index_copy_(0, inverse, grad), None


def _ceiling(length: int) -> int:
    """The next of 16, 24, 32, 48, 64, 96, …: few distinct shapes, at most a third of padding above 16 rows."""
    size = 16
    while size < length:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


def plan_segments(lengths: Sequence[int], device: torch.device, *, padded: bool) -> Segments:
    """Groups segments of `lengths`, laid end to end, by their length.

    With `padded`, lengths are rounded up so that there are few groups; the padding is at the right end, where causal
    attention never looks. Without, only segments of equal length share a group (full attention).
    """
    groups: dict[int, list[tuple[int, int]]] = defaultdict(list)
    start = 0
    for length in lengths:
        if length:
            groups[_ceiling(length) if padded else length].append((start, length))
        start += length
    index, inverse, slot = [], torch.empty(start, dtype=torch.int64), 0
    for size, members in groups.items():
        starts = torch.tensor([s for s, _ in members])
        ends = torch.tensor([s + n for s, n in members])
        rows = torch.minimum(starts[:, None] + torch.arange(size), ends[:, None] - 1)
        live = torch.arange(size) < (ends - starts)[:, None]
        slots = slot + torch.arange(rows.numel()).view_as(rows)
        inverse[rows[live]] = slots[live]
        index.append(rows.flatten())
        slot += rows.numel()
    ends = torch.tensor([0, *(n for n in lengths if n)]).cumsum(0)
    # everything in one copy
    parts = torch.cat([*index, inverse, ends]).to(device).split([slot, start, len(ends)])
    return Segments(
        counts=tuple(len(m) for m in groups.values()),
        lengths=tuple(groups),
        index=parts[0],
        inverse=parts[1],
        ends=parts[2].int(),
        longest=max(lengths, default=0),
    )
