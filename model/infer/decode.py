"""Continuing a batch of prompts: one packed prefill, then one token a step for every sequence that is not finished."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.batch import Batch
from model.infer.cache import KvCache
from model.infer.sampling import Sampling, choose, penalise
from model.net.vlm import VisionLanguageModel


@torch.inference_mode()
def decode(
    model: VisionLanguageModel,
    batch: Batch,
    sampling: Sampling,
    generators: Sequence[torch.Generator],
    stops: Sequence[int],
    *,
    keep_stop: bool = False,
) -> list[list[int]]:
    """The new tokens of each document of `batch`; one generator a document.

    The one of `stops` that ended a document is among them only if they are kept.

    A sequence that has ended leaves the batch; what the others get does not change by it.
    """
    device = batch.tokens.device
    # the next position is one after the largest so far, on all axes: an image takes fewer positions than tokens
    position = torch.stack([p.max() for p in batch.positions.split(batch.lengths, dim=1)]) + 1
    cache = KvCache(model.config.text, len(batch.lengths), device)
    seen = _marked(batch, model.config.text.vocab_size) if sampling.repetition_penalty != 1 else None
    active = list(range(len(batch.lengths)))
    ending = frozenset(stops)
    outputs: list[list[int]] = [[] for _ in active]
    for _ in range(sampling.max_new_tokens):
        cache.begin(batch.lengths)
        logits = model.logits(batch, cache.layers, last_only=True)
        cache.commit()
        if seen is not None:
            logits = penalise(logits, seen, sampling.repetition_penalty)
        tokens = choose(logits, sampling, [generators[i] for i in active])
        written = tokens.tolist()
        rows = [row for row, token in enumerate(written) if token not in ending]
        for row in range(len(written)) if keep_stop else rows:
            outputs[active[row]].append(written[row])
        if not rows:
            break
        if len(rows) < len(active):
            keep = torch.tensor(rows, device=device)
            tokens, position = tokens[keep], position[keep]
            seen = None if seen is None else seen[keep]
            active = [active[row] for row in rows]
            cache.select(keep)
        if seen is not None:
            seen.scatter_(1, tokens[:, None], True)
        batch = Batch(tokens, position.expand(3, -1), (1,) * len(active))
        position = position + 1
    return outputs


def _marked(batch: Batch, vocab_size: int) -> Tensor:
    """[documents, vocab] bool: the tokens that each document holds."""
    seen = torch.zeros(len(batch.lengths), vocab_size, dtype=torch.bool, device=batch.tokens.device)
    for row, tokens in zip(seen, batch.tokens.split(batch.lengths), strict=True):
        row[tokens] = True
    return seen
