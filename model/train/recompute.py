"""Activation checkpointing (Chen et al. 2016): a layer keeps its input alone and is computed again when its gradient
is due. Memory for one more forward pass of the decoder."""

from __future__ import annotations

from functools import partial

from torch.utils.checkpoint import checkpoint

from model.net.vlm import VisionLanguageModel


def recompute_layers(model: VisionLanguageModel) -> None:
    """Makes every decoder layer recompute itself in the backward pass.

    The layer's own `forward` is replaced, not the layer wrapped, so that parameters keep their names.
    """
    for layer in model.model.language_model.layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
