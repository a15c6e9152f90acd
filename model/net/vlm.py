"""The whole model: towers, decoder, head. Parameter names are those of the published checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.batch import Batch
from model.config import ModelConfig
from model.net.attention import LayerCache
from model.net.audio import AudioTower
from model.net.balance import expert_load, load_balancing_loss, pooled, z_loss
from model.net.decoder import Decoder
from model.net.loss import IGNORE, linear_cross_entropy
from model.net.moe import Router, Routing
from model.net.norm import RMSNorm
from model.net.vision import VisionTower
from schemas.errors import SluiceError


@dataclass(frozen=True)
class Losses:
    """Of one batch of a step; float32. `total` and `language` of a step's batches add up, the rest is of this batch.

    `total` = `language` + share * (router_aux_loss_coef * `balance` + router_z_loss_coef * `z`), where share is this
    batch's targets over the step's. `total` alone carries the gradient of a step; `load` carries none.
    """

    total: Tensor
    language: Tensor  # sum over this batch's targets / the step's targets
    balance: Tensor
    z: Tensor
    load: Tensor  # [MoE layers, experts] share of each layer's assignments


class Backbone(nn.Module):
    """Towers and decoder, under the names `visual`, `audio_tower`, `language_model`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.visual = VisionTower(config.vision) if config.vision else None
        self.audio_tower = AudioTower(config.audio) if config.audio else None
        self.language_model = Decoder(config.text)


class VisionLanguageModel(nn.Module):
    """A mixture-of-experts decoder that reads text, images and audio."""

    #: set where a batch's parts lie on several ranks; see model.net.balance.pooled
    sum_over_ranks: Callable[[Tensor], Tensor] | None = None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Backbone(config)
        self.lm_head = nn.Linear(config.text.hidden_size, config.text.vocab_size, bias=False)
        if config.text.tie_word_embeddings:
            self.lm_head.weight = self.model.language_model.embed_tokens.weight

    def hidden(self, batch: Batch, caches: Sequence[LayerCache] | None = None) -> tuple[Tensor, list[Routing]]:
        """Final hidden states [T, d] and the routing of each sparse layer.

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
            # an image that has no rows only keeps the tower's gradients alike on all ranks (model.train.level)
            x = x.index_copy(0, rows, features[: len(rows)])
            deepstack = [level[: len(rows)] for level in deepstack]
        if batch.audios is not None:
            if self.model.audio_tower is None:
                raise SluiceError("this model has no audio tower, but the batch holds audio")
            features = self.model.audio_tower(batch.audios.mel.to(x.dtype), batch.audios.frames)
            x = x.index_copy(0, batch.audios.rows, features[: len(batch.audios.rows)])
        return decoder(x, batch.positions, batch.lengths, deepstack, rows, caches)

    def logits(self, batch: Batch, caches: Sequence[LayerCache] | None = None, *, last_only: bool = False) -> Tensor:
        """Logits [T, vocab] in float32, or [documents, vocab] of each document's last token."""
        x, _ = self.hidden(batch, caches)
        if last_only:
            x = x.index_select(0, torch.tensor(batch.lengths, device=x.device).cumsum(0) - 1)
        return F.linear(x, self.lm_head.weight).float()

    def forward(self, batch: Batch, denominator: int | None = None) -> Losses:
        """The training losses of a batch with targets.

        `denominator`: the targets (those that are not -100) of the whole step, over all micro-batches and ranks; by
        default the batch is the whole step. The totals of a step's batches, and so their gradients, then add up to the
        mean over all its targets, however it was cut into batches. A data-parallel reduction that averages over ranks
        must be undone (gradients are to be summed). Balance and z-loss are not sums over tokens: each batch's own
        value counts by its share of the targets.
        """
        assert batch.targets is not None
        x, routings = self.hidden(batch)
        language = linear_cross_entropy(x, self.lm_head.weight, batch.targets, denominator)
        if not routings:
            zero = language.new_zeros(())
            return Losses(language, language, zero, zero, language.new_zeros(0, self.config.text.num_experts))
        own = (batch.targets != IGNORE).sum()
        if self.sum_over_ranks is not None:
            routings, own = pooled(routings, own, self.sum_over_ranks)
        balance, z = load_balancing_loss(routings), z_loss(routings)
        routing = self.config.text.router_aux_loss_coef * balance + self.config.text.router_z_loss_coef * z
        share = own / (own.clamp(min=1) if denominator is None else max(denominator, 1))
        return Losses(language + share * routing, language, balance, z, expert_load(routings))


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
            if isinstance(module, Router) and module.bias is not None:
                module.bias.zero_()
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
