"""Group relative policy optimisation (Shao et al. 2024, DeepSeekMath, arXiv 2402.03300, section 4.1): answers sampled
from the model, rewarded by a check, reinforced by how much better they are than the others to the same prompt.

From the paper: advantages normalised within a group (4.1.2), the clipped ratio and the divergence from the reference in
the loss (eq. 3), estimated without bias and never below zero (eq. 4, Schulman's k3). Not from it: the loss is a mean
over the tokens of all answers, as in DAPO (Yu et al. 2025, arXiv 2503.14476, eq. 8), where the paper takes the mean of
each answer first, which makes a token of a long answer count for less, right or wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.batch import Batch
from model.config import ObjectiveConfig
from model.data.collate import collate
from model.data.media import MediaCache
from model.data.preferences import Task
from model.infer.sampling import Sampling
from model.net.vlm import VisionLanguageModel
from model.prefer.answers import CheckedTasks, Judge, group_advantages, sample, stream, total_reward, with_answer
from model.prefer.scoring import Reference, score, targets_of
from model.prefer.source import prompts_of
from model.train.objective import Setting, StepLosses
from schemas.errors import RecipeError


@dataclass
class AnswerBatch:
    """Prompts with their groups of answers as one packed batch.

    `advantages` [answers]; `measures`: means over the answers; `reference` and `old` [targets]: log-probabilities of
    the answers' tokens under the reference (None without one), and under the model that wrote them (None before the
    first update, which is made with that model).
    """

    batch: Batch
    rows: tuple[int, ...]
    answers: list[list[int]]
    advantages: Tensor
    measures: dict[str, float]
    reference: Tensor | None = None
    old: Tensor | None = None

    @property
    def targets(self) -> int:
        """Tokens of the answers: the loss is their mean."""
        return sum(map(len, self.answers))

    @property
    def tokens(self) -> int:
        """Tokens of prompts and answers."""
        return len(self.batch.tokens)


def token_losses(
    log_probs: Tensor, old: Tensor, reference: Tensor | None, advantages: Tensor, config: ObjectiveConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """All [targets] -> the loss, the divergence from the reference, and whether the clip took the gradient away."""
    ratio = (log_probs - old).exp()
    clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
    gain = torch.minimum(ratio * advantages, clipped * advantages)
    if reference is None:
        return -gain, torch.zeros_like(gain), gain < ratio * advantages
    above = reference - log_probs
    divergence = above.exp() - above - 1
    return config.beta * divergence - gain, divergence, gain < ratio * advantages


class Grpo:
    """Learns from rewarded answers; `batch_sequences` counts prompts."""

    #: the loss of a step is around zero, and is large when answers differ in length: nothing to be watched
    is_smooth = False

    def __init__(self, setting: Setting) -> None:
        config, (path,) = setting.config, setting.info.shards
        _check(config.objective)
        self._config, self._objective = config, config.objective
        prompts = prompts_of(setting.info)
        self._tasks = CheckedTasks(path, prompts, config.seed, config.objective.max_tokens, config.holdout_ratio)
        self._held_out = self._tasks.held_out(config.max_holdout_sequences)
        self._judge = Judge(prompts.codec, setting.info.special.stops)
        self._reference = Reference(setting.start, setting.ranks.device) if config.objective.beta else None
        self._media = MediaCache(config.loader.cache_mib << 20)
        self._held: list[AnswerBatch] = []
        self._draws, self._left = 0, 0
        self.place, self.describe = self._tasks.place, self._tasks.describe

    def step(self, model: VisionLanguageModel) -> Sequence[AnswerBatch]:
        """Answers sampled from `model` as it is, or those of the step before while they have updates left."""
        if not self._left:
            size = self._config.batch_sequences
            drawn = [[next(self._tasks) for _ in range(size)] for _ in range(self._config.accumulate)]
            self._held = [self._sampled(model, tasks, at * size) for at, tasks in enumerate(drawn)]
            self._draws, self._left = self._draws + 1, self._objective.updates
        for micro in self._held:
            if self._reference is not None and micro.reference is None:
                temperature = self._objective.temperature
                micro.reference = self._reference.log_probs(model, micro.batch, temperature)
        self._left -= 1
        return self._held

    def _sampled(self, model: VisionLanguageModel, tasks: Sequence[Task], first: int) -> AnswerBatch:
        """`first`: place of the first task among those of the step."""
        each, seed = self._objective.group_size, self._config.seed
        prompts = [task.prompt for task in tasks for _ in range(each)]
        generators = [
            stream(seed, self._draws, task.row, (first + at) * each + i)
            for at, task in enumerate(tasks)
            for i in range(each)
        ]
        sampling = Sampling(max_new_tokens=self._objective.max_new_tokens, temperature=self._objective.temperature)
        return self._rewarded(tasks, sample(model, prompts, sampling, generators, self._media))

    def _rewarded(self, tasks: Sequence[Task], answers: list[list[int]]) -> AnswerBatch:
        each = self._objective.group_size
        owners = [task for task in tasks for _ in range(each)]
        found = [self._judge.reward(task, answer) for task, answer in zip(owners, answers, strict=True)]
        rewards = torch.tensor([total_reward(one, self._objective) for one in found]).view(-1, each)
        measures = {
            "reward": float(rewards.mean()),
            "right": sum(one.right for one in found) / len(found),
            "formed": sum(one.formed for one in found) / len(found),
            "length": sum(map(len, answers)) / len(found),
            "cut_off": sum(not self._judge.is_ended(answer) for answer in answers) / len(found),
            # a group whose answers are all worth the same teaches nothing
            "undecided": float((rewards == rewards[:, :1]).all(1).float().mean()),
        }
        batch = collate([with_answer(task.prompt, a) for task, a in zip(owners, answers, strict=True)], self._media)
        rows = tuple(task.row for task in tasks)
        return AnswerBatch(batch, rows, answers, group_advantages(rewards).flatten(), measures)

    def losses(self, model: VisionLanguageModel, micro: AnswerBatch, denominator: int) -> StepLosses:
        """The mean loss over the tokens of the step's answers, and the router's losses by the batch's share of them."""
        scores = score(model, micro.batch, self._objective.temperature)
        device = scores.log_probs.device
        if micro.old is None:
            micro.old = scores.log_probs.detach()
        counts = torch.tensor(targets_of(micro.batch))
        advantages = micro.advantages.repeat_interleave(counts).to(device)
        losses, divergence, is_clipped = token_losses(
            scores.log_probs, micro.old, micro.reference, advantages, self._objective
        )
        loss, share = losses.sum() / denominator, micro.targets / denominator
        measures = {
            "loss": loss.detach(),
            "kl": divergence.detach().sum() / denominator,
            "clipped": is_clipped.sum() / denominator,
            "balance": scores.balance.detach() * share,
            "z": scores.z.detach() * share,
        }
        # every micro-batch has equally many answers
        of_step = micro.measures | {"passed_over": self._tasks.skipped}
        measures |= {name: torch.tensor(value / len(self._held)) for name, value in of_step.items()}
        return StepLosses(loss + share * scores.routing, measures, scores.load)

    def evaluate(self, model: VisionLanguageModel) -> dict[str, float]:
        """Mean reward of greedy answers to the held-out tasks."""
        if not self._held_out:
            return {}
        sampling = Sampling(max_new_tokens=self._objective.max_new_tokens)
        prompts = [task.prompt for task in self._held_out]
        answers = sample(model, prompts, sampling, [torch.Generator() for _ in prompts], self._media)
        pairs = zip(self._held_out, answers, strict=True)
        rewards = [total_reward(self._judge.reward(task, answer), self._objective) for task, answer in pairs]
        return {"held_out_reward": sum(rewards) / len(rewards)}

    def state_dict(self) -> dict[str, Any]:
        """The place in the file and, while they have updates left, the answers with their log-probabilities."""
        held = self._held if self._left else []
        kept = [{"rows": m.rows, "answers": m.answers, "old": None if m.old is None else m.old.tolist()} for m in held]
        return {"tasks": self._tasks.state_dict(), "draws": self._draws, "left": self._left, "held": kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a saved state; raises SluiceError when it was saved over other data."""
        self._tasks.load_state_dict(state["tasks"])
        self._draws, self._left = state["draws"], state["left"]
        self._held = []
        for kept in state["held"]:
            micro = self._rewarded([self._tasks[row] for row in kept["rows"]], kept["answers"])
            micro.old = None if kept["old"] is None else torch.tensor(kept["old"])
            self._held.append(micro)

    def close(self) -> None:
        """Nothing runs in the background."""


def _check(config: ObjectiveConfig) -> None:
    bounds = {
        "beta >= 0": config.beta >= 0,
        "group_size >= 2": config.group_size >= 2,
        "temperature > 0": config.temperature > 0,
        "updates >= 1": config.updates >= 1,
        "clip in (0, 1)": 0 < config.clip < 1,
    }
    wrong = [f"{rule}, got {getattr(config, rule.split()[0])}" for rule, holds in bounds.items() if not holds]
    if wrong:
        raise RecipeError(f"objective: GRPO needs {'; '.join(wrong)}")
