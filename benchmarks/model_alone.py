"""Two training steps of one side, for its peak memory: python -m benchmarks.model_alone SIDE PRECISION."""

from __future__ import annotations

import sys

import torch

from benchmarks.model import BUDGET, PRECISIONS
from benchmarks.model_documents import drawn
from benchmarks.model_pair import SMALL, pair
from benchmarks.model_work import Training


def main(side: str, precision: str) -> None:
    """Both models are there, so that they count alike for all sides."""
    torch.set_num_threads(1)
    device = torch.device("cpu")
    models = pair(SMALL, PRECISIONS[precision], device)
    documents = drawn(BUDGET["cpu"], SMALL.vocab_size, 0)
    step = getattr(Training(models, [documents], device), side)
    for _ in range(2):
        step()


if __name__ == "__main__":
    main(*sys.argv[1:])
