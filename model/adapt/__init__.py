"""Low-rank adapters, and weights in fewer bits."""

from model.adapt.adapter_files import adapter_state, load_adapter, save_adapter
from model.adapt.lora import adapters_off, has_adapters, merge_adapters
from model.adapt.prepare import prepare
from model.adapt.quantise import Quantisation, quantise_model

__all__ = [
    "Quantisation",
    "adapter_state",
    "adapters_off",
    "has_adapters",
    "load_adapter",
    "merge_adapters",
    "prepare",
    "quantise_model",
    "save_adapter",
]
