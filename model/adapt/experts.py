"""Experts whose weights are not plain parameters: each form says how one expert projects its rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.net.moe import Experts


class ProjectedExperts(Experts):
    """Routing, sorting and combining as in `Experts`; the two projections of an expert are the subclass's."""

    def __init__(self) -> None:
        nn.Module.__init__(self)  # no parameters of the plain form

    @abstractmethod
    def project(self, name: str, expert: int, rows: Tensor) -> Tensor:
        """rows [n, in] through `gate_up_proj` or `down_proj` of one expert -> [n, out]."""

    def compute(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """rows [N, d] sorted by expert, counts [E] of each -> [N, d]; an expert without rows is not touched."""
        outputs = []
        for expert, h in enumerate(rows.split(list(counts))):
            if len(h):
                gate, up = self.project("gate_up_proj", expert, h).chunk(2, dim=-1)
                outputs.append(self.project("down_proj", expert, F.silu(gate) * up))
        return torch.cat(outputs) if outputs else torch.empty_like(rows)
