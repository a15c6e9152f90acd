"""The optimizer of a run: Muon for the hidden matrices, AdamW for embeddings, the router, norms, biases and adapters.

Weights are updated in float32. A parameter of lower precision is a rounded copy of its master weight, which is part
of the state: updates too small for bfloat16 add up there.

Weight decay is decoupled and scaled by the rate. It applies to every matrix and convolution, the router and an untied
head among them; not to embeddings (a token that does not occur would fade), norms and biases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from model.config import OptimizerConfig
from model.train.adamw import AdamState, adamw_
from model.train.layout import Layout
from model.train.muon import muon_, products_dtype
from model.train.ranks import local


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon applies: a matrix or convolution, or a stack of experts, between hidden states.

    Not to the factors of an adapter: what is updated is B A, and orthogonal updates of A and B give it none. A's
    gradient is zero at first and then as small as B, which Muon would blow up to full size.
    """
    if "embed_tokens" in name or "pos_embed" in name or "lm_head" in name or ".gate.weight" in name:
        return False
    if name.rpartition(".")[2].startswith("lora_"):
        return False
    return parameter.ndim >= 2


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies."""
    return parameter.ndim >= 2 and "embed_tokens" not in name and "pos_embed" not in name


class Optimizer:
    """Holds the state of every trained parameter by name; `learning_rate` factors come from outside, step by step.

    Of parameters that lie in parts on several ranks, each rank updates its own.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        config: OptimizerConfig,
        layout: Layout | None = None,
    ) -> None:
        self._config, self._layout = config, layout or Layout()
        self.parameters = {name: p for name, p in named if p.requires_grad}
        self._by_muon = {
            name for name, p in self.parameters.items() if config.matrix_learning_rate > 0 and is_hidden_matrix(name, p)
        }
        device = next((p.device for p in self.parameters.values()), torch.device("cpu"))
        self._products = products_dtype(config.matrix_precision, device)
        self._state: dict[str, Tensor] = {}
        for name, whole in self.parameters.items():
            p = local(whole)
            if p.dtype != torch.float32:
                self._state[f"{name}/master"] = p.detach().float()
            self._state[f"{name}/momentum"] = torch.zeros_like(p, dtype=torch.float32, requires_grad=False)
            if name not in self._by_muon:
                self._state[f"{name}/square"] = torch.zeros_like(p, dtype=torch.float32, requires_grad=False)
                self._state[f"{name}/step"] = torch.zeros((), dtype=torch.float32, device=p.device)

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor], factor: float) -> None:
        """Updates the parameters that have a gradient, at `factor` of the peak rates; the others are left alone.

        `gradients` are float32, clipped already.
        """
        config = self._config
        matrices = [name for name in gradients if name in self._by_muon]
        muon_(
            [self._weight(name) for name in matrices],
            [gradients[name] for name in matrices],
            [self._state[f"{name}/momentum"] for name in matrices],
            rate=config.matrix_learning_rate * factor,
            weight_decay=config.weight_decay,
            dtype=self._products,
            heights=[self._layout.height(name) for name in matrices],
            polar=self._layout.polar,
        )
        others = [name for name in gradients if name not in self._by_muon]
        for decayed in (True, False):
            names = [name for name in others if decays(name, self.parameters[name]) == decayed]
            adamw_(
                [self._weight(name) for name in names],
                [gradients[name] for name in names],
                [self._adam_state(name) for name in names],
                rate=config.learning_rate * factor,
                betas=config.betas,
                weight_decay=config.weight_decay if decayed else 0.0,
            )
        for name in gradients:
            if f"{name}/master" in self._state:
                self.parameters[name].copy_(self._state[f"{name}/master"])

    def _weight(self, name: str) -> Tensor:
        """What is updated: the master weight, or the parameter where it is float32 itself."""
        return self._state.get(f"{name}/master", local(self.parameters[name]))

    def _adam_state(self, name: str) -> AdamState:
        return AdamState(*(self._state[f"{name}/{part}"] for part in ("momentum", "square", "step")))

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """The float32 weights of the trained parameters, of which those of the model are copies."""
        return {name: self._weight(name) for name in self.parameters}

    def state_tensors(self) -> dict[str, Tensor]:
        """All that is kept, by NAME/WHAT; NAME/master is the weight itself."""
        return dict(self._state)

    @torch.no_grad()
    def copy_weights(self) -> None:
        """Rounds the float32 weights into the model."""
        for name, p in self.parameters.items():
            if f"{name}/master" in self._state:
                p.copy_(self._state[f"{name}/master"])
