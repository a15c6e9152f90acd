"""The processes that share a run, as far as the loop knows them; one alone is all of them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """This process is number `rank` of `count`. What spreads a run over several overrides `sum`."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def sum(self, x: Tensor) -> Tensor:
        """The sum of `x` over all ranks, equal on all of them to the bit."""
        return x
