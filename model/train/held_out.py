"""Loss on held-out sequences."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from model.batch import Batch
from model.net.vlm import VisionLanguageModel
from schemas.errors import SluiceError


@torch.inference_mode()
def held_out_loss(model: VisionLanguageModel, batches: Iterable[Batch]) -> float:
    """Mean loss a token, in nats, over all tokens that carry loss; raises SluiceError when there are none."""
    total, tokens = 0.0, 0
    for batch in batches:
        assert batch.targets is not None
        count = int((batch.targets >= 0).sum())
        total += float(model(batch).language) * count
        tokens += count
    if not tokens:
        raise SluiceError("the held-out sequences have no token to score; hold out more of the data")
    return total / tokens
