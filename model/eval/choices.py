"""Multiple-choice questions, answered by the likeliest choice.

As lm-evaluation-harness scores them (lm_eval/api/task.py, output type `multiple_choice`): every choice is appended to
the question after a space, its log-likelihood is the sum of its tokens' log-probabilities, and

    acc       is right when argmax_i  log P(choice_i | question)                       is the answer,
    acc_norm  is right when argmax_i  log P(choice_i | question) / len(choice_i)       is the answer,

with the length in characters, the space not counted. The first of equals is taken. Chance is the mean of 1 / choices.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.data.collate import collate
from model.data.dataset import Sequence as PackedSequence
from model.data.tokenizer import TextCodec
from model.eval.documents import batches, document_losses
from model.eval.intervals import Interval, wilson
from model.net.vlm import VisionLanguageModel
from schemas.errors import SluiceError

#: a set of questions is small; a file beyond this is none
MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Question:
    """A prompt, its possible continuations, and which of them is right."""

    prompt: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class ChoiceScores:
    """How often the likeliest choice was the right one, with Wilson intervals; `chance`: what guessing comes to."""

    questions: int
    acc: float
    acc_interval: Interval
    acc_norm: float
    acc_norm_interval: Interval
    chance: float


def read_questions(path: Path) -> list[Question]:
    """Reads JSON lines of {prompt | question, choices, answer}, `answer` the index of the right choice from 0.

    A `question` is put as "Question: …\\nAnswer:"; a `prompt` is taken as it is. Raises SluiceError naming the line
    that is not such an object.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SluiceError(f"{path} is larger than {MAX_BYTES >> 20} MiB: that is no small set of questions")
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SluiceError(f"{path} cannot be read as JSON lines ({error})") from error
    found = [_question(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise SluiceError(f"{path} holds no question")
    return found


def _question(line: str, where: str) -> Question:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SluiceError(f"{where}: not JSON ({error})") from error
    if not isinstance(row, dict) or ("prompt" in row) == ("question" in row):
        raise SluiceError(f"{where}: expected an object with a prompt or a question, and choices and answer")
    prompt, choices, answer = row.get("prompt", row.get("question")), row.get("choices"), row.get("answer")
    if not isinstance(prompt, str) or not prompt.strip():
        raise SluiceError(f"{where}: the prompt or question must be a text")
    if choices is None or not _are_choices(choices):
        raise SluiceError(f"{where}: choices must be a list of two texts or more, none of them empty")
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise SluiceError(f"{where}: answer must be the index of a choice, 0 to {len(choices) - 1}, got {answer!r:.40}")
    asked = prompt if "prompt" in row else f"Question: {prompt}\nAnswer:"
    return Question(asked.rstrip(), tuple(choices), answer)


def _are_choices(found: Any) -> bool:
    return isinstance(found, list) and len(found) > 1 and all(isinstance(c, str) and c.strip() for c in found)


def score_choices(model: VisionLanguageModel, codec: TextCodec, questions: Sequence[Question]) -> ChoiceScores:
    """Asks all questions; a choice is a document of its own, of which only the choice carries loss."""
    flat = [_continuation(codec, question.prompt, choice) for question in questions for choice in question.choices]
    likelihoods = np.array(list(_likelihoods(model, flat)))
    right, right_norm, at = 0, 0, 0
    for question in questions:
        found = likelihoods[at : at + len(question.choices)]
        at += len(question.choices)
        right += int(found.argmax()) == question.answer
        right_norm += int((found / [len(choice) for choice in question.choices]).argmax()) == question.answer
    count = len(questions)
    return ChoiceScores(
        questions=count,
        acc=right / count,
        acc_interval=wilson(right, count),
        acc_norm=right_norm / count,
        acc_norm_interval=wilson(right_norm, count),
        chance=sum(1 / len(question.choices) for question in questions) / count,
    )


def _continuation(codec: TextCodec, prompt: str, choice: str) -> PackedSequence:
    """Prompt and choice as one document. They are encoded together, and the choice's tokens are those after as many as
    the prompt alone has (lm_eval/api/model.py, `_encode_pair`)."""
    before = len(codec.encode(prompt))
    ids = codec.encode(f"{prompt} {choice}")
    return PackedSequence(np.array(ids, np.int32), (len(ids),), ((0, min(before, len(ids) - 1)),), (), ())


def _likelihoods(model: VisionLanguageModel, documents: Sequence[PackedSequence]) -> Iterator[float]:
    for group in batches(((), document) for document in documents):
        nats, _ = document_losses(model, collate([document for _, document in group]))
        yield from (-nats).tolist()
