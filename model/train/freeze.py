"""Which parameters are trained, by the part of the model they belong to.

A frozen tower builds no graph: none of its inputs needs a gradient, so autograd records nothing and keeps no
activations. A decoder that is frozen between trained projectors and the loss does pass gradients on, but makes none
for its own weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from model.config import Part
from model.net.vlm import VisionLanguageModel
from schemas.errors import SluiceError

#: by the first prefix that fits: what maps a tower's features to the decoder's width is a projector
_PREFIXES: tuple[tuple[str, Part], ...] = (
    ("lm_head.", "head"),
    ("model.language_model.embed_tokens.", "embeddings"),
    ("model.language_model.", "decoder"),
    ("model.visual.merger.", "projectors"),
    ("model.visual.deepstack_merger_list.", "projectors"),
    ("model.visual.", "vision"),
    ("model.audio_tower.ln_post.", "projectors"),
    ("model.audio_tower.proj1.", "projectors"),
    ("model.audio_tower.proj2.", "projectors"),
    ("model.audio_tower.", "audio"),
)


def part_of(name: str) -> Part:
    """The part a parameter belongs to, by its name; a tied head is the embedding and has no name of its own."""
    return next(part for prefix, part in _PREFIXES if name.startswith(prefix))


def freeze(model: VisionLanguageModel, parts: Sequence[Part]) -> None:
    """Leaves gradients to the parameters of `parts` alone.

    Raises SluiceError when that leaves none, or when a tied head is to be trained without the embedding it is.
    """
    if model.config.text.tie_word_embeddings and "head" in parts and "embeddings" not in parts:
        raise SluiceError("train_parts: this model's head is its embedding; name both, or neither")
    trained = 0
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) in parts)
        trained += parameter.requires_grad
    if not trained:
        raise SluiceError(f"train_parts: the model has no parameter in {', '.join(parts) or 'an empty list'}")
