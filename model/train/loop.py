"""A training run: a function of configuration, data and seed, that can be killed at any moment and resumed.

OUT/  metrics.jsonl  checkpoints/step-NNNNNN/  summary.json
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.batch import Batch
from model.config import TrainConfig, preset, to_dict
from model.data.collate import collate
from model.data.dataset import DatasetInfo, TokenShards, dataset_info
from model.data.shards import HoldoutSplit, SequenceReader
from model.interop import checkpoints
from model.net.vlm import VisionLanguageModel, build, count_parameters
from model.train.checkpoint import Progress, restore_checkpoint, save_checkpoint
from model.train.held_out import held_out_loss
from model.train.optim import Optimizer
from model.train.schedule import rate_factor
from schemas.errors import SluiceError


@dataclass(frozen=True)
class Summary:
    """What a run came to. Losses are nats a token; `tokens_per_s` counts training alone."""

    name: str
    finished: bool
    step: int
    parameters: int
    active_parameters: int
    train_loss: float | None
    held_out_loss: float | None
    tokens: int
    tokens_per_s: float
    checkpoint: str


class Metrics:
    """metrics.jsonl: one line a measurement; a resumed run first drops the lines after its checkpoint."""

    def __init__(self, path: Path, step: int) -> None:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        os.replace(temporary, path)
        self._file = path.open("a", encoding="utf-8")

    def write(self, line: dict[str, Any]) -> None:
        """Appends one line."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class Run:
    """One training run in a folder; continues from its newest checkpoint when there is one."""

    def __init__(self, config: TrainConfig, data: Path, out: Path) -> None:
        _check(config)
        self.config, self.out = config, out
        self.info: DatasetInfo = dataset_info(data)
        shards = TokenShards(self.info.shards)
        self._split = HoldoutSplit(len(shards), config.holdout_ratio)
        self._shards = shards
        self._reader = SequenceReader(shards, self._split, config.seed, config.media_repeats)
        # what may differ between a run and its continuation: how often it reports, evaluates and saves
        trained = {k: v for k, v in to_dict(config).items() if k not in _REPORTING}
        self._identity = {"configuration": json.loads(json.dumps(trained)), "data": self.info.fingerprint}
        found = checkpoints(out)
        if found:
            self.model, self.optimizer, progress = restore_checkpoint(found[-1], self._identity, self._optimizer)
            self._reader.load_state_dict(progress.reader)
            self.step = progress.step
        else:
            shape = preset(config.model, self.info.vocab_size, self.info.special, self.info.image)
            self.model = build(shape, config.seed)
            self.optimizer = self._optimizer(self.model)
            self.step = 0
        out.mkdir(parents=True, exist_ok=True)
        self._seconds, self._tokens = 0.0, 0
        self._train_loss: float | None = None

    def _optimizer(self, model: VisionLanguageModel) -> Optimizer:
        return Optimizer(model.named_parameters(), self.config.optimizer)

    def train(
        self,
        say: Callable[[str], None],
        should_stop: Callable[[], bool],
        on_step: Callable[[int], None] | None = None,
    ) -> Summary:
        """Trains to the last step, or until `should_stop`; either way the newest step is saved."""
        config = self.config
        metrics = Metrics(self.out / "metrics.jsonl", self.step)
        total, active = count_parameters(self.model)
        say(
            f"{total / 1e6:.1f} M parameters, {active / 1e6:.1f} M active a token; {self._split.training:,} sequences "
            f"to train on, {self._split.held_out:,} held out; step {self.step} of {config.steps}"
        )
        saved = self.step
        held_out = None
        while self.step < config.steps and not should_stop():
            measured = self._train_step()
            if self.step % config.log_every_steps == 0 or self.step == config.steps:
                metrics.write(measured)
                say(
                    f"step {self.step:>5}  loss {measured['loss']:.3f}  balance {measured['balance']:.2f}  "
                    f"rate {measured['rate']:.2f}  {measured['tokens_per_s']:,.0f} tokens/s"
                )
            if self._split.held_out and (self.step % config.evaluate_every_steps == 0 or self.step == config.steps):
                held_out = held_out_loss(self.model, self._held_out_batches())
                metrics.write({"step": self.step, "held_out_loss": held_out})
                say(f"step {self.step:>5}  held-out loss {held_out:.3f}")
            if self.step % config.checkpoint_every_steps == 0:
                self._save()
                saved = self.step
            if on_step is not None:
                on_step(self.step)
        if saved != self.step or not checkpoints(self.out):
            self._save()
        metrics.close()
        finished = self.step >= config.steps
        summary = Summary(
            name=config.name,
            finished=finished,
            step=self.step,
            parameters=total,
            active_parameters=active,
            train_loss=self._train_loss,
            held_out_loss=held_out,
            tokens=self._tokens,
            tokens_per_s=self._tokens / self._seconds if self._seconds else 0.0,
            checkpoint=str(checkpoints(self.out)[-1].relative_to(self.out)),
        )
        if finished and self._tokens:
            temporary = self.out / ".summary.json.tmp"
            temporary.write_text(json.dumps(asdict(summary), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            os.replace(temporary, self.out / "summary.json")
        return summary

    def _train_step(self) -> dict[str, Any]:
        began = time.perf_counter()
        batch = collate([next(self._reader) for _ in range(self.config.batch_sequences)])
        factor = rate_factor(self.step, self.config.steps, self.config.optimizer)
        self.optimizer.zero_grad()
        losses = self.model(batch)
        losses.total.backward()
        norm = self.optimizer.step(factor)
        self.step += 1
        elapsed = time.perf_counter() - began
        self._seconds += elapsed
        self._tokens += len(batch.tokens)
        self._train_loss = float(losses.language.detach())
        return {
            "step": self.step,
            "loss": self._train_loss,
            "balance": float(losses.balance.detach()),
            "grad_norm": norm,
            "rate": factor,
            "tokens": len(batch.tokens),
            "tokens_per_s": len(batch.tokens) / elapsed,
        }

    def _held_out_batches(self) -> Iterator[Batch]:
        size = self.config.batch_sequences
        rows = [
            self._split.held_out_row(i) for i in range(min(self._split.held_out, self.config.max_holdout_sequences))
        ]
        for start in range(0, len(rows), size):
            yield collate([self._shards[row] for row in rows[start : start + size]])

    def _save(self) -> None:
        progress = Progress(self.step, self._identity, self._reader.state_dict())
        save_checkpoint(
            self.out, self.model, self.optimizer, progress, self.info.tokenizer, self.config.keep_checkpoints
        )


_REPORTING = frozenset(
    {"log_every_steps", "evaluate_every_steps", "checkpoint_every_steps", "keep_checkpoints", "captions"}
)


def _check(config: TrainConfig) -> None:
    for name in ("steps", "batch_sequences", "log_every_steps", "evaluate_every_steps", "checkpoint_every_steps"):
        if getattr(config, name) < 1:
            raise SluiceError(f"training configuration: {name} is {getattr(config, name)}; it must be at least 1")
