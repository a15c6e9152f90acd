"""Models by name: nano, small, and the shapes of the published 30B-A3B checkpoints."""

from __future__ import annotations

from typing import Any

from model.config.shape import (
    AudioConfig,
    ImageConfig,
    ModelConfig,
    SpecialIds,
    TextConfig,
    VisionConfig,
)
from schemas.errors import RecipeError


def nano(vocab_size: int, special: SpecialIds, image: ImageConfig) -> ModelConfig:
    """A few million parameters: trains in minutes on two CPU cores."""
    return ModelConfig(
        text=TextConfig(
            vocab_size=vocab_size,
            hidden_size=128,
            num_hidden_layers=3,
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
            hidden_size=64,
            num_heads=4,
            intermediate_size=192,
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


def small(vocab_size: int, special: SpecialIds, image: ImageConfig) -> ModelConfig:
    """146 million parameters, 35 active a token, at a vocabulary of 32,768: for one GPU, or patience.

    Fine-grained experts and coefficients of both routing losses as OLMoE's (Muennighoff et al. 2024, section 2).
    """
    return ModelConfig(
        text=TextConfig(
            vocab_size=vocab_size,
            hidden_size=512,
            num_hidden_layers=8,
            num_attention_heads=8,
            num_key_value_heads=2,
            head_dim=64,
            num_experts=32,
            num_experts_per_tok=4,
            moe_intermediate_size=256,
            rope_theta=500_000.0,
            mrope_section=(12, 10, 10),
            max_position_embeddings=32_768,
            router_aux_loss_coef=0.01,
            router_z_loss_coef=0.001,
            tie_word_embeddings=True,
        ),
        vision=VisionConfig(
            depth=8,
            hidden_size=320,
            num_heads=5,
            intermediate_size=1280,
            out_hidden_size=512,
            num_position_embeddings=576,
            deepstack_visual_indexes=(2, 5),
        ),
        audio=AudioConfig(
            encoder_layers=6,
            d_model=256,
            encoder_attention_heads=4,
            encoder_ffn_dim=1024,
            downsample_hidden_size=96,
            output_dim=512,
        ),
        special=special,
        image=image,
    )


def qwen3_vl_30b_a3b(vocab_size: int, special: SpecialIds, image: ImageConfig) -> ModelConfig:
    """The shape of Qwen3-VL-30B-A3B."""
    text = TextConfig(
        vocab_size=_rows(vocab_size, special, 151_936),
        intermediate_size=6144,
        rope_theta=5_000_000.0,
        max_position_embeddings=262_144,
        **_DECODER_30B_A3B,
    )
    return ModelConfig(text=text, vision=_VISION, audio=None, special=special, image=image)


def qwen3_omni_30b_a3b_thinker(vocab_size: int, special: SpecialIds, image: ImageConfig) -> ModelConfig:
    """The shape of Qwen3-Omni-30B-A3B's thinker."""
    text = TextConfig(
        vocab_size=_rows(vocab_size, special, 152_064),
        intermediate_size=768,
        rope_theta=1_000_000.0,
        max_position_embeddings=65_536,
        **_DECODER_30B_A3B,
    )
    audio = AudioConfig(
        encoder_layers=32,
        d_model=1280,
        encoder_attention_heads=20,
        encoder_ffn_dim=5120,
        downsample_hidden_size=480,
        output_dim=2048,
    )
    return ModelConfig(text=text, vision=_VISION, audio=audio, special=special, image=image)


_DECODER_30B_A3B: dict[str, Any] = {
    "hidden_size": 2048,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
    "mrope_section": (24, 20, 20),
}

_VISION = VisionConfig(
    depth=27,
    hidden_size=1152,
    num_heads=16,
    intermediate_size=4304,
    out_hidden_size=2048,
    num_position_embeddings=2304,
    deepstack_visual_indexes=(8, 16, 24),
)

_QWEN_END_OF_TEXT = 151_643


def _rows(vocab_size: int, special: SpecialIds, published: int) -> int:
    """Rows of the embedding: the published number, which is rounded up, for Qwen's own tokenizer; else as given."""
    return max(vocab_size, published) if special.end_of_text == _QWEN_END_OF_TEXT else vocab_size


PRESETS = {
    "nano": nano,
    "small": small,
    "qwen3_vl_30b_a3b": qwen3_vl_30b_a3b,
    "qwen3_omni_30b_a3b_thinker": qwen3_omni_30b_a3b_thinker,
}


def preset(name: str, vocab_size: int, special: SpecialIds, image: ImageConfig) -> ModelConfig:
    """The preset `name`; raises RecipeError naming the ones that exist."""
    if name not in PRESETS:
        raise RecipeError(f"model: there is no preset {name!r}; choose one of {', '.join(sorted(PRESETS))}")
    return PRESETS[name](vocab_size, special, image)
