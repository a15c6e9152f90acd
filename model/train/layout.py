"""Where the parameters of a model lie: all on the only rank, or in parts on several (model.train.parallel)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def local(tensor: Tensor) -> Tensor:
    """What this rank holds of a tensor, as a view; of a plain one, all of it."""
    part: Any = getattr(tensor, "to_local", None)
    return tensor if part is None else part()


class Layout:
    """Of a model on one rank. Parameters go by name, and `part` is always what this rank holds."""

    def height(self, name: str) -> int:
        """Rows of the whole matrix of which ranks hold some each; 0 where matrices lie whole on a rank."""
        return 0

    def polar(self, stack: Tensor, height: int) -> Tensor:
        """Rows [k, m, n] of k matrices of `height` rows -> the same rows of their polar factors."""
        raise NotImplementedError

    def whole(self, name: str, part: Tensor) -> Tensor:
        """`part`, which lies as the parameter does, as part of one tensor of all ranks, as checkpoints need it."""
        return part

    def norm(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """The Euclidean norm, float32, of the gradients that all ranks hold together."""
        if not gradients:
            return torch.zeros(())
        return torch.stack(torch._foreach_norm(list(gradients.values()))).norm()
