"""What `adapter` and `qat` of a training configuration make of a model before its optimizer is built."""

from __future__ import annotations

from model.adapt.lora import add_adapters
from model.adapt.qat import prepare_qat
from model.config import AdapterConfig
from model.net.vlm import VisionLanguageModel
from schemas.errors import RecipeError


def prepare(model: VisionLanguageModel, adapter: AdapterConfig, qat: str, seed: int = 0) -> None:
    """Changes `model` in place; afterwards what is trained is what has `requires_grad`.

    Adapters start from `seed` alone. Raises RecipeError for settings that do not go together, SluiceError for targets
    that the model does not have.
    """
    check(adapter, qat)
    if adapter.rank:
        add_adapters(model, adapter, seed)
    elif qat == "int8_dynamic_int4":
        prepare_qat(model)


def check(adapter: AdapterConfig, qat: str) -> None:
    """Raises RecipeError for settings out of range, and for those that do not go together."""
    if adapter.rank < 0 or adapter.alpha <= 0 or not 0 <= adapter.dropout < 1:
        raise RecipeError(
            "adapter: needs rank >= 0, alpha > 0 and dropout in [0, 1), got "
            f"{adapter.rank}, {adapter.alpha} and {adapter.dropout}"
        )
    if adapter.rank and not adapter.targets:
        raise RecipeError("adapter.targets: name at least one module, or leave the adapter out with rank: 0")
    if adapter.quantize != "none" and not adapter.rank:
        raise RecipeError(
            "adapter.quantize: quantised weights are frozen, so it needs an adapter to train: give a rank"
        )
    if qat != "none" and adapter.rank:
        raise RecipeError("qat trains the weights that an adapter freezes: choose one of the two")
