"""A trained model with its decoder's matrices as integers.

Quantised are the linear layers and the experts of the decoder, where nearly all weights of a mixture of experts are.
Whole stay the embeddings and the head, the routers and norms, and the towers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn

from model.adapt.int4 import Int4Experts, Int4Linear
from model.adapt.int8 import Int8Experts, Int8Linear
from model.adapt.integers import MIN_GROUP, group_size
from model.adapt.places import projections, replace
from model.net.moe import Experts
from model.net.vlm import VisionLanguageModel
from schemas.errors import SluiceError

#: int8: weights alone, a scale a row. int4: weights alone, a scale a group. `dynamic`: activations as int8 too
Scheme = Literal["int8", "int8_dynamic", "int4", "int8_dynamic_int4"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)


@dataclass(frozen=True, kw_only=True)
class Quantisation:
    """How the weights of a checkpoint are stored; `group_size` is of the 4-bit schemes."""

    scheme: Scheme
    group_size: int = 32

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise SluiceError(f"there is no scheme {self.scheme!r}; choose one of {', '.join(SCHEMES)}")
        if self.group_size < MIN_GROUP or self.group_size % 2:
            raise SluiceError(f"group_size must be even and at least {MIN_GROUP}, got {self.group_size}")

    @property
    def dynamic(self) -> bool:
        """Whether activations are rounded to int8."""
        return "dynamic" in self.scheme

    def group(self, columns: int) -> int:
        """Columns of a group in a row of so many: `group_size`, or what of it divides; 0: the matrix stays whole."""
        fitting = group_size(columns, self.group_size)
        return fitting if fitting >= MIN_GROUP else 0


def quantise_model(model: VisionLanguageModel, how: Quantisation) -> None:
    """Replaces the decoder's matrices by their integers, in place; what QAT prepared is converted likewise.

    The model computes and generates as before, and cannot be trained any more.
    """
    for path, module in list(projections(model)):
        if isinstance(module, nn.Linear):
            replace(model, path, _linear(module, how))
        elif isinstance(module, Experts):
            replace(model, path, _experts(module, how))
    model.requires_grad_(False)


def _linear(module: nn.Linear, how: Quantisation) -> nn.Module:
    if "int4" not in how.scheme:
        return Int8Linear.of(module, dynamic=how.dynamic)
    group = how.group(module.in_features)
    return Int4Linear.of(module, group, dynamic=how.dynamic) if group else module


def _experts(module: Experts, how: Quantisation) -> Experts:
    if "int4" not in how.scheme:
        return Int8Experts.of(module, dynamic=how.dynamic)
    groups = how.group(module.gate_up_proj.shape[-1]), how.group(module.down_proj.shape[-1])
    return Int4Experts.of(module, groups, dynamic=how.dynamic) if all(groups) else module


def skeleton(model: VisionLanguageModel, how: Quantisation) -> None:
    """Gives a model on the meta device the shape that `quantise_model` would give it."""
    with torch.device("meta"):
        quantise_model(model, how)


def bytes_of(model: VisionLanguageModel) -> int:
    """Bytes of all parameters and buffers, a tied head counted once."""
    tensors = {id(t): t for t in [*model.parameters(), *model.buffers()]}
    return sum(t.numel() * t.element_size() for t in tensors.values())
