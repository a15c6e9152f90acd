"""Learning rate over a run: linear warm-up, a plateau, linear decay to zero (Hägele et al. 2024, "1-sqrt/linear")."""

from __future__ import annotations

from model.config import OptimizerConfig


def rate_factor(step: int, steps: int, config: OptimizerConfig) -> float:
    """The share of the peak rate at `step` (from 0) of `steps`; depends on its arguments alone."""
    warm = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    decay_steps = max(1.0, steps * config.decay_ratio)
    return min(warm, min(1.0, (steps - step) / decay_steps))
