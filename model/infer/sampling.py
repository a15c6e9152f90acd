"""The choice of the next token: greedy, or drawn after the usual restrictions; each sequence has its own stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from schemas.errors import SluiceError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to continue a prompt; the restrictions apply in the order given here, as in transformers' `generate`.

    `repetition_penalty` makes tokens that were in the prompt or already written less likely (Keskar et al. 2019,
    CTRL, section 4.1). `temperature` 0 is greedy, and what follows is then without effect: `top_k` keeps so many of the
    likeliest tokens (0: all), `top_p` the smallest set that holds this much probability (Holtzman et al. 2020),
    `min_p` those at least this likely, as a share of the likeliest (Nguyen et al. 2024).
    """

    max_new_tokens: int = 64
    repetition_penalty: float = 1.0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        in_bounds = {
            "max_new_tokens >= 1": self.max_new_tokens >= 1,
            "repetition_penalty > 0": self.repetition_penalty > 0,
            "temperature >= 0": self.temperature >= 0,
            "top_k >= 0": self.top_k >= 0,
            "top_p in (0, 1]": 0 < self.top_p <= 1,
            "min_p in [0, 1]": 0 <= self.min_p <= 1,
        }
        wrong = [f"{rule}, got {getattr(self, rule.split()[0])}" for rule, holds in in_bounds.items() if not holds]
        if wrong:
            raise SluiceError(f"sampling needs {'; '.join(wrong)}")


GREEDY = Sampling()


def streams(sampling: Sampling, count: int) -> list[torch.Generator]:
    """A source of random numbers for each prompt: what one draws does not depend on the others."""
    return [torch.Generator().manual_seed((sampling.seed << 20) + i) for i in range(count)]


def penalise(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Logits [B, vocab] of the tokens that `seen` [B, vocab] marks, made smaller."""
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def choose(logits: Tensor, sampling: Sampling, generators: Sequence[torch.Generator]) -> Tensor:
    """The next token of each row: logits [B, vocab] -> [B]."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    ordered, tokens = (logits / sampling.temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
    if sampling.top_k:
        ordered[:, sampling.top_k :] = 0.0
        ordered /= ordered.sum(-1, keepdim=True)
    before = ordered.cumsum(-1) - ordered
    ordered = ordered.masked_fill(before >= sampling.top_p, 0.0)
    ordered = ordered.masked_fill(ordered < sampling.min_p * ordered[:, :1], 0.0)
    mass = ordered.cumsum(-1)
    drawn = torch.stack([torch.rand((), generator=g) for g in generators]).to(logits.device)
    picked = torch.searchsorted(mass, drawn[:, None] * mass[:, -1:], right=True)
    # a draw that rounding put at the very end belongs to the last token that is possible
    picked = picked.minimum((ordered > 0).sum(-1, keepdim=True) - 1)
    return tokens.gather(1, picked).squeeze(1)
