"""What a configuration from a file must keep to beyond what model.config checks: sane sizes, our preprocessing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from model.config import ModelConfig
from model.data.audio import BINS
from model.data.images import MERGE, PATCH, TEMPORAL
from schemas.errors import SluiceError

#: far above any model there is; a number beyond it is an accident or an attack. Three of them multiplied fit 64 bits
_LARGEST = 1 << 20
#: for what is counted in layers, and what sizes nothing
_LARGEST_OF = dict.fromkeys(("num_hidden_layers", "depth", "encoder_layers"), 1024) | dict.fromkeys(
    ("max_position_embeddings", "original_max_position_embeddings", "rope_theta", "min_pixels", "max_pixels"), 1 << 40
)


def check_numbers(plain: Mapping[str, Any], where: str) -> None:
    """Raises SluiceError naming a number of a plain configuration that is none, or too large for any model."""
    for place, value in _numbers(plain, ""):
        largest = _LARGEST_OF.get(place.rpartition(".")[2], _LARGEST)
        if isinstance(value, float) and not math.isfinite(value):
            raise SluiceError(f"{where}: {place} is {value}, which is no number")
        if isinstance(value, int) and not -1 <= value <= largest:
            raise SluiceError(f"{where}: {place} is {str(value)[:40]}; no model has more than {largest}")


def check_preprocessing(config: ModelConfig, where: str) -> None:
    """Raises SluiceError when a model wants pictures or sounds otherwise than they are made here."""
    vision, audio = config.vision, config.audio
    if vision:
        cut = (vision.in_channels, vision.patch_size, vision.temporal_patch_size, vision.spatial_merge_size)
        if cut != (3, PATCH, TEMPORAL, MERGE):
            raise SluiceError(
                f"{where}: images are cut into {PATCH} px RGB patches of {TEMPORAL} frames merged {MERGE} by {MERGE}, "
                f"not (channels, px, frames, merged) {cut}"
            )
        if len(vision.deepstack_visual_indexes) > config.text.num_hidden_layers:
            raise SluiceError(f"{where}: there are more deepstack_visual_indexes than decoder layers to add them to")
    if audio and audio.num_mel_bins != BINS:
        raise SluiceError(f"{where}: audio comes in {BINS} mel bands, not {audio.num_mel_bins}")


def _numbers(value: Any, place: str) -> list[tuple[str, int | float]]:
    """All numbers of a plain configuration, with where they stand."""
    if isinstance(value, Mapping):
        return [n for key, part in value.items() for n in _numbers(part, f"{place}.{key}" if place else str(key))]
    if isinstance(value, list | tuple):
        return [n for part in value for n in _numbers(part, place)]
    return [(place, value)] if type(value) in (int, float) else []
