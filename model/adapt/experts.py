"""Experts whose weights are not plain parameters: each form says how it projects the rows of all experts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import TextConfig
from model.net.moe import Experts

#: the fused parameters of a layer's experts
PROJECTIONS = ("gate_up_proj", "down_proj")


class ProjectedExperts(Experts):
    """Routing, sorting and combining as in `Experts`; how an expert projects its rows is the subclass's.

    `shapes` has [E, out, in] of each projection.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, int, int]]) -> None:
        nn.Module.__init__(self)  # no parameters of the plain form
        self.shapes = dict(shapes)
        self.num_experts = self.shapes["down_proj"][0]

    @abstractmethod
    def project(self, name: str, rows: Tensor, counts: Tensor) -> Tensor:
        """rows [N, in] sorted by expert, counts [E] -> [N, out] by `gate_up_proj` or `down_proj` of each expert."""

    def compute(self, rows: Tensor, counts: Tensor) -> Tensor:
        """rows [N, d] sorted by expert, counts [E] of each -> [N, d]."""
        gate, up = self.project("gate_up_proj", rows, counts).chunk(2, dim=-1)
        return self.project("down_proj", F.silu(gate) * up, counts)

    def each(self, name: str, rows: Tensor, counts: Tensor, product: Callable[[int, Tensor], Tensor]) -> Tensor:
        """The products of one expert at a time; an expert without rows is not touched."""
        groups = enumerate(rows.split(counts.tolist()))
        outputs = [product(expert, group) for expert, group in groups if len(group)]
        return torch.cat(outputs) if outputs else rows.new_zeros(0, self.shapes[name][1])


def shapes_of(experts: Experts) -> dict[str, tuple[int, int, int]]:
    """[E, out, in] of both projections, whatever form the experts have."""
    if isinstance(experts, ProjectedExperts):
        return experts.shapes
    return {name: tuple(weight.shape) for name, weight in plain_weights(experts).items()}  # type: ignore[misc]


def plain_weights(experts: Experts) -> dict[str, Tensor]:
    """The two fused parameters of plain experts."""
    return {name: getattr(experts, name).detach() for name in PROJECTIONS}


def plain_experts(config: TextConfig, weights: Mapping[str, Tensor]) -> Experts:
    """Plain experts with these weights."""
    with torch.device("meta"):
        made = Experts(config)
    for name in PROJECTIONS:
        setattr(made, name, nn.Parameter(weights[name]))
    return made
