"""Sampled answers: drawn from the model that is trained, rewarded, compared with the others to the same prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence as Items
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.config import ObjectiveConfig
from model.data.answer import read_answer
from model.data.collate import collate
from model.data.dataset import Sequence
from model.data.media import MediaCache
from model.data.preferences import Row, Task, TaskReader
from model.data.tokenizer import TextCodec
from model.infer.decode import decode
from model.infer.generate import BATCH
from model.infer.sampling import Sampling
from model.net.vlm import VisionLanguageModel
from model.prefer.rewards import is_well_formed, read_check
from model.prefer.scoring import at_rest
from model.train.objective import device_of

#: added to the deviation of a group's rewards, so that rounding is not blown up to an advantage
_LEAST_DEVIATION = 1e-4


class CheckedTasks(TaskReader):
    """Tasks whose checks can be checked."""

    def _check(self, row: Row) -> None:
        super()._check(row)
        read_check(row.get("answer"), row.get("check"))


@dataclass(frozen=True)
class Reward:
    """`right`: whether the check of the task holds; `formed`: whether the answer thinks in a closed block first."""

    right: bool
    formed: bool


class Judge:
    """Rewards answers given as tokens."""

    def __init__(self, codec: TextCodec, stops: Items[int]) -> None:
        self._codec, self._stops = codec, frozenset(stops)
        self._is_thinking = codec.chat_format == "thinking"

    def reward(self, task: Task, tokens: Items[int]) -> Reward:
        """What an answer to a task is worth; raises SluiceError for a check that is none."""
        text = self._codec.spell(tokens[:-1] if self.is_ended(tokens) else tokens)
        said = read_answer(text, self._is_thinking)["content"]
        return Reward(read_check(task.answer, task.check).holds(said.strip()), is_well_formed(text, self._is_thinking))

    def is_ended(self, tokens: Items[int]) -> bool:
        """Whether the model ended the answer itself; otherwise it was cut off."""
        return bool(tokens) and tokens[-1] in self._stops


def stream(seed: int, draw: int, row: int, number: int) -> torch.Generator:
    """The random numbers of one answer: they depend on nothing else, so a resumed run draws the same."""
    digest = hashlib.blake2b(f"sluice.grpo/{seed}/{draw}/{row}/{number}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def sample(
    model: VisionLanguageModel,
    prompts: Items[Sequence],
    sampling: Sampling,
    generators: Items[torch.Generator],
    media: MediaCache,
) -> list[list[int]]:
    """An answer to each prompt, with the token that ended it, if one did; the model is left as it was."""
    answers: list[list[int]] = []
    with at_rest(model):
        for start in range(0, len(prompts), BATCH):
            part = slice(start, start + BATCH)
            batch = collate(prompts[part], media).to(device_of(model))
            stops = model.config.special.stops
            answers += decode(model, batch, sampling, generators[part], stops, keep_stop=True)
    return answers


def with_answer(prompt: Sequence, answer: Items[int]) -> Sequence:
    """A document of a prompt and its answer, with loss on the answer alone."""
    ids = np.concatenate([prompt.input_ids, np.array(answer, np.int32)])
    return Sequence(ids, (len(ids),), ((0, len(prompt.input_ids)),), prompt.images, prompt.audios)


def total_reward(reward: Reward, config: ObjectiveConfig) -> float:
    """One for a right answer, and what its form adds."""
    return float(reward.right) + config.format_reward * reward.formed


def group_advantages(rewards: Tensor) -> Tensor:
    """(reward - mean) / deviation within each group, [groups, size] -> the same; 0 where all rewards are equal.

    Shao et al. 2024 (DeepSeekMath, arXiv 2402.03300), section 4.1.2; the deviation is that of the group itself.
    """
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (rewards.std(1, correction=0, keepdim=True) + _LEAST_DEVIATION)
