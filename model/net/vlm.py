"""The whole model: towers, decoder, head. Parameter names are those of the published checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.batch import Batch
from model.config import ModelConfig
from model.net.attention import LayerCache
from model.net.audio import AudioTower
from model.net.decoder import Decoder
from model.net.loss import linear_cross_entropy
from model.net.moe import load_balancing_loss
from model.net.norm import RMSNorm
from model.net.vision import VisionTower
from schemas.errors import SluiceError


@dataclass(frozen=True)
class Losses:
    """`total` = `language` + coefficient * `balance`; scalars in float32."""

    total: Tensor
    language: Tensor
    balance: Tensor


class Backbone(nn.Module):
    """Towers and decoder, under the names `visual`, `audio_tower`, `language_model`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.visual = VisionTower(config.vision) if config.vision else None
        self.audio_tower = AudioTower(config.audio) if config.audio else None
        self.language_model = Decoder(config.text)


class VisionLanguageModel(nn.Module):
    """A mixture-of-experts decoder that reads text, images and audio."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Backbone(config)
        self.lm_head = nn.Linear(config.text.hidden_size, config.text.vocab_size, bias=False)
        if config.text.tie_word_embeddings:
            self.lm_head.weight = self.model.language_model.embed_tokens.weight

    def hidden(self, batch: Batch, caches: Sequence[LayerCache] | None = None) -> tuple[Tensor, Tensor]:
        """Final hidden states [T, d] and the load-balancing loss.

        Raises SluiceError when the batch holds media that the model has no tower for.
        """
        decoder = self.model.language_model
        x = decoder.embed_tokens(batch.tokens)
        deepstack: list[Tensor] = []
        rows = None
        if batch.images is not None:
            if self.model.visual is None:
                raise SluiceError("this model has no vision tower, but the batch holds images")
            features, deepstack = self.model.visual(batch.images.patches.to(x.dtype), batch.images.grids)
            rows = batch.images.rows
            x = x.index_copy(0, rows, features)
        if batch.audios is not None:
            if self.model.audio_tower is None:
                raise SluiceError("this model has no audio tower, but the batch holds audio")
            features = self.model.audio_tower(batch.audios.mel.to(x.dtype), batch.audios.frames)
            x = x.index_copy(0, batch.audios.rows, features)
        x, routings = decoder(x, batch.positions, batch.lengths, deepstack, rows, caches)
        return x, load_balancing_loss(routings) if routings else x.new_zeros(())

    def logits(self, batch: Batch, caches: Sequence[LayerCache] | None = None, *, last_only: bool = False) -> Tensor:
        """Logits [T, vocab] in float32, or [documents, vocab] of each document's last token."""
        x, _ = self.hidden(batch, caches)
        if last_only:
            x = x.index_select(0, torch.tensor(batch.lengths, device=x.device).cumsum(0) - 1)
        return F.linear(x, self.lm_head.weight).float()

    def forward(self, batch: Batch) -> Losses:
        """The training losses of a batch with targets."""
        assert batch.targets is not None
        x, balance = self.hidden(batch)
        language = linear_cross_entropy(x, self.lm_head.weight, batch.targets)
        return Losses(language + self.config.text.router_aux_loss_coef * balance, language, balance)


def build(config: ModelConfig, seed: int) -> VisionLanguageModel:
    """A freshly initialised float32 model on CPU; the weights depend on `seed` alone, not on torch's global state."""
    with torch.device("meta"):
        model = VisionLanguageModel(config)
    model = model.to_empty(device="cpu")
    if config.text.tie_word_embeddings:
        model.lm_head.weight = model.model.language_model.embed_tokens.weight
    generator = torch.Generator().manual_seed(seed)
    norms = (RMSNorm, nn.LayerNorm)
    with torch.no_grad():
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if name == "bias":
                    parameter.zero_()
                elif isinstance(module, norms):
                    parameter.fill_(1.0)
                else:
                    parameter.normal_(0.0, config.text.initializer_range, generator=generator)
    return model


def count_parameters(model: VisionLanguageModel) -> tuple[int, int]:
    """All parameters, and those a text token meets: k of E experts, no tower."""
    total = sum(p.numel() for p in model.parameters())
    text = model.config.text
    decoder = model.model.language_model
    idle = sum(
        p.numel() * (text.num_experts - text.num_experts_per_tok) // text.num_experts
        for name, p in decoder.named_parameters()
        if ".experts." in name
    )
    active = sum(p.numel() for p in decoder.parameters()) - idle
    if not text.tie_word_embeddings:
        active += model.lm_head.weight.numel()
    return total, active
