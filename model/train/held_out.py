"""Loss on held-out sequences."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from model.batch import Batch
from model.net.vlm import VisionLanguageModel
from model.train.ranks import Ranks
from schemas.errors import SluiceError


# not inference mode: FSDP keeps what it gathers into for training
@torch.no_grad()
def held_out_loss(model: VisionLanguageModel, batches: Iterable[Batch], ranks: Ranks | None = None) -> float:
    """Mean loss a token, in nats, over all tokens of all ranks that carry loss; raises SluiceError without any.

    Without an adapter's dropout, which is of training alone.
    """
    total, tokens = 0.0, 0
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    for batch in batches:
        assert batch.targets is not None
        count = int((batch.targets >= 0).sum())
        total += float(model(batch.to(device)).language) * count
        tokens += count
    model.train(was_training)
    total, tokens = (ranks or Ranks()).sum(torch.tensor([total, tokens], dtype=torch.float64)).tolist()
    if not tokens:
        raise SluiceError("the held-out sequences have no token to score; hold out more of the data")
    return total / tokens
