"""What a model is: frozen dataclasses for the decoder, the towers and the token ids they know.

Field names are those of the published Qwen3-VL-MoE and Qwen3-Omni configurations, so that a config.json maps one to
one (transformers 5.23, models/qwen3_vl_moe/configuration_qwen3_vl_moe.py, models/qwen3_omni_moe/).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from schemas.errors import RecipeError

LayerType = Literal["full_attention", "sliding_attention"]


def _require(rules: Iterable[tuple[bool, str]]) -> None:
    for holds, problem in rules:
        if not holds:
            raise RecipeError(f"model configuration: {problem}")


def _positive(config: object, *names: str) -> list[tuple[bool, str]]:
    return [(getattr(config, n) > 0, f"{n} is {getattr(config, n)}; it must be above 0") for n in names]


@dataclass(frozen=True, kw_only=True)
class YarnConfig:
    """Longer context than the model was trained with, by YaRN (Peng et al. 2023, arXiv 2309.00071).

    Names and defaults as in transformers' `rope_parameters` of type "yarn".
    """

    factor: float
    original_max_position_embeddings: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    #: multiplied into cosines and sines; by default 0.1 * ln(factor) + 1
    attention_factor: float | None = None
    truncate: bool = True

    def __post_init__(self) -> None:
        _require(_positive(self, "factor", "original_max_position_embeddings", "beta_fast", "beta_slow"))


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The decoder. A layer is a mixture of experts unless `mlp_only_layers` or `decoder_sparse_step` make it dense.

    `num_experts` 0 makes all layers dense. Raises RecipeError for shapes that contradict each other.
    """

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
    rope_scaling: YarnConfig | None = None
    mrope_section: tuple[int, ...] = (24, 20, 20)
    max_position_embeddings: int = 262_144
    #: tokens a query of a `sliding_attention` layer sees, itself included; 0: no such layers
    sliding_window: int = 0
    #: one for each layer, or empty: all see the whole document
    layer_types: tuple[LayerType, ...] = ()
    rms_norm_eps: float = 1e-6
    router_aux_loss_coef: float = 0.001
    #: weight of the router's z-loss, mean of logsumexp(logits)^2 (Zoph et al. 2022, ST-MoE, eq. 5)
    router_z_loss_coef: float = 0.0
    #: balancing without a loss (Wang et al. 2024, arXiv 2408.15664): a bias on the choice of experts, moved by this
    #: much a step towards an even load; 0: no bias
    router_bias_update_rate: float = 0.0
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
        _require(_positive(self, *sizes, "head_dim", "decoder_sparse_step", "rope_theta"))
        layers = range(self.num_hidden_layers)
        heads, groups, types = self.num_attention_heads, self.num_key_value_heads, len(self.layer_types)
        moe = any(self.is_moe(i) for i in layers)
        slides = "sliding_attention" in self.layer_types
        _require(
            [
                (heads % groups == 0, f"{heads} query heads cannot share {groups} key heads evenly"),
                (
                    len(self.mrope_section) == 3 and 2 * sum(self.mrope_section) == self.head_dim,
                    f"mrope_section {self.mrope_section} must be three numbers that add up to half of head_dim "
                    f"{self.head_dim}",
                ),
                (types in (0, len(layers)), f"layer_types names {types} layers of {len(layers)}; name all or none"),
                (not slides or self.sliding_window > 0, "sliding_attention layers need a sliding_window above 0"),
                (
                    not moe or 0 < self.num_experts_per_tok <= self.num_experts,
                    f"num_experts_per_tok is {self.num_experts_per_tok}, of {self.num_experts} experts",
                ),
                (not moe or self.moe_intermediate_size > 0, "moe_intermediate_size must be above 0"),
                (
                    self.intermediate_size > 0 or all(self.is_moe(i) for i in layers),
                    "dense layers need an intermediate_size above 0",
                ),
            ]
        )

    def is_moe(self, layer: int) -> bool:
        """Whether layer `layer` (from 0) is a mixture of experts."""
        sparse = self.num_experts > 0 and (layer + 1) % self.decoder_sparse_step == 0
        return sparse and layer not in self.mlp_only_layers

    def window(self, layer: int) -> int | None:
        """Tokens that layer `layer` looks back over, itself included; None for all of the document."""
        is_sliding = bool(self.layer_types) and self.layer_types[layer] == "sliding_attention"
        return self.sliding_window if is_sliding else None


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

    def __post_init__(self) -> None:
        sizes = ("depth", "hidden_size", "num_heads", "intermediate_size", "num_position_embeddings")
        _require(_positive(self, *sizes, "in_channels", "patch_size", "temporal_patch_size", "spatial_merge_size"))
        size, side = self.hidden_size, round(self.num_position_embeddings**0.5)
        _require(
            [
                (size % (4 * self.num_heads) == 0, f"vision hidden_size {size} is no multiple of 4 * num_heads"),
                (side**2 == self.num_position_embeddings, "num_position_embeddings must be a square"),
                (
                    all(0 <= i < self.depth for i in self.deepstack_visual_indexes),
                    f"deepstack_visual_indexes {self.deepstack_visual_indexes} name blocks that do not exist",
                ),
            ]
        )


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

    def __post_init__(self) -> None:
        sizes = ("encoder_layers", "d_model", "encoder_attention_heads", "encoder_ffn_dim", "downsample_hidden_size")
        _require(_positive(self, *sizes, "num_mel_bins"))
        heads = self.encoder_attention_heads
        _require(
            [
                (self.d_model % (2 * heads) == 0, f"audio d_model {self.d_model} is no multiple of 2 * heads"),
                # the count of a clip's placeholders is part of the data
                (self.n_window == 50, f"n_window is {self.n_window}; placeholders are counted for chunks of 2 * 50"),
                (self.n_window_infer >= 100, f"n_window_infer is {self.n_window_infer}; it must be at least 100"),
            ]
        )


@dataclass(frozen=True, kw_only=True)
class SpecialIds:
    """Token ids the model itself must know; -1 where the tokenizer has no such token."""

    end_of_text: int
    image_pad: int = -1
    video_pad: int = -1
    vision_start: int = -1
    vision_end: int = -1
    audio_pad: int = -1
    audio_start: int = -1
    audio_end: int = -1
    im_start: int = -1
    im_end: int = -1

    @property
    def stops(self) -> tuple[int, ...]:
        """The tokens that end what is generated: of a document, and of a message."""
        return tuple(token for token in (self.end_of_text, self.im_end) if token >= 0)


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """Pixel bounds of the preprocessing, as in the manifest of the data a model was trained on."""

    min_pixels: int = 65536
    max_pixels: int = 16777216


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A whole model: text decoder, and the towers it has. With an audio tower it is the `omni` variant, else `vl`."""

    text: TextConfig
    vision: VisionConfig | None
    audio: AudioConfig | None
    special: SpecialIds
    image: ImageConfig = ImageConfig()
    #: `omni`: how far the time position moves in a second of video; an audio token moves it by one
    position_id_per_seconds: int = 13

    def __post_init__(self) -> None:
        size = self.text.hidden_size
        if self.vision:
            _require(
                [
                    (
                        self.vision.out_hidden_size == size,
                        f"vision out_hidden_size must be the text's hidden_size, {size}",
                    )
                ]
            )
        if self.audio:
            _require([(self.audio.output_dim == size, f"audio output_dim must be the text's hidden_size, {size}")])

    @property
    def variant(self) -> Literal["vl", "omni"]:
        """Which published family it belongs to: Qwen3-VL-MoE, or the Qwen3-Omni thinker."""
        return "omni" if self.audio else "vl"
