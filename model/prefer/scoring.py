"""What DPO and GRPO need of a model: how likely it finds given answers, and how likely the model of the start did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from model.adapt import adapters_off, has_adapters
from model.batch import Batch
from model.net.balance import expert_load, load_balancing_loss, z_loss
from model.net.log_probs import token_log_probs
from model.net.loss import IGNORE
from model.net.vlm import VisionLanguageModel
from model.train.objective import device_of


@dataclass(frozen=True)
class Scores:
    """`log_probs` [N]: of the batch's targets, in order; float32, differentiable. The router's losses as in Losses,
    `routing` being what they add to the loss, before it is weighted by the batch's share of the step."""

    log_probs: Tensor
    routing: Tensor
    balance: Tensor
    z: Tensor
    load: Tensor


def score(model: VisionLanguageModel, batch: Batch, temperature: float = 1.0) -> Scores:
    """The log-probability of each target of a batch, at a temperature; raises SluiceError as the model does."""
    batch = batch.to(device_of(model))
    targets = batch.targets
    assert targets is not None
    x, routings = model.hidden(batch)
    rows = targets.ne(IGNORE).nonzero().flatten()
    # dividing the states divides the logits
    answers = x.index_select(0, rows) / temperature
    log_probs = token_log_probs(answers, model.lm_head.weight, targets.index_select(0, rows))
    zero = log_probs.new_zeros(())
    text = model.config.text
    if not routings:
        return Scores(log_probs, zero, zero, zero, log_probs.new_zeros(0, text.num_experts))
    balance, z = load_balancing_loss(routings), z_loss(routings)
    routing = text.router_aux_loss_coef * balance + text.router_z_loss_coef * z
    return Scores(log_probs, routing, balance, z, expert_load(routings))


def targets_of(batch: Batch) -> list[int]:
    """How many targets each document has."""
    assert batch.targets is not None
    return [int(part.ne(IGNORE).sum()) for part in batch.targets.split(batch.lengths)]


def sums(log_probs: Tensor, counts: list[int]) -> Tensor:
    """[N] in documents of `counts` targets -> the sum of each, [documents]."""
    return torch.stack([part.sum() for part in log_probs.split(counts)])


@contextmanager
def at_rest(model: VisionLanguageModel) -> Iterator[None]:
    """Inside, the model drops nothing out and records no gradient."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


class Reference:
    """The model that the run started from: of an adapted one its base, else a second copy, made when first asked."""

    def __init__(self, start: Callable[[], VisionLanguageModel], device: torch.device) -> None:
        self._start, self._device = start, device
        self._copy: VisionLanguageModel | None = None

    def log_probs(self, model: VisionLanguageModel, batch: Batch, temperature: float = 1.0) -> Tensor:
        """[N] as of `score`, without gradient; `model` is the one being trained."""
        if has_adapters(model):
            with adapters_off(model), at_rest(model):
                return score(model, batch, temperature).log_probs
        if self._copy is None:
            self._copy = self._start().requires_grad_(False).to(self._device)
        with at_rest(self._copy):
            return score(self._copy, batch, temperature).log_probs
