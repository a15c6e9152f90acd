"""Models by name: nano, small, and the shapes of the published 30B-A3B checkpoints."""

from __future__ import annotations

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
