"""What a model is and how it is trained: frozen dataclasses, presets, and a strict reader for their YAML or JSON form.

Field names are those of the published Qwen3-VL-MoE and Qwen3-Omni configurations, so that a config.json maps one to
one (transformers 5.23, models/qwen3_vl_moe/configuration_qwen3_vl_moe.py, models/qwen3_omni_moe/).
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from schemas.errors import RecipeError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The decoder. A layer is a mixture of experts unless `mlp_only_layers` or `decoder_sparse_step` make it dense."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    num_experts: int
    num_experts_per_tok: int
    moe_intermediate_size: int
    intermediate_size: int = 0
    decoder_sparse_step: int = 1
    mlp_only_layers: tuple[int, ...] = ()
    norm_topk_prob: bool = True
    rope_theta: float = 5_000_000.0
    mrope_section: tuple[int, ...] = (24, 20, 20)
    rms_norm_eps: float = 1e-6
    router_aux_loss_coef: float = 0.001
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False

    def is_moe(self, layer: int) -> bool:
        """Whether layer `layer` (from 0) is a mixture of experts."""
        sparse = self.num_experts > 0 and (layer + 1) % self.decoder_sparse_step == 0
        return sparse and layer not in self.mlp_only_layers


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """The vision tower; `num_position_embeddings` is the square of the learned table's side."""

    depth: int
    hidden_size: int
    num_heads: int
    intermediate_size: int
    out_hidden_size: int
    num_position_embeddings: int = 2304
    in_channels: int = 3
    patch_size: int = 16
    temporal_patch_size: int = 2
    spatial_merge_size: int = 2
    deepstack_visual_indexes: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AudioConfig:
    """The audio tower (AuT encoder): log-mel frames in, about 13 tokens a second out."""

    encoder_layers: int
    d_model: int
    encoder_attention_heads: int
    encoder_ffn_dim: int
    downsample_hidden_size: int
    output_dim: int
    num_mel_bins: int = 128
    n_window: int = 50
    n_window_infer: int = 800


@dataclass(frozen=True, kw_only=True)
class SpecialIds:
    """Token ids the model itself must know; -1 where the tokenizer has no such token."""

    end_of_text: int
    image_pad: int = -1
    vision_start: int = -1
    vision_end: int = -1
    audio_pad: int = -1
    audio_start: int = -1
    audio_end: int = -1


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """Pixel bounds of the preprocessing, as in the manifest of the data a model was trained on."""

    min_pixels: int = 65536
    max_pixels: int = 16777216


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A whole model: text decoder, and the towers it has."""

    text: TextConfig
    vision: VisionConfig | None
    audio: AudioConfig | None
    special: SpecialIds
    image: ImageConfig = ImageConfig()


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Muon for the hidden matrices, AdamW for the rest; the rate warms up linearly, then decays linearly.

    `matrix_learning_rate` 0 gives every parameter to AdamW (see model.train.optim for sources).
    """

    learning_rate: float = 2e-3
    matrix_learning_rate: float = 0.04
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    warmup_steps: int = 20
    #: the part of the run, at its end, over which the rate falls to zero
    decay_ratio: float = 0.6


@dataclass(frozen=True, kw_only=True)
class CaptionEvalConfig:
    """Scoring of captions against held-out pairs, at the end of a run."""

    #: a WebDataset tar of png/jpg + txt, or a folder of them; relative to the working directory
    path: str = ""
    max_images: int = 200
    max_new_tokens: int = 48


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run, as in recipes/train_nano.yaml. `model` names a preset."""

    train: int = 1
    name: str
    model: str = "nano"
    seed: int = 17
    steps: int
    batch_sequences: int
    #: how often an epoch holds documents with images or audio; those of text alone are held once
    media_repeats: int = 1
    holdout_ratio: float = 0.02
    #: held-out sequences scored at an evaluation, at most
    max_holdout_sequences: int = 32
    log_every_steps: int = 10
    evaluate_every_steps: int = 100
    checkpoint_every_steps: int = 100
    keep_checkpoints: int = 2
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    captions: CaptionEvalConfig = field(default_factory=CaptionEvalConfig)


def nano(vocab_size: int, special: SpecialIds, image: ImageConfig) -> ModelConfig:
    """A few million parameters: trains in minutes on two CPU cores."""
    return ModelConfig(
        text=TextConfig(
            vocab_size=vocab_size,
            hidden_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            num_experts=8,
            num_experts_per_tok=2,
            moe_intermediate_size=128,
            rope_theta=10_000.0,
            mrope_section=(6, 5, 5),
            router_aux_loss_coef=0.01,
            tie_word_embeddings=True,
        ),
        vision=VisionConfig(
            depth=3,
            hidden_size=128,
            num_heads=4,
            intermediate_size=384,
            out_hidden_size=128,
            num_position_embeddings=64,
            deepstack_visual_indexes=(0,),
        ),
        audio=AudioConfig(
            encoder_layers=2,
            d_model=96,
            encoder_attention_heads=4,
            encoder_ffn_dim=256,
            downsample_hidden_size=24,
            output_dim=128,
        ),
        special=special,
        image=image,
    )


PRESETS = {"nano": nano}


def preset(name: str, vocab_size: int, special: SpecialIds, image: ImageConfig) -> ModelConfig:
    """The preset `name`; raises RecipeError naming the ones that exist."""
    if name not in PRESETS:
        raise RecipeError(f"model: there is no preset {name!r}; choose one of {', '.join(sorted(PRESETS))}")
    return PRESETS[name](vocab_size, special, image)


def to_dict(config: Any) -> dict[str, Any]:
    """The plain form of a configuration, as it is written to config.json."""
    return dataclasses.asdict(config)


def from_dict(kind: type[T], raw: Any, where: str) -> T:
    """Builds a configuration from its plain form.

    Raises RecipeError that names the place, and the nearest valid key, for anything unknown, missing or of the
    wrong type.
    """
    if not isinstance(raw, Mapping):
        raise RecipeError(f"{where}: expected a mapping, got {raw!r}")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in raw:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(fields)}"
            raise RecipeError(f"{where}: {key!r} is not a setting; {hint}")
    values = {key: _convert(hints[key], value, f"{where}.{key}") for key, value in raw.items()}
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise RecipeError(f"{where}: {name!r} is missing")
    return kind(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return None if value is None else _convert(next(a for a in args if a is not types.NoneType), value, where)
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, where)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if hint is float and type(value) in (int, float):
        return float(value)
    if type(value) is hint:
        return value
    raise RecipeError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r}")
