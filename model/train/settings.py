"""What a training configuration may not say: numbers out of range, and settings that do not go together."""

from __future__ import annotations

import math
from operator import attrgetter

from model.adapt.prepare import check as check_adapter
from model.config import TrainConfig
from model.train.ranks import Ranks
from schemas.errors import SluiceError

_AT_LEAST_ONE = (
    *("steps", "batch_sequences", "accumulate", "media_repeats", "max_holdout_sequences"),
    *("log_every_steps", "evaluate_every_steps", "checkpoint_every_steps", "keep_checkpoints"),
    *("guard.patience", "captions.max_images", "captions.max_new_tokens"),
)
_NOT_NEGATIVE = (
    *("optimizer.learning_rate", "optimizer.matrix_learning_rate", "optimizer.weight_decay", "optimizer.warmup_steps"),
    *("guard.spike_deviations", "loader.threads", "loader.steps_ahead", "loader.cache_mib"),
)
_SHARES = ("optimizer.decay_ratio", "optimizer.min_ratio")
_EVERYTHING = TrainConfig(name="", steps=1, batch_sequences=1).train_parts


def check_settings(config: TrainConfig, ranks: Ranks) -> None:
    """Raises SluiceError naming the setting that a run of so many ranks cannot honour."""
    for name in _AT_LEAST_ONE:
        _require(config, name, attrgetter(name)(config) >= 1, "it must be at least 1")
    for name in _NOT_NEGATIVE:
        _require(config, name, 0 <= attrgetter(name)(config) < math.inf, "it must be 0 or more")
    for name in _SHARES:
        _require(config, name, 0 <= attrgetter(name)(config) <= 1, "it is a share, from 0 to 1")
    optimizer, guard = config.optimizer, config.guard
    _require(config, "optimizer.betas", all(0 <= b < 1 for b in optimizer.betas), "they are from 0 to below 1")
    _require(config, "optimizer.max_grad_norm", optimizer.max_grad_norm > 0, "it must be above 0")
    _require(config, "guard.window_steps", guard.window_steps >= 2, "it must be at least 2")
    check_adapter(config.adapter, config.qat)
    _check_adapted(config)
    packed = config.objective.use == "next_token"
    _require(config, "media_repeats", packed or config.media_repeats == 1, "it is of packed sequences; leave it out")
    alone = {"objective.use": config.objective.use != "next_token", "adapter": config.adapter.rank > 0}
    alone |= {"compile": config.compile, "qat": config.qat != "none"}
    if ranks.count > 1 and any(alone.values()):
        asked = ", ".join(name for name, is_set in alone.items() if is_set)
        raise SluiceError(f"training configuration: {asked} is for a run of one process; {ranks.count} were started")


def _check_adapted(config: TrainConfig) -> None:
    if not config.adapter.rank:
        return
    if not config.init:
        raise SluiceError(
            "training configuration: adapter.rank is set, but nothing to adapt: name the model in `init`, a run's "
            "folder or a checkpoint"
        )
    if set(config.train_parts) != set(_EVERYTHING):
        raise SluiceError(
            "training configuration: with an adapter the adapter alone is trained, what it is on is said by "
            "adapter.targets; leave train_parts out"
        )


def _require(config: TrainConfig, name: str, holds: bool, rule: str) -> None:
    if not holds:
        raise SluiceError(f"training configuration: {name} is {attrgetter(name)(config)}; {rule}")
