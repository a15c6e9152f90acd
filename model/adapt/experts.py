"""Experts whose weights are not plain parameters: each form says how one expert projects its rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import TextConfig
from model.net.moe import Experts

#: the fused parameters of a layer's experts
PROJECTIONS = ("gate_up_proj", "down_proj")
#: (name of the projection, expert, rows [n, in]) -> [n, out]
Projector = Callable[[str, int, Tensor], Tensor]


class ProjectedExperts(Experts):
    """Routing, sorting and combining as in `Experts`; how an expert projects its rows is the subclass's."""

    #: [E, out, in] of each projection
    shapes: Mapping[str, tuple[int, int, int]]

    def __init__(self) -> None:
        nn.Module.__init__(self)  # no parameters of the plain form

    @abstractmethod
    def projector(self) -> Projector:
        """What projects rows through `gate_up_proj` or `down_proj` of one expert, for one forward pass."""

    def compute(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """rows [N, d] sorted by expert, counts [E] of each -> [N, d]; an expert without rows is not touched."""
        project = self.projector()
        outputs = []
        for expert, h in enumerate(rows.split(list(counts))):
            if len(h):
                gate, up = project("gate_up_proj", expert, h).chunk(2, dim=-1)
                outputs.append(project("down_proj", expert, F.silu(gate) * up))
        return torch.cat(outputs) if outputs else torch.empty_like(rows)


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
