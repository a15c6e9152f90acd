"""Two small models, one of each published family, with inputs that meet everything the families can do.

Configurations are in the form of the hub's config.json. Weights and inputs come from numpy's frozen generator, so that
they are the same wherever the expected outputs are computed; every weight is far from its initial value, or a bias of
0 and a norm of 1 would hide what is done with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.batch import Audios, Batch, Images
from model.config import ModelConfig
from model.interop.checkpoint import parameter_shapes
from model.interop.config_json import from_hub
from model.net.vlm import VisionLanguageModel
from schemas.shard import audio_tokens

IMAGE, VIDEO, VISION_START, VISION_END, AUDIO, AUDIO_START, AUDIO_END = range(80, 87)
TEXT_IDS = 80
TEXT = {
    "vocab_size": 88,
    "hidden_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "hidden_act": "silu",
    "intermediate_size": 56,
    "max_position_embeddings": 4096,
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-06,
    "attention_bias": False,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [1],
    "moe_intermediate_size": 40,
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "norm_topk_prob": True,
    "router_aux_loss_coef": 0.05,
    "rope_theta": 10000,
    "rope_scaling": {"mrope_interleaved": True, "mrope_section": [6, 5, 5], "rope_type": "default"},
}
VISION = {
    "depth": 4,
    "hidden_size": 32,
    "hidden_act": "gelu_pytorch_tanh",
    "intermediate_size": 48,
    "num_heads": 2,
    "in_channels": 3,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "out_hidden_size": 48,
    "num_position_embeddings": 64,
    "deepstack_visual_indexes": [0, 1, 2],
}
SPECIAL = {
    "image_token_id": IMAGE,
    "video_token_id": VIDEO,
    "vision_start_token_id": VISION_START,
    "vision_end_token_id": VISION_END,
}
VL = {
    "architectures": ["Qwen3VLMoeForConditionalGeneration"],
    "model_type": "qwen3_vl_moe",
    "text_config": TEXT | {"model_type": "qwen3_vl_moe_text"},
    "vision_config": VISION | {"model_type": "qwen3_vl_moe"},
    "tie_word_embeddings": False,
    **SPECIAL,
}
OMNI = {
    "architectures": ["Qwen3OmniMoeThinkerForConditionalGeneration"],
    "model_type": "qwen3_omni_moe_thinker",
    "text_config": TEXT | {"model_type": "qwen3_omni_moe_text", "shared_expert_intermediate_size": 0},
    "vision_config": VISION | {"model_type": "qwen3_omni_moe_vision_encoder", "apply_vit_abs_pos_embed": True},
    "audio_config": {
        "model_type": "qwen3_omni_moe_audio_encoder",
        "activation_function": "gelu",
        "encoder_layers": 2,
        "d_model": 32,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 48,
        "downsample_hidden_size": 4,
        "output_dim": 48,
        "num_mel_bins": 128,
        "n_window": 50,
        "n_window_infer": 800,
        "conv_chunksize": 500,
    },
    "audio_token_id": AUDIO,
    "audio_start_token_id": AUDIO_START,
    "audio_end_token_id": AUDIO_END,
    "position_id_per_seconds": 13,
    "tie_word_embeddings": True,
    **SPECIAL,
}
HUB: dict[str, dict[str, Any]] = {"vl": VL, "omni": OMNI}

#: a document is its parts: so many tokens of text, an image or a video of a grid, a clip of so many frames
PARTS: dict[str, list[list[tuple[str, Any]]]] = {
    "vl": [
        [("text", 5), ("image", (1, 4, 6)), ("text", 3), ("image", (1, 8, 4)), ("text", 6)],
        [("text", 9)],
        [("text", 2), ("video", (2, 4, 6)), ("text", 4), ("image", (1, 2, 2)), ("text", 3)],
    ],
    "omni": [
        [("text", 2), ("image", (1, 4, 8)), ("audio", 137), ("text", 2), ("audio", 250), ("text", 3)],
        [("text", 9)],
        [("audio", 1730), ("text", 2), ("audio", 100), ("text", 2), ("audio", 800), ("image", (1, 6, 4)), ("text", 3)],
    ],
    # a clip shorter than a chunk: transformers fills it to the longest chunk of its batch, so it stands alone
    "short": [[("text", 3), ("audio", 35), ("text", 4)]],
}


@dataclass
class Document:
    """One document: its tokens, and what is to be read at its placeholders."""

    ids: list[int] = field(default_factory=list)
    images: list[tuple[tuple[int, int, int], np.ndarray, bool]] = field(default_factory=list)  # grid, patches, a video?
    clips: list[np.ndarray] = field(default_factory=list)
    written: int = 0  # of the tokens, how many are the model's own: one that looks like a placeholder is none


def documents(name: str) -> list[Document]:
    """The documents of PARTS[name]."""
    rng = np.random.RandomState(len(name))
    return [_document(parts, rng) for parts in PARTS[name]]


def _document(parts: list[tuple[str, Any]], rng: np.random.RandomState) -> Document:
    document = Document()
    for kind, what in parts:
        if kind == "text":
            document.ids += rng.randint(0, TEXT_IDS, what).tolist()
        elif kind == "audio":
            document.clips.append(rng.standard_normal((128, what)).astype(np.float32) * 0.5)
            document.ids += [AUDIO_START, *[AUDIO] * audio_tokens(what), AUDIO_END]
        else:
            t, h, w = what
            document.images.append((what, rng.standard_normal((t * h * w, 1536)).astype(np.float32), kind == "video"))
            for _ in range(t):  # a video's frames each have their own marks, with the time as text between them
                document.ids += rng.randint(0, TEXT_IDS, 3).tolist() if kind == "video" else []
                document.ids += [VISION_START, *[VIDEO if kind == "video" else IMAGE] * (h * w // 4), VISION_END]
    return document


def labels(document: Document) -> list[int]:
    """What is to be predicted: everything but placeholders and the first token."""
    return [-100] + [i if i not in (IMAGE, VIDEO, AUDIO) else -100 for i in document.ids[1:]]


def batch(docs: list[Document], positions: Tensor) -> Batch:
    """The documents packed, with positions [3, T]."""
    tokens = torch.tensor([i for d in docs for i in d.ids])
    targets = torch.tensor([i for d in docs for i in (*labels(d)[1:], -100)])
    images = [image for d in docs for image in d.images]
    clips = [clip for d in docs for clip in d.clips]
    given = torch.tensor([i < len(d.ids) - d.written for d in docs for i in range(len(d.ids))])
    vision = (((tokens == IMAGE) | (tokens == VIDEO)) & given).nonzero().flatten()
    patches = torch.from_numpy(np.concatenate([p for _, p, _ in images])) if images else torch.empty(0)
    return Batch(
        tokens=tokens,
        positions=positions,
        lengths=tuple(len(d.ids) for d in docs),
        images=Images(patches, tuple(grid for grid, _, _ in images), vision) if images else None,
        audios=Audios(
            torch.from_numpy(np.concatenate(clips, 1)),
            tuple(c.shape[1] for c in clips),
            ((tokens == AUDIO) & given).nonzero().flatten(),
        )
        if clips
        else None,
        targets=targets,
    )


def config(family: str) -> ModelConfig:
    """The family's small model."""
    return from_hub(HUB[family], family)


def state(shape: ModelConfig) -> dict[str, Tensor]:
    """Weights under our names; a tied head is not among them."""
    rng = np.random.RandomState(7)
    found = {}
    for name, size in parameter_shapes(shape).items():
        values = rng.standard_normal(size).astype(np.float32)
        if len(size) == 1:
            values = values * 0.2 + (0 if name.endswith("bias") else 1)
        elif "embed" in name and name.endswith("embed.weight" if "pos" in name else "tokens.weight"):
            values *= 0.5
        else:
            fan_in = size[-1] if ".experts." in name else math.prod(size[1:])
            values /= math.sqrt(fan_in)
        found[name] = torch.from_numpy(values)
    return found


def model(family: str) -> VisionLanguageModel:
    """The family's small model with its weights."""
    shape = config(family)
    made = VisionLanguageModel(shape)
    missing, unexpected = made.load_state_dict(state(shape), strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    return made


def greedy(made: VisionLanguageModel, docs: list[Document], positions: Tensor, steps: int) -> Tensor:
    """[documents, steps] likeliest tokens, everything computed anew for each."""
    places = positions.split([len(d.ids) for d in docs], dim=1)
    grown = [Document(list(d.ids), d.images, d.clips) for d in docs]
    with torch.no_grad():
        for _ in range(steps):
            tokens = made.logits(batch(grown, torch.cat(places, 1)), last_only=True).argmax(-1)
            places = tuple(torch.cat([p, (p.max() + 1).expand(3, 1)], 1) for p in places)
            for document, token in zip(grown, tokens.tolist(), strict=True):
                document.ids.append(token)
                document.written += 1
    return torch.tensor([d.ids[-steps:] for d in grown])


def outputs(made: VisionLanguageModel, packed: Batch) -> dict[str, Tensor]:
    """Logits [T, vocab], losses, and gradients under `grad.NAME`."""
    with torch.no_grad():
        found = {"logits": made.logits(packed)}
    made.zero_grad()
    losses = made(packed)
    losses.total.backward()
    found |= {"loss": losses.total.detach(), "balance": losses.balance.detach()}
    return found | {f"grad.{name}": p.grad.detach() for name, p in made.named_parameters()}


def typical_error(found: Tensor, exact: Tensor) -> float:
    """The root mean square error of logits [T, vocab] at the median token: a few, whose experts a rounding has changed,
    have one twenty times as large, and say nothing of how well either side rounds."""
    return float((found - exact).square().mean(-1).sqrt().median())
