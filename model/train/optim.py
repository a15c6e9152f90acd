"""Muon for the hidden matrices, AdamW for embeddings, the router, norms and biases.

Muon (Jordan et al. 2024; scaling of Liu et al. 2025, "Muon is scalable for LLM training"): the momentum of a matrix
is replaced by the nearest semi-orthogonal one, found by a quintic Newton-Schulz iteration. Experts are a stack of
matrices and are treated one by one; a fused projection is one matrix, and so is a convolution with its kernel
flattened. That matters for the patch embedding: neighbouring pixels are alike, and Adam, which moves every weight by
the same amount, would move its answer to a flat patch by a thousand times as much.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from model.config import OptimizerConfig

_QUINTIC = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 5
_MUON_MOMENTUM = 0.95
_ADAM_EPS = 1e-8


def orthogonalise(x: Tensor) -> Tensor:
    """The approximate polar factor of x [..., m, n]: singular values between about 0.7 and 1.2."""
    a, b, c = _QUINTIC
    wide = x.shape[-2] > x.shape[-1]
    x = x.mT if wide else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if wide else x


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon applies: a matrix or convolution, or a stack of experts, between hidden states."""
    if "embed_tokens" in name or "pos_embed" in name or "lm_head" in name or ".gate.weight" in name:
        return False
    return parameter.ndim >= 2


class Optimizer:
    """Holds the state of every parameter by name; `learning_rate` factors come from outside, step by step."""

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], config: OptimizerConfig) -> None:
        self._config = config
        self._parameters = dict(named)
        self._state: dict[str, Tensor] = {}
        self.steps = 0
        for name, p in self._parameters.items():
            self._state[f"{name}/momentum"] = torch.zeros_like(p, requires_grad=False)
            if not self._by_muon(name, p):
                self._state[f"{name}/square"] = torch.zeros_like(p, requires_grad=False)

    def _by_muon(self, name: str, p: Tensor) -> bool:
        return self._config.matrix_learning_rate > 0 and is_hidden_matrix(name, p)

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for p in self._parameters.values():
            p.grad = None

    @torch.no_grad()
    def step(self, factor: float) -> float:
        """Clips the gradients to the configured norm and updates; returns the norm before clipping.

        Parameters without a gradient (a tower whose modality the batch lacks) are left alone.
        """
        config = self._config
        grads = {name: p.grad for name, p in self._parameters.items() if p.grad is not None}
        norm = torch.stack([g.norm() for g in grads.values()]).norm()
        scale = (config.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
        self.steps += 1
        for name, grad in grads.items():
            p = self._parameters[name]
            if self._by_muon(name, p):
                self._muon(name, p, grad * scale, factor)
            else:
                self._adam(name, p, grad * scale, factor)
        return float(norm)

    def _muon(self, name: str, p: Tensor, grad: Tensor, factor: float) -> None:
        momentum = self._state[f"{name}/momentum"]
        momentum.lerp_(grad, 1 - _MUON_MOMENTUM)
        update = grad.lerp(momentum, _MUON_MOMENTUM)
        matrices = update if "experts." in name else update.flatten(1)
        update = orthogonalise(matrices)
        rate = self._config.matrix_learning_rate * factor
        p.mul_(1 - rate * self._config.weight_decay)
        # a matrix of any shape gets an update of the same root mean square
        tall = max(1.0, matrices.shape[-2] / matrices.shape[-1])
        p.add_(update.view_as(p), alpha=-rate * tall**0.5)

    def _adam(self, name: str, p: Tensor, grad: Tensor, factor: float) -> None:
        first, second = self._config.betas
        momentum, square = self._state[f"{name}/momentum"], self._state[f"{name}/square"]
        momentum.lerp_(grad, 1 - first)
        square.mul_(second).addcmul_(grad, grad, value=1 - second)
        denominator = (square / (1 - second**self.steps)).sqrt_().add_(_ADAM_EPS)
        rate = self._config.learning_rate * factor
        if p.ndim > 1 and "embed" not in name:
            p.mul_(1 - rate * self._config.weight_decay)
        p.addcdiv_(momentum, denominator, value=-rate / (1 - first**self.steps))

    def state_tensors(self) -> dict[str, Tensor]:
        """The state by name, ready for safetensors."""
        return dict(self._state)

    def load_state_tensors(self, tensors: dict[str, Tensor], steps: int) -> None:
        """Restores what `state_tensors` returned; raises KeyError when a parameter's state is missing."""
        for key, tensor in self._state.items():
            tensor.copy_(tensors[key])
        self.steps = steps
