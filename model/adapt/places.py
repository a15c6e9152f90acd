"""Which modules of a model can be adapted or quantised, by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from torch import nn

from model.net.moe import Experts
from model.net.vlm import VisionLanguageModel
from schemas.errors import SluiceError

DECODER = "model.language_model."
#: how a target names a module of a tower, and where the tower is
TOWERS = {"visual": "model.visual.", "audio_tower": "model.audio_tower."}


def projections(model: VisionLanguageModel) -> Iterator[tuple[str, nn.Module]]:
    """Linear layers and fused experts of the decoder, with their paths; not the head, not the routers."""
    for path, module in model.model.language_model.named_modules():
        if isinstance(module, nn.Linear | Experts):
            yield DECODER + path, module


def targeted(model: VisionLanguageModel, targets: Sequence[str]) -> list[str]:
    """Paths of the modules that `targets` name, in the model's order.

    `q_proj` names the decoder's modules of that name, `lm_head` the head, `visual.qkv` and `audio_tower.q_proj` those
    of a tower. Raises SluiceError for a target that names nothing, and for a head that is the embedding.
    """
    places: dict[str, list[str]] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear | Experts):
            places.setdefault(_short(path), []).append(path)
    for target in targets:
        if target not in places:
            near = difflib.get_close_matches(target, places, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(places))}"
            raise SluiceError(f"adapter.targets: the model has no module {target!r}; {hint}")
    if "lm_head" in targets and model.config.text.tie_word_embeddings:
        raise SluiceError(
            "adapter.targets: the head of this model is its embedding, so an adapter on 'lm_head' would change both; "
            "leave it out"
        )
    wanted = {path for target in targets for path in places[target]}
    return [path for path, _ in model.named_modules() if path in wanted]


def _short(path: str) -> str:
    """The name by which a target names a module: `q_proj` in the decoder, `visual.qkv` in a tower."""
    last = path.rpartition(".")[2]
    for name, prefix in TOWERS.items():
        if path.startswith(prefix):
            return f"{name}.{last}"
    return last


def replace(model: nn.Module, path: str, module: nn.Module) -> None:
    """Puts `module` where `path` is, in the mode (training or not) of what was there."""
    parent, _, name = path.rpartition(".")
    module.train(model.get_submodule(path).training)
    setattr(model.get_submodule(parent), name, module)
