"""Learning rate over a run, as a share of its peak: linear warm-up, then one of four shapes."""

from __future__ import annotations

import math

from model.config import OptimizerConfig


def rate_factor(step: int, steps: int, config: OptimizerConfig) -> float:
    """The share of the peak rate at `step` (from 0) of `steps`; depends on its arguments alone."""
    warm = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    if config.schedule == "constant":
        return warm
    decaying = steps * config.decay_ratio if config.schedule == "wsd" else steps - config.warmup_steps
    left = min(1.0, (steps - step) / max(1.0, decaying))
    if config.schedule == "cosine":
        left = 0.5 - 0.5 * math.cos(math.pi * left)
    return min(warm, config.min_ratio + (1 - config.min_ratio) * left)
