"""The same model twice: ours, and transformers' Qwen3-VL-MoE with the same random weights.

Needs torch and transformers alone, so that it runs on a machine that has nothing else of the package's needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.batch import Batch
from model.config import ModelConfig, SpecialIds, TextConfig
from model.net.vlm import VisionLanguageModel, build

IGNORE = -100

#: about 52 M parameters, 19 M of them active: 8 layers, 16 experts, 2 a token
SMALL = TextConfig(
    vocab_size=16_384,
    hidden_size=512,
    num_hidden_layers=8,
    num_attention_heads=8,
    num_key_value_heads=4,
    head_dim=64,
    num_experts=16,
    num_experts_per_tok=2,
    moe_intermediate_size=192,
    mrope_section=(12, 10, 10),
    rope_theta=1e6,
    max_position_embeddings=8192,
    tie_word_embeddings=True,
)
#: for a GPU: about 1.7 B parameters, 0.3 B active; half the width and a third of the depth of the published 30B-A3B
LARGE = TextConfig(
    vocab_size=32_768,
    hidden_size=1024,
    num_hidden_layers=16,
    num_attention_heads=16,
    num_key_value_heads=4,
    head_dim=128,
    num_experts=64,
    num_experts_per_tok=8,
    moe_intermediate_size=512,
    rope_theta=5e6,
    tie_word_embeddings=True,
)


@dataclass(frozen=True)
class Pair:
    """Ours and theirs, on one device."""

    text: TextConfig
    ours: VisionLanguageModel
    theirs: Any


def pair(text: TextConfig, dtype: torch.dtype, device: torch.device) -> Pair:
    """Both models with transformers' random weights (seed 0), experts with the rest's deviation."""
    theirs = transformers_model(text)
    ours = build(ModelConfig(text=text, vision=None, audio=None, special=SpecialIds(end_of_text=0)), 0)
    # names and layouts are the same but for the vision tower, which is not measured
    state = {name: value for name, value in theirs.state_dict().items() if not name.startswith("model.visual.")}
    ours.load_state_dict(state)
    return Pair(text, ours.to(dtype).to(device), theirs.to(dtype).to(device))


def transformers_model(text: TextConfig) -> Any:
    """transformers' model of this shape, with its own defaults: sdpa attention, grouped_mm experts."""
    from transformers import Qwen3VLMoeConfig, Qwen3VLMoeForConditionalGeneration

    names = (
        *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim"),
        *("num_experts", "num_experts_per_tok", "moe_intermediate_size", "max_position_embeddings", "rms_norm_eps"),
        "router_aux_loss_coef",
    )
    rope = {
        "rope_type": "default",
        "rope_theta": text.rope_theta,
        "mrope_section": list(text.mrope_section),
        "mrope_interleaved": True,
    }
    shape = {name: getattr(text, name) for name in names} | {"rope_parameters": rope, "output_router_logits": True}
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "num_heads": 2,
        "intermediate_size": 32,
        "out_hidden_size": text.hidden_size,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [],
    }
    config = Qwen3VLMoeConfig(
        text_config=shape, vision_config=vision, tie_word_embeddings=text.tie_word_embeddings, pad_token_id=0
    )
    torch.manual_seed(0)
    model = Qwen3VLMoeForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 3:
                parameter.normal_(0.0, text.initializer_range)
    return model


def our_batch(documents: list[Tensor]) -> Batch:
    """Documents of token ids, end to end."""
    lengths = tuple(len(d) for d in documents)
    return Batch(
        tokens=torch.cat(documents),
        positions=torch.cat([torch.arange(n) for n in lengths]).expand(3, -1).contiguous(),
        lengths=lengths,
        targets=torch.cat([torch.cat([d[1:], torch.tensor([IGNORE])]) for d in documents]),
    )


def padded(documents: list[Tensor]) -> dict[str, Tensor]:
    """transformers' inputs: one row a document, padded to the longest."""
    rows = [torch.nn.utils.rnn.pad_sequence(documents, batch_first=True)]
    mask = torch.zeros_like(rows[0])
    for row, document in zip(mask, documents, strict=True):
        row[: len(document)] = 1
    return {
        "input_ids": rows[0],
        "attention_mask": mask,
        "labels": torch.where(mask.bool(), rows[0], IGNORE),
    }


def packed(documents: list[Tensor]) -> dict[str, Tensor]:
    """transformers' inputs: one row of all documents; positions that start again keep them apart."""
    tokens = torch.cat(documents)[None]
    positions = torch.cat([torch.arange(len(d)) for d in documents])[None]
    labels = tokens.clone()
    labels[0, torch.tensor([len(d) for d in documents]).cumsum(0)[:-1]] = IGNORE
    return {"input_ids": tokens, "position_ids": positions.expand(4, 1, -1).contiguous(), "labels": labels}
