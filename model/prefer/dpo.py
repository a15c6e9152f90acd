"""Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290): the likelihood of the chosen answer against
the rejected one, in a model whose reward is how much likelier it finds an answer than the reference does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.batch import Batch
from model.data.collate import collate
from model.data.media import MediaCache
from model.data.preferences import Pair, PairReader
from model.net.vlm import VisionLanguageModel
from model.prefer.scoring import Reference, Scores, at_rest, score, sums, targets_of
from model.prefer.source import prompts_of
from model.train.objective import Setting, StepLosses
from schemas.errors import RecipeError


@dataclass(frozen=True)
class PairBatch:
    """Pairs as one packed batch, a pair's chosen answer before its rejected one.

    `reference` [pairs, 2]: log-probabilities of both under the reference.
    """

    batch: Batch
    reference: Tensor
    rows: tuple[int, ...]

    @property
    def targets(self) -> int:
        """Pairs: the loss is their mean."""
        return len(self.rows)

    @property
    def tokens(self) -> int:
        """Tokens of both answers, the prompt twice."""
        return len(self.batch.tokens)


def preference_losses(policy: Tensor, reference: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Eq. 7: log-probabilities [pairs, 2], chosen first -> losses [pairs], rewards [pairs, 2] (section 5)."""
    rewards = beta * (policy - reference)
    return -F.logsigmoid(rewards[:, 0] - rewards[:, 1]), rewards


class Dpo:
    """Learns from pairs of answers; `batch_sequences` counts pairs."""

    is_smooth = True

    def __init__(self, setting: Setting) -> None:
        config, (path,) = setting.config, setting.info.shards
        self._config, self._beta = config, config.objective.beta
        if self._beta <= 0:
            raise RecipeError(f"objective.beta is {self._beta}; DPO needs it above 0")
        self._reader = PairReader(
            path, prompts_of(setting.info), config.seed, config.objective.max_tokens, config.holdout_ratio
        )
        self._held_out = self._reader.held_out(config.max_holdout_sequences)
        self._reference = Reference(setting.start, setting.ranks.device)
        self._known: dict[int, list[float]] = {}
        self._media = MediaCache(config.loader.cache_mib << 20)
        self.place, self.describe = self._reader.place, self._reader.describe
        self.state_dict, self.load_state_dict = self._reader.state_dict, self._reader.load_state_dict

    def step(self, model: VisionLanguageModel) -> Sequence[PairBatch]:
        """The next pairs of the file's order."""
        size, count = self._config.batch_sequences, self._config.accumulate
        drawn = [[next(self._reader) for _ in range(size)] for _ in range(count)]
        return [self._batch(model, pairs) for pairs in drawn]

    def _batch(self, model: VisionLanguageModel, pairs: Sequence[Pair]) -> PairBatch:
        batch = collate([answer for pair in pairs for answer in (pair.chosen, pair.rejected)], self._media)
        reference = torch.tensor([self._reference_of(model, pair) for pair in pairs])
        return PairBatch(batch, reference, tuple(pair.row for pair in pairs))

    def _reference_of(self, model: VisionLanguageModel, pair: Pair) -> list[float]:
        """Both answers' log-probabilities under the reference, computed once.

        Each pair is scored by itself: its numbers then do not depend, in the last bit, on which others were beside it
        when it first came up, which a resumed run would not know.
        """
        if pair.row not in self._known:
            batch = collate([pair.chosen, pair.rejected], self._media)
            found = self._reference.log_probs(model, batch)
            self._known[pair.row] = sums(found, targets_of(batch)).tolist()
        return self._known[pair.row]

    def losses(self, model: VisionLanguageModel, micro: PairBatch, denominator: int) -> StepLosses:
        """The mean loss over the step's pairs, and the router's losses by the batch's share of them."""
        scores = score(model, micro.batch)
        found = self._measured(scores, micro)
        share = micro.targets / denominator
        measures = {name: values.detach().sum() / denominator for name, values in found.items()}
        measures |= {"balance": scores.balance.detach() * share, "z": scores.z.detach() * share}
        measures["passed_over"] = torch.tensor(self._reader.skipped / self._config.accumulate)
        return StepLosses(found["loss"].sum() / denominator + share * scores.routing, measures, scores.load)

    def _measured(self, scores: Scores, micro: PairBatch) -> dict[str, Tensor]:
        """By name, of each pair, [pairs]."""
        policy = sums(scores.log_probs, targets_of(micro.batch)).view(-1, 2)
        losses, rewards = preference_losses(policy, micro.reference.to(policy.device), self._beta)
        margin = rewards[:, 0] - rewards[:, 1]
        return {
            "loss": losses,
            "accuracy": (margin > 0).float(),
            "margin": margin,
            "chosen_reward": rewards[:, 0],
            "rejected_reward": rewards[:, 1],
        }

    def evaluate(self, model: VisionLanguageModel) -> dict[str, float]:
        """Mean loss, accuracy and margin of the held-out pairs."""
        found: dict[str, float] = {}
        size = self._config.batch_sequences
        with at_rest(model):
            for start in range(0, len(self._held_out), size):
                micro = self._batch(model, self._held_out[start : start + size])
                for name, values in self._measured(score(model, micro.batch), micro).items():
                    found[name] = found.get(name, 0.0) + float(values.sum()) / len(self._held_out)
        return {f"held_out_{name}": found[name] for name in ("loss", "accuracy", "margin") if found}

    def close(self) -> None:
        """Nothing runs in the background."""
