"""Where the parameters of a model lie: all on the only rank, or in parts on several (model.train.parallel)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from model.train.gradients import global_norm


class Layout:
    """Of a model on one rank. Parameters go by name, and `part` is always what this rank holds."""

    def height(self, name: str) -> int:
        """Rows of the whole matrix of which ranks hold some each; 0 where matrices lie whole on a rank."""
        return 0

    def polar(self, stack: Tensor, height: int) -> Tensor:
        """Rows [k, m, n] of k matrices of `height` rows -> the same rows of their polar factors.

        Asked for where `height` is not 0: never of a model on one rank.
        """
        raise NotImplementedError

    def whole(self, name: str, part: Tensor) -> Tensor:
        """`part`, which lies as the parameter does, as part of one tensor of all ranks, as checkpoints need it."""
        return part

    def norm(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """The Euclidean norm, float32, of the gradients that all ranks hold together."""
        return global_norm(gradients)
