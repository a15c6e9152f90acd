"""What a changed model (quantised, say) does differently from the one it was made of, on text neither learned from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from model.batch import Batch
from model.net.vlm import VisionLanguageModel
from schemas.errors import SluiceError


@dataclass(frozen=True)
class Effect:
    """Means over the tokens that carry loss, in nats: both losses, and the divergence of `after` from `before`.

    `same_choice` is the share of them where both models find the same token likeliest.
    """

    loss_before: float
    loss_after: float
    divergence: float
    same_choice: float
    tokens: int


@torch.inference_mode()
def compare(before: VisionLanguageModel, after: VisionLanguageModel, batches: Iterable[Batch]) -> Effect:
    """Raises SluiceError when the batches hold no token to score."""
    sums, tokens = torch.zeros(4, dtype=torch.float64), 0
    for batch in batches:
        assert batch.targets is not None
        rows = (batch.targets >= 0).nonzero().flatten()
        targets = batch.targets[rows, None]
        p, q = (model.logits(batch)[rows].log_softmax(-1) for model in (before, after))
        parts = (-p.gather(1, targets), -q.gather(1, targets), p.exp() * (p - q), p.argmax(-1) == q.argmax(-1))
        sums += torch.stack([part.double().sum() for part in parts])
        tokens += len(rows)
    if not tokens:
        raise SluiceError("the held-out sequences have no token to score; give a dataset with more of them")
    loss_before, loss_after, divergence, same_choice = (sums / tokens).tolist()
    return Effect(loss_before, loss_after, divergence, same_choice, tokens)
