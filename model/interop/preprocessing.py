"""preprocessor_config.json: how pictures and sounds become numbers, as the two families' processors read it.

Source: transformers 5.23, Qwen2VLImageProcessor and WhisperFeatureExtractor; the published files of both families.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.config import ImageConfig, ModelConfig
from model.data.audio import BINS, FFT, HOP, SAMPLE_RATE_HZ
from model.data.images import MERGE, PATCH, TEMPORAL
from schemas.errors import SluiceError

NAME = "preprocessor_config.json"

_IMAGE: dict[str, Any] = {
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "do_convert_rgb": True,
    "patch_size": PATCH,
    "temporal_patch_size": TEMPORAL,
    "merge_size": MERGE,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 3,
    "rescale_factor": 1 / 255,
}
_AUDIO = {"feature_size": BINS, "sampling_rate": SAMPLE_RATE_HZ, "hop_length": HOP, "n_fft": FFT}


def to_preprocessor(config: ModelConfig) -> dict[str, Any]:
    """The file's content for a model."""
    bounds = {"shortest_edge": config.image.min_pixels, "longest_edge": config.image.max_pixels}
    raw = {"image_processor_type": "Qwen2VLImageProcessor", "size": bounds, **_IMAGE}
    if config.variant == "vl":
        return {"processor_class": "Qwen3VLProcessor", **raw}
    clips = {"padding_side": "right", "padding_value": 0.0, "return_attention_mask": True, "dither": 0.0}
    return {
        "processor_class": "Qwen3OmniMoeProcessor",
        **raw,
        "feature_extractor_type": "WhisperFeatureExtractor",
        **_AUDIO,
        **clips,
        # the longest clip that padding to a fixed length would give; clips are padded to the longest of their batch
        "chunk_length": 300,
    }


def image_config(raw: Mapping[str, Any], where: str) -> ImageConfig:
    """The pixel bounds; raises SluiceError when pictures or sounds are to be prepared otherwise than here."""
    for key, value in (*_IMAGE.items(), *_AUDIO.items()):
        found = raw.get(key, value)
        same = abs(found - value) < 1e-9 if key == "rescale_factor" and isinstance(found, float) else found == value
        if not same:
            raise SluiceError(f"{where}: {key} is {found!r}; this model's preprocessing has {value!r}")
    size = raw.get("size")
    size = size if isinstance(size, Mapping) else {}
    default = ImageConfig()
    low = raw.get("min_pixels") or size.get("shortest_edge", size.get("min_pixels", default.min_pixels))
    high = raw.get("max_pixels") or size.get("longest_edge", size.get("max_pixels", default.max_pixels))
    if type(low) is not int or type(high) is not int or not 0 < low <= high:
        raise SluiceError(f"{where}: pictures of {low!r} to {high!r} pixels cannot be made")
    return ImageConfig(min_pixels=low, max_pixels=high)
