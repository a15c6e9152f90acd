"""What a model is and how it is trained."""

from model.config.presets import PRESETS, preset
from model.config.reading import from_dict, to_dict
from model.config.shape import (
    AudioConfig,
    ImageConfig,
    LayerType,
    ModelConfig,
    SpecialIds,
    TextConfig,
    VisionConfig,
    YarnConfig,
)
from model.config.training import (
    AdapterConfig,
    CaptionEvalConfig,
    GuardConfig,
    LoaderConfig,
    ObjectiveConfig,
    OptimizerConfig,
    ParallelConfig,
    Part,
    TrainConfig,
)

__all__ = [
    "PRESETS",
    "AdapterConfig",
    "AudioConfig",
    "CaptionEvalConfig",
    "GuardConfig",
    "ImageConfig",
    "LayerType",
    "LoaderConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "ParallelConfig",
    "Part",
    "SpecialIds",
    "TextConfig",
    "TrainConfig",
    "VisionConfig",
    "YarnConfig",
    "from_dict",
    "preset",
    "to_dict",
]
