"""Continuing prompts: one packed prefill, then one token a step for every sequence that is not finished."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.batch import Batch
from model.data.answer import read_answer
from model.data.collate import collate
from model.data.dataset import Sequence
from model.data.tokenizer import Prompts, load_tokenizer
from model.infer.cache import KvCache
from model.net.vlm import VisionLanguageModel
from model.net.weights import load_model
from schemas.errors import SluiceError

#: prompts prefilled together
BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """`temperature` 0 is greedy; `top_p` keeps the smallest set of tokens that holds this much probability."""

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.temperature < 0 or not 0 < self.top_p <= 1:
            raise SluiceError(
                "sampling needs max_new_tokens >= 1, temperature >= 0 and top_p in (0, 1], got "
                f"{self.max_new_tokens}, {self.temperature} and {self.top_p}"
            )


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """The next token of each row: logits [B, vocab] -> [B]."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    probabilities = (logits / sampling.temperature).softmax(-1)
    ordered, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    ordered = ordered.masked_fill(before >= sampling.top_p, 0.0)
    picked = torch.multinomial(ordered, 1, generator=generator)
    return tokens.gather(1, picked).squeeze(1)


@torch.inference_mode()
def generate(
    model: VisionLanguageModel, prompts: Items[Sequence], sampling: Sampling = Sampling()
) -> Iterator[list[int]]:
    """Yields the new tokens of each prompt, in order, without the token that ended them (`SpecialIds.stops`)."""
    generator = torch.Generator().manual_seed(sampling.seed)
    for start in range(0, len(prompts), BATCH):
        yield from _generate_batch(model, prompts[start : start + BATCH], sampling, generator)


def _generate_batch(
    model: VisionLanguageModel, prompts: Items[Sequence], sampling: Sampling, generator: torch.Generator
) -> list[list[int]]:
    batch = collate(prompts)
    ends = torch.tensor(batch.lengths).cumsum(0)
    # the next position is one after the largest so far, on all axes: an image takes fewer positions than tokens
    position = torch.stack([p.max() for p in batch.positions.split(batch.lengths, dim=1)]) + 1
    cache = KvCache(model.config.text, len(prompts))
    assert len(ends) == len(prompts)
    active = torch.arange(len(prompts))
    stops = torch.tensor(model.config.special.stops)
    outputs: list[list[int]] = [[] for _ in prompts]
    for _ in range(sampling.max_new_tokens):
        cache.begin(batch.lengths)
        logits = model.logits(batch, cache.layers, last_only=True)
        cache.commit()
        tokens = choose(logits, sampling, generator)
        keep = (~torch.isin(tokens, stops)).nonzero().flatten()
        for row in keep.tolist():
            outputs[int(active[row])].append(int(tokens[row]))
        if not len(keep):
            break
        if len(keep) < len(active):
            active, tokens, position = active[keep], tokens[keep], position[keep]
            cache.select(keep)
        batch = Batch(tokens, position.expand(3, -1), (1,) * len(active))
        position = position + 1
    return outputs


class TextGenerator:
    """A checkpoint ready to continue text, images and audio."""

    def __init__(self, model: VisionLanguageModel, prompts: Prompts) -> None:
        self.model, self._prompts = model.eval(), prompts

    @classmethod
    def load(cls, checkpoint: Path) -> TextGenerator:
        """From a checkpoint folder; raises SluiceError when it is not one."""
        model = load_model(checkpoint)
        prompts = Prompts(load_tokenizer(checkpoint / "tokenizer"), model.config.special, model.config.image)
        return cls(model, prompts)

    def __call__(
        self, text: str, images: Items[bytes] = (), audios: Items[bytes] = (), sampling: Sampling = Sampling()
    ) -> str:
        """The continuation of a prompt; `images` and `audios` are encoded files."""
        (tokens,) = generate(self.model, [self._prompts.build(text, images, audios)], sampling)
        return self._prompts.codec.decode(tokens)

    def chat(
        self,
        messages: Any,
        tools: Any = None,
        thinking: bool | None = None,
        sampling: Sampling = Sampling(),
    ) -> dict[str, Any]:
        """The assistant's next message of a conversation (model.data.answer); media are given as encoded files."""
        prompt = self._prompts.chat(messages, tools, thinking)
        (tokens,) = generate(self.model, [prompt], sampling)
        codec = self._prompts.codec
        return read_answer(codec.spell(tokens), is_thinking=codec.chat_format == "thinking")

    def caption(self, images: Items[bytes], max_new_tokens: int) -> list[str]:
        """Greedy captions of encoded images."""
        prompts = [self._prompts.build("", [data]) for data in images]
        found = generate(self.model, prompts, Sampling(max_new_tokens=max_new_tokens))
        return [self._prompts.codec.decode(tokens).strip() for tokens in found]
