"""Preference data: what a model is aligned with after it has learned to answer.

Two kinds of rows, in JSON lines or Parquet. Pairs: a prompt with a chosen and a rejected answer (DPO, Rafailov et al.
2023). Tasks: a prompt with the answer, or a check of one (GRPO, Shao et al. 2024). They are rendered when they are
read, by the renderer of training and generation; shards hold none, for packing would part what belongs together.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from model.data.dataset import Sequence
from model.data.permutation import Permutation
from model.data.shards import HoldoutSplit
from model.data.tokenizer import Prompts
from schemas.chat import parse
from schemas.errors import SluiceError

T = TypeVar("T")
Row = dict[str, Any]

_SHOWN = 5


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt. Both sequences begin with its tokens; `loss_runs` are all but the answer."""

    row: int  # of the file, from 0
    source: str  # file:row, rows from 1
    chosen: Sequence
    rejected: Sequence


@dataclass(frozen=True)
class Task:
    """A prompt to be answered, and what is known of a right answer: its text, or a check as the row gives it."""

    row: int
    source: str
    prompt: Sequence
    answer: str | None
    check: Any


class _Reader(ABC, Generic[T]):
    """Rows of one file in an endless order, shuffled anew each epoch; it can be saved and gone on from.

    Opening it reads and checks every row. Raises SluiceError naming the first rows that are wrong, and what is.
    """

    def __init__(
        self, path: Path, prompts: Prompts, seed: int, max_tokens: int | None = None, holdout_ratio: float = 0.0
    ) -> None:
        """`max_tokens`: rows whose longest sequence has more are passed over, and counted in `skipped`.

        `holdout_ratio`: the share of the rows that is left out of the order; see `held_out`.
        """
        self._path, self._prompts, self._seed, self._max_tokens = path, prompts, seed, max_tokens
        self._row, self._size, self._digest = _opened(path)
        faults = []
        for at in range(self._size):
            try:
                self._check(self._row(at))
            except SluiceError as error:
                faults.append(f"row {at + 1}: {error}")
        if faults:
            more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
            raise SluiceError(f"{path}: {'; '.join(faults[:_SHOWN])}{more}")
        if not self._size:
            raise SluiceError(f"{path} has no rows")
        self._split = HoldoutSplit(self._size, holdout_ratio)
        self.epoch, self.index, self.skipped = 0, 0, 0

    def held_out(self, count: int) -> list[T]:
        """At most `count` of the rows that are held out and not too long."""
        found = (self[self._split.held_out_row(i)] for i in range(self._split.held_out))
        return list(islice((one for one in found if self._fits(one)), count))

    def describe(self) -> str:
        """Rows to train on and held out."""
        return f"{self._split.training:,} rows to train on, {self._split.held_out:,} held out"

    def place(self, row: int) -> str:
        """A row for people."""
        return f"{self._path.name}:{row + 1}"

    def _fits(self, found: T) -> bool:
        return self._max_tokens is None or self._tokens(found) <= self._max_tokens

    def __len__(self) -> int:
        """Rows of an epoch."""
        return self._size

    def __getitem__(self, row: int) -> T:
        """A row, rendered; raises SluiceError for media it cannot read."""
        if not 0 <= row < self._size:
            raise IndexError(row)
        try:
            return self._made(row, self._row(row))
        except SluiceError as error:
            raise SluiceError(f"{self._path}, row {row + 1}: {error}") from error

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        rows = self._split.training
        for _ in range(2 * rows - 1):  # one row that fits is found: first of this epoch, last of the next
            if self.index == rows:
                self.epoch, self.index = self.epoch + 1, 0
            order = Permutation(rows, f"sluice.preferences/{self._seed}/{self.epoch}")
            found = self[self._split.training_row(order[self.index])]
            self.index += 1
            if self._fits(found):
                return found
            self.skipped += 1
        raise SluiceError(f"{self._path}: every row is longer than {self._max_tokens} tokens; allow more")

    def state_dict(self) -> dict[str, Any]:
        """Where the reader stands."""
        place = {"epoch": self.epoch, "index": self.index, "skipped": self.skipped}
        return {"seed": self._seed, "rows": self._size, "digest": self._digest} | place

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Moves to a saved place; raises SluiceError when it was saved by a reader of other rows."""
        mine = {"seed": self._seed, "rows": self._size, "digest": self._digest}
        saved = {key: state.get(key) for key in mine}
        if saved != mine:
            raise SluiceError(
                f"the checkpoint was reading {saved}, this run reads {mine}: give the data it was made with"
            )
        self.epoch, self.index, self.skipped = (int(state[key]) for key in ("epoch", "index", "skipped"))

    @abstractmethod
    def _check(self, row: Row) -> None: ...

    @abstractmethod
    def _made(self, at: int, row: Row) -> T: ...

    @abstractmethod
    def _tokens(self, found: T) -> int: ...


class PairReader(_Reader[Pair]):
    """Rows of `prompt` or `messages`, `chosen` and `rejected`, and perhaps `tools`.

    A prompt is a text (the user's) or a list of messages; an answer is a text, a message or a list of them.
    """

    def _check(self, row: Row) -> None:
        prompt = _prompt(row)
        for name in ("chosen", "rejected"):
            parse([*prompt, *_answer(row, name)], row.get("tools"), self._prompts.codec.chat_format)

    def _made(self, at: int, row: Row) -> Pair:
        prompt, tools = _prompt(row), row.get("tools")
        length = len(self._prompts.conversation(prompt, tools).input_ids)
        chosen, rejected = (
            _after(self._prompts.conversation([*prompt, *_answer(row, name)], tools), length)
            for name in ("chosen", "rejected")
        )
        return Pair(at, self.place(at), chosen, rejected)

    def _tokens(self, found: Pair) -> int:
        return max(len(found.chosen.input_ids), len(found.rejected.input_ids))


class TaskReader(_Reader[Task]):
    """Rows of `prompt` or `messages`, and `answer` (a text) or `check` (whatever the reward understands)."""

    def _check(self, row: Row) -> None:
        parse(_prompt(row), row.get("tools"), self._prompts.codec.chat_format)
        if row.get("answer") is None and row.get("check") is None:
            raise SluiceError("neither `answer` nor `check`, so no answer can be rewarded")
        if row.get("answer") is not None and not isinstance(row["answer"], str):
            raise SluiceError(f"`answer` is a {type(row['answer']).__name__}, not a text")

    def _made(self, at: int, row: Row) -> Task:
        prompt = self._prompts.chat(_prompt(row), row.get("tools"))
        return Task(at, self.place(at), prompt, row.get("answer"), row.get("check"))

    def _tokens(self, found: Task) -> int:
        return len(found.prompt.input_ids)


def _prompt(row: Row) -> list[Any]:
    """The messages before the answer."""
    given = [row[name] for name in ("prompt", "messages") if row.get(name) is not None]
    if len(given) != 1:
        raise SluiceError(f"{'both' if given else 'neither'} `prompt` and `messages`; give one")
    prompt = [{"role": "user", "content": given[0]}] if isinstance(given[0], str) else given[0]
    if not isinstance(prompt, list) or not prompt or not all(isinstance(message, dict) for message in prompt):
        raise SluiceError("the prompt is neither a text nor a list of messages")
    if prompt[-1].get("role") == "assistant":
        raise SluiceError("the prompt ends with a message of the assistant, which is for the answers")
    return prompt


def _answer(row: Row, name: str) -> list[Any]:
    given = row.get(name)
    if isinstance(given, str):
        return [{"role": "assistant", "content": given}]
    answer = [given] if isinstance(given, dict) else given
    if not isinstance(answer, list) or not answer or not all(isinstance(message, dict) for message in answer):
        raise SluiceError(f"`{name}` is neither a text nor a message nor a list of messages")
    if answer[0].get("role") != "assistant" or answer[-1].get("role") != "assistant":
        raise SluiceError(f"`{name}` must begin and end with a message of the assistant")
    return answer


def _after(sequence: Sequence, length: int) -> Sequence:
    """The sequence with no loss on its first `length` tokens: what the assistant wrote before was not asked about."""
    later = [(max(start, length), start + size) for start, size in sequence.loss_runs if start + size > length]
    if later and later[0][0] == length:
        later[0] = (0, later[0][1])
    else:
        later.insert(0, (0, length))
    return replace(sequence, loss_runs=tuple((start, stop - start) for start, stop in later))


def _opened(path: Path) -> tuple[Callable[[int], Row], int, str]:
    """A file's rows by number, how many there are, and a digest of its bytes."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SluiceError(f"{path} cannot be read: {error.strerror}") from error
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    if path.suffix in (".parquet", ".pq"):
        try:
            table = pq.read_table(pa.BufferReader(data))
        except (pa.ArrowException, OSError) as error:
            raise SluiceError(f"{path} is no readable Parquet file ({str(error)[:200]})") from error
        return lambda at: _plain(table.slice(at, 1)), table.num_rows, digest
    lines = [line for line in data.split(b"\n") if line.strip()]
    return lambda at: _loaded(lines[at]), len(lines), digest


def _plain(row: pa.Table) -> Row:
    try:
        found: Row = row.to_pylist()[0]
    except UnicodeDecodeError as error:
        raise SluiceError(f"a text that is no UTF-8 ({error})") from error
    return found


def _loaded(line: bytes) -> Row:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SluiceError(f"no JSON ({error})") from error
    if not isinstance(found, dict):
        raise SluiceError(f"a {type(found).__name__}, where each line must be an object")
    return found
