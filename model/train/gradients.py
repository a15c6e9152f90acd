"""The gradients of one step: added up in float32 over its micro-batches, measured and clipped as one vector."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from model.train.ranks import local


class Gradients:
    """Gradients by parameter name, of what this rank holds of each.

    Those of float32 parameters stay where autograd adds them up; those of others are moved to float32 sums after each
    backward pass, so that small micro-batches are not rounded away.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._parameters = parameters
        self._sums: dict[str, Tensor] = {}

    @torch.no_grad()
    def collect(self) -> None:
        """Takes over what a backward pass has left."""
        for name, p in self._parameters.items():
            if p.grad is None or p.dtype == torch.float32:
                continue
            if name in self._sums:
                self._sums[name].add_(p.grad)
            else:
                self._sums[name] = p.grad.float()
            p.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """Float32 gradients of the parameters that took part; a tower whose modality was absent did not."""
        found = {n: self._sums.get(n, p.grad) for n, p in self._parameters.items()}
        return {name: local(grad) for name, grad in found.items() if grad is not None}

    def clear(self) -> None:
        """Forgets all gradients."""
        self._sums.clear()
        for p in self._parameters.values():
            p.grad = None


def global_norm(gradients: Mapping[str, Tensor]) -> Tensor:
    """The Euclidean norm of all gradients together, float32."""
    if not gradients:
        return torch.zeros(())
    return torch.stack(torch._foreach_norm(list(gradients.values()))).norm()


def clip_(gradients: Mapping[str, Tensor], norm: Tensor, max_norm: float) -> None:
    """Scales gradients of norm `norm` down to at most `max_norm`, in place."""
    if gradients:
        torch._foreach_mul_(list(gradients.values()), (max_norm / (norm + 1e-6)).clamp(max=1.0))


def not_finite(gradients: Mapping[str, Tensor]) -> list[str]:
    """Names of the parameters whose gradients hold an infinity or a NaN."""
    return [name for name, grad in gradients.items() if not bool(torch.isfinite(grad).all())]
