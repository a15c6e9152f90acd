"""What a run learns from, behind one interface: the loop knows steps, an objective knows batches and losses.

`next_token` is here. Objectives that need more of the model than a forward pass (preferences, sampled answers) live in
model.prefer; whoever starts a run hands the loop the one that the configuration names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from model.batch import Batch
from model.config import ModelConfig, TrainConfig
from model.data.collate import IGNORE, collate
from model.data.dataset import DatasetInfo, TokenShards, dataset_info, joined
from model.data.loader import Loader, MicroBatch
from model.data.shards import HoldoutSplit, SequenceReader
from model.net.vlm import VisionLanguageModel
from model.train.held_out import held_out_loss
from model.train.level import level
from model.train.ranks import Ranks
from schemas.errors import SluiceError


class Micro(Protocol):
    """One forward and backward pass's worth of data, on the CPU."""

    @property
    def rows(self) -> tuple[int, ...]:
        """The dataset rows it was made of, for the report of a run that stops."""

    @property
    def targets(self) -> int:
        """What the loss is a mean over: tokens that carry loss, or pairs, or answers."""

    @property
    def tokens(self) -> int:
        """Tokens that go through the model."""


M = TypeVar("M", bound=Micro)


@dataclass(frozen=True)
class StepLosses:
    """What one micro-batch adds to a step.

    `total` is differentiated. `measures` are detached float32 scalars that add up, over micro-batches and ranks, to
    what is reported; `loss` is among them and is what the guard watches. `load` [moe layers, experts]: the share of the
    micro-batch's assignments that each expert got.
    """

    total: Tensor
    measures: dict[str, Tensor]
    load: Tensor | None = None


class Objective(Protocol[M]):
    """Gives the loop its batches and their losses; all it keeps between steps is in its state.

    `is_smooth`: whether the loss goes down by and by, so that one far above its mean says that something is wrong.
    """

    is_smooth: bool

    def step(self, model: VisionLanguageModel) -> Sequence[M]:
        """The micro-batches of the next step on this rank; an objective that samples does it with `model` as it is."""

    def losses(self, model: VisionLanguageModel, micro: M, denominator: int) -> StepLosses:
        """Losses as means over the `denominator` targets of the whole step: all micro-batches, all ranks."""

    def evaluate(self, model: VisionLanguageModel) -> dict[str, float]:
        """Scores on held-out data by name, `held_out_loss` if there is one; empty when nothing is held out."""

    def place(self, row: int) -> str:
        """Where a row is on disk, for people."""

    def describe(self) -> str:
        """How much data there is, as the run's first line says it."""

    def state_dict(self) -> dict[str, Any]:
        """Where the objective stands after the last step taken, as JSON."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a saved state; raises SluiceError when it was saved over other data."""

    def close(self) -> None:
        """Ends what runs in the background."""


@dataclass(frozen=True)
class Setting:
    """What an objective is made from. `start` makes the model that the run starts from, on CPU, in its precision: the
    reference that DPO and GRPO hold to. Of every micro-batch, rank r of n takes every n-th part."""

    config: TrainConfig
    info: DatasetInfo
    start: Callable[[], VisionLanguageModel]
    ranks: Ranks = field(default_factory=Ranks)


MakeObjective = Callable[[Setting], Objective[Any]]
#: what is known of the data that --data names, before any of it is read
Describe = Callable[[TrainConfig, Sequence[Path]], DatasetInfo]


def described_datasets(config: TrainConfig, folders: Sequence[Path]) -> DatasetInfo:
    """Several datasets as one; raises SchemaError when a folder is none, or they do not go together."""
    return joined([dataset_info(folder) for folder in folders])


class NextToken:
    """The language-modelling loss of packed sequences, with the router's losses."""

    is_smooth = True

    def __init__(self, setting: Setting) -> None:
        config, ranks = setting.config, setting.ranks
        if config.batch_sequences % ranks.count:
            raise SluiceError(
                f"training configuration: batch_sequences is {config.batch_sequences}, which cannot be shared "
                f"evenly by {ranks.count} ranks; give a multiple"
            )
        self._config, self._ranks = config, ranks
        self._shards = TokenShards(setting.info.shards)
        self._split = HoldoutSplit(len(self._shards), config.holdout_ratio)
        self._loader = Loader(
            SequenceReader(self._shards, self._split, config.seed, config.media_repeats),
            config.loader,
            sequences=config.batch_sequences,
            accumulate=config.accumulate,
            rank=ranks.rank,
            ranks=ranks.count,
        )
        self.place = self._loader.place
        self.state_dict = self._loader.state_dict
        self.load_state_dict = self._loader.load_state_dict
        self.close = self._loader.close

    def step(self, model: VisionLanguageModel) -> Sequence[MicroBatch]:
        """The next sequences of the dataset's order."""
        micros = self._ranks.together(lambda: next(self._loader))
        batches = level([micro.batch for micro in micros], model.config, self._ranks)
        return [replace(micro, batch=batch) for micro, batch in zip(micros, batches, strict=True)]

    def losses(self, model: VisionLanguageModel, micro: MicroBatch, denominator: int) -> StepLosses:
        """Cross-entropy summed over the micro-batch, divided by `denominator`.

        The router's losses are means over the micro-batch, weighted by its share of the targets: an even load is asked
        of each micro-batch by itself, so they are not what one large batch would give.
        """
        losses = model(micro.batch.to(device_of(model)), denominator)
        share = micro.targets / max(denominator, 1)
        measures = {
            "loss": losses.language.detach(),
            "balance": losses.balance.detach() * share,
            "z": losses.z.detach() * share,
        }
        return StepLosses(losses.total, measures, losses.load)

    def evaluate(self, model: VisionLanguageModel) -> dict[str, float]:
        """Mean loss a token of the held-out sequences."""
        if not self._split.held_out:
            return {}
        return {"held_out_loss": held_out_loss(model, self._held_out(model.config), self._ranks)}

    def _held_out(self, shape: ModelConfig) -> Iterator[Batch]:
        """This rank's share of each batch; where there is none, a sequence without loss, so that all take part."""
        size, ranks = self._config.batch_sequences, self._ranks
        count = min(self._split.held_out, self._config.max_holdout_sequences)
        rows = [self._split.held_out_row(i) for i in range(count)]
        for start in range(0, count, size):
            mine = rows[start : start + size][ranks.rank :: ranks.count]
            batch = collate([self._shards[row] for row in mine or rows[:1]])
            if not mine:
                batch = replace(batch, targets=torch.full_like(batch.tokens, IGNORE))
            yield from level([batch], shape, ranks)

    def describe(self) -> str:
        """Sequences to train on and held out."""
        return f"{self._split.training:,} sequences to train on, {self._split.held_out:,} held out"


def device_of(model: VisionLanguageModel) -> torch.device:
    """Where the model computes."""
    return next(model.parameters()).device
