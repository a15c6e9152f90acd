"""Text, images and audio in, text out: prompts are collated a batch at a time and continued."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Items
from pathlib import Path
from typing import Any

from model.data.answer import read_answer
from model.data.collate import collate
from model.data.dataset import Sequence
from model.data.frames import Video
from model.data.tokenizer import Prompts, load_tokenizer
from model.infer.decode import decode
from model.infer.opening import open_model, open_side_files
from model.infer.sampling import GREEDY, Sampling, streams
from model.net.vlm import VisionLanguageModel

#: prompts prefilled together
BATCH = 32


def generate(model: VisionLanguageModel, prompts: Items[Sequence], sampling: Sampling = GREEDY) -> Iterator[list[int]]:
    """Yields the new tokens of each prompt, in order, without the token that ended them (`SpecialIds.stops`).

    What a prompt is continued with depends on it, the sampling and its place among the prompts, not on what the others
    say. How many there are chooses the arithmetic (model.net.layer_step), so a near tie may fall otherwise in company.
    """
    device = model.lm_head.weight.device
    generators = streams(sampling, len(prompts))
    for start in range(0, len(prompts), BATCH):
        part = slice(start, start + BATCH)
        batch = collate(prompts[part]).to(device)
        yield from decode(model, batch, sampling, generators[part], model.config.special.stops)


class TextGenerator:
    """A checkpoint ready to continue text, images and audio."""

    def __init__(self, model: VisionLanguageModel, prompts: Prompts) -> None:
        self.model, self._prompts = model.eval(), prompts

    @classmethod
    def load(cls, checkpoint: Path) -> TextGenerator:
        """From a checkpoint folder; raises SluiceError when it is not one."""
        model = open_model(checkpoint)
        config = model.config
        per_second = config.position_id_per_seconds if config.variant == "omni" else None
        prompts = Prompts(load_tokenizer(open_side_files(checkpoint)), config.special, config.image, per_second)
        return cls(model, prompts)

    def __call__(
        self,
        text: str,
        images: Items[bytes] = (),
        audios: Items[bytes] = (),
        sampling: Sampling = GREEDY,
        videos: Items[Video] = (),
    ) -> str:
        """The continuation of a prompt; `images` and `audios` are encoded files."""
        (tokens,) = generate(self.model, [self._prompts.build(text, images, audios, videos)], sampling)
        return self._prompts.codec.decode(tokens)

    def chat(
        self,
        messages: Any,
        tools: Any = None,
        thinking: bool | None = None,
        sampling: Sampling = GREEDY,
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
