"""Muon (Jordan et al. 2024; scaling of Liu et al. 2025, "Muon is scalable for LLM training").

The momentum of a matrix is replaced by the nearest semi-orthogonal one, found by a quintic Newton-Schulz iteration.
Experts are a stack of matrices and are treated one by one; a fused projection is one matrix, and so is a convolution
with its kernel flattened. That matters for the patch embedding: neighbouring pixels are alike, and Adam, which moves
every weight by the same amount, would move its answer to a flat patch by a thousand times as much.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

MOMENTUM = 0.95
_QUINTIC = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 5
#: matrices of one shape are orthogonalised together, as long as their stack stays below this
_STACK_BYTES = 256 << 20


def products_dtype(precision: str, device: torch.device) -> torch.dtype:
    """What the Newton-Schulz products are made in: `precision`, or for "auto" what the device multiplies fastest.

    The iteration corrects its own rounding, so bfloat16 costs no quality (Jordan et al. 2024); a processor without
    instructions for it takes many times as long, so there it is not the choice.
    """
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return torch.bfloat16 if able.get("amx_bf16") or able.get("avx512_bf16") else torch.float32
    return torch.bfloat16


def orthogonalise(x: Tensor) -> Tensor:
    """The approximate polar factor of each x [k, m, n], in x's dtype: singular values between about 0.7 and 1.2."""
    a, b, c = _QUINTIC
    wide = x.shape[-2] > x.shape[-1]
    x = x.mT if wide else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        # scaled sums are made by the products: on CPU this halves the time
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if wide else x


def muon_(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    momenta: Sequence[Tensor],
    *,
    rate: float,
    weight_decay: float,
    dtype: torch.dtype,
    heights: Sequence[int] | None = None,
    polar: Callable[[Tensor, int], Tensor] | None = None,
) -> None:
    """Updates float32 parameters and momenta in place; `dtype` is that of the Newton-Schulz products.

    A parameter [m, n] is a matrix, [E, m, n] a stack of them; of higher rank, a convolution [m, …].

    Where matrices lie cut over ranks, `heights` are the rows of the whole ones, 0 for a stack, which is not cut; and
    `polar(rows [k, m, n], height)` gives the same rows of the polar factors of k whole matrices. Every rank then calls
    it equally often, with the same k and height.
    """
    if not parameters:
        return
    torch._foreach_lerp_(list(momenta), list(gradients), 1 - MOMENTUM)
    updates = torch._foreach_lerp(list(gradients), list(momenta), MOMENTUM)
    torch._foreach_mul_(list(parameters), 1 - rate * weight_decay)
    for members, height in _alike([_matrices(p) for p in parameters], heights or [0] * len(parameters)):
        stack = torch.cat([_matrices(updates[i]) for i in members])
        m, n = height or stack.shape[1], stack.shape[2]
        whole = orthogonalise(stack.to(dtype)) if not (polar and height) else polar(stack.to(dtype), height)
        # a matrix of any shape gets an update of the same root mean square
        step = whole.float().mul_(-rate * max(1.0, m / n) ** 0.5)
        parts = step.split([len(_matrices(updates[i])) for i in members])
        for i, part in zip(members, parts, strict=True):
            parameters[i].add_(part.view_as(parameters[i]))


def _matrices(x: Tensor) -> Tensor:
    """A parameter as a stack [k, m, n]."""
    return x if x.ndim == 3 else x.flatten(1)[None]


def _alike(stacks: Sequence[Tensor], heights: Sequence[int]) -> Iterator[tuple[list[int], int]]:
    """Indices of stacks whose matrices have one shape, as many at a time as the bound allows, and their height."""
    by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, stack in enumerate(stacks):
        by_shape[(heights[i], *stack.shape[1:])].append(i)
    for (height, rows, width), members in by_shape.items():
        group: list[int] = []
        size = 0
        for i in members:
            # of whole matrices, so that all ranks that hold parts of them come to the same groups
            nbytes = len(stacks[i]) * (height or rows) * width * 4
            if group and size + nbytes > _STACK_BYTES:
                yield group, height
                group, size = [], 0
            group.append(i)
            size += nbytes
        yield group, height
