"""Low-rank adapters, and weights in fewer bits."""

from model.adapt.lora import merge_adapters
from model.adapt.prepare import prepare

__all__ = ["merge_adapters", "prepare"]
