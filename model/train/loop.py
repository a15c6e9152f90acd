"""A training run: a function of configuration, data and seed, that can be killed at any moment and resumed.

OUT/  metrics.jsonl  tensorboard/  checkpoints/step-NNNNNN/  summary.json  stopped.json

The loop only puts the pieces together. What is learned: model.train.objective. A step's gradients: step, gradients.
Weights: optim. Where it starts: start. When it stops by itself: guard. What is written: metrics, checkpoint.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from model.config import TrainConfig, to_dict
from model.data.dataset import DatasetInfo
from model.interop import checkpoints
from model.net.balance import update_balancing
from model.net.vlm import VisionLanguageModel, count_parameters
from model.train.checkpoint import Checkpointer, Progress, read_progress, read_state
from model.train.gradients import Gradients, clip_, not_finite
from model.train.guard import Guard, RunStopped, stop
from model.train.metrics import Sink, held_out_line, open_sinks, training_line
from model.train.objective import Describe, MakeObjective, NextToken, Setting, described_datasets
from model.train.optim import Optimizer
from model.train.ranks import Ranks
from model.train.schedule import rate_factor
from model.train.settings import check_settings
from model.train.start import PRECISIONS, base_of, place, prepare, resumed_model, starting_model
from model.train.state import model_writer, run_state
from model.train.step import forward_backward

#: settings that may differ between a run and its continuation: they do not change what is learned
_FREE = frozenset(
    {
        "log_every_steps",
        "evaluate_every_steps",
        "max_holdout_sequences",
        "checkpoint_every_steps",
        "keep_checkpoints",
        "tensorboard",
        "activation_checkpointing",
        "loader",
        "parallel",
        "captions",
    }
)

_SEED_MASK = (1 << 63) - 1


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


class Run:
    """One training run in a folder; continues from its newest checkpoint when there is one."""

    def __init__(
        self,
        config: TrainConfig,
        data: Path | Sequence[Path],
        out: Path,
        objective: MakeObjective = NextToken,
        ranks: Ranks | None = None,
        describe: Describe = described_datasets,
    ) -> None:
        check_settings(config, ranks or Ranks())
        self.config, self.out, self.ranks = config, out, ranks or Ranks()
        self.info: DatasetInfo = describe(config, [data] if isinstance(data, Path) else data)
        learned = {k: v for k, v in to_dict(config).items() if k not in _FREE}
        self._identity = {"configuration": json.loads(json.dumps(learned)), "data": self.info.fingerprint}
        self._objective = objective(Setting(config, self.info, self._start, self.ranks))
        guard = config.guard if self._objective.is_smooth else replace(config.guard, spike_deviations=0.0)
        self._guard = Guard(guard)
        self._checkpointer = Checkpointer(out, self.ranks, config.keep_checkpoints)
        found = self.ranks.on_first(lambda: checkpoints(out)[-1:])
        if found:
            self.step = self._resume(found[0])
        else:
            self.model, self._base = self.ranks.together(lambda: (self._start(), base_of(config)))
            self.optimizer = self._prepare()
            self.step = 0
        self._saved = self.step if found else None
        self._gradients = Gradients(self.optimizer.parameters)
        out.mkdir(parents=True, exist_ok=True)
        self._seconds, self._tokens = 0.0, 0
        self._train_loss: float | None = None
        self._held_out_loss: float | None = None

    def _start(self) -> VisionLanguageModel:
        return starting_model(self.config, self.info)

    def _prepare(self) -> Optimizer:
        self._parameters = count_parameters(self.model)
        prepare(self.model, self.config)
        self._layout = place(self.model, self.ranks)
        named = self.model.named_parameters()
        return Optimizer(named, self.config.optimizer, self._layout)

    def _resume(self, checkpoint: Path) -> int:
        """Goes on from a checkpoint, whatever number of ranks wrote it; returns its step."""

        def read() -> tuple[Progress, tuple[VisionLanguageModel, str]]:
            return read_progress(checkpoint, self._identity), resumed_model(self.config, self.info, checkpoint)

        progress, (self.model, self._base) = self.ranks.together(read)
        self.optimizer = self._prepare()
        read_state(checkpoint, run_state(self.model, self.optimizer, self._layout), self.ranks)
        self.optimizer.copy_weights()
        self._objective.load_state_dict(progress.objective)
        self._guard.load_state_dict(progress.guard)
        return progress.step

    def train(
        self,
        say: Callable[[str], None],
        should_stop: Callable[[], bool],
        on_step: Callable[[int], None] | None = None,
    ) -> Summary:
        """Trains to the last step, or until a rank `should_stop`; either way the newest step is saved.

        Only the first rank says and writes anything. Raises RunStopped when a loss or gradient says that going on would
        do harm; the step is not applied.
        """
        total, active = self._parameters
        say = say if self.ranks.is_first else lambda line: None
        say(
            f"{total / 1e6:.1f} M parameters, {active / 1e6:.1f} M active a token; {self._objective.describe()}; "
            f"step {self.step} of {self.config.steps}"
        )
        sinks = open_sinks(self.out, self.step, tensorboard=self.config.tensorboard) if self.ranks.is_first else []
        try:
            self._loop(sinks, say, should_stop, on_step)
            self._checkpointer.wait()
        except RunStopped:
            self._checkpointer.wait()
            raise
        finally:
            self._objective.close()
            for sink in sinks:
                sink.close()
        finished = self.step >= self.config.steps
        summary = Summary(
            name=self.config.name,
            finished=finished,
            step=self.step,
            parameters=total,
            active_parameters=active,
            train_loss=self._train_loss,
            held_out_loss=self._held_out_loss,
            tokens=self._tokens,
            tokens_per_s=self._tokens / self._seconds if self._seconds else 0.0,
            checkpoint=str(checkpoints(self.out)[-1].relative_to(self.out)),
        )
        path = self.out / "summary.json"
        # a run that was killed between its last checkpoint and its summary has no tokens left to count
        if finished and self.ranks.is_first and (self._tokens or not path.exists()):
            temporary = self.out / ".summary.json.tmp"
            temporary.write_text(json.dumps(asdict(summary), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            os.replace(temporary, path)
        return summary

    def _loop(
        self,
        sinks: Sequence[Sink],
        say: Callable[[str], None],
        should_stop: Callable[[], bool],
        on_step: Callable[[int], None] | None,
    ) -> None:
        config = self.config

        def write(line: dict[str, Any]) -> None:
            for sink in sinks:
                sink.write(line | {"time": round(time.time(), 3)})

        while self.step < config.steps and not self.ranks.any(should_stop()):
            measured = self._train_step()
            last = self.step == config.steps
            if last or self.step % config.log_every_steps == 0:
                write(measured)
                say(training_line(measured))
            if self._guard.spiking:
                say(f"step {self.step:>6}  loss {measured['loss']:.4f} is a spike; it is let pass")
            if last or self.step % config.evaluate_every_steps == 0:
                self._evaluate(write, say)
            if self.step % config.checkpoint_every_steps == 0:
                self._save()
            if on_step is not None:
                on_step(self.step)
        if self._saved != self.step:
            self._save()

    def _train_step(self) -> dict[str, Any]:
        """One step; what was measured. The step counts once its weights are updated."""
        began = time.perf_counter()
        config = self.config
        # whatever draws random numbers in a step (dropout) draws them anew in a resumed run
        torch.manual_seed((config.seed << 48) + (self.step << 16) + self.ranks.rank & _SEED_MASK)
        factor = rate_factor(self.step, config.steps, config.optimizer)
        micros = self._objective.step(self.model)
        totals = forward_backward(self._objective, self.model, micros, self._gradients, self.ranks)
        gradients = self._gradients.tensors()
        norm = self._layout.norm(gradients)
        loss, grad_norm = totals.measures["loss"], float(norm)
        reason = self._guard.verdict(loss, grad_norm)
        if reason is not None:
            raise stop(
                self.out,
                step=self.step + 1,
                reason=reason,
                loss=loss,
                grad_norm=grad_norm,
                last_losses=self._guard.last_losses,
                not_finite=self.ranks.union(not_finite(gradients)),
                rows=self.ranks.union([self._objective.place(row) for micro in micros for row in micro.rows]),
                writes=self.ranks.is_first,
            )
        clip_(gradients, norm, config.optimizer.max_grad_norm)
        self.optimizer.step(gradients, factor)
        self._gradients.clear()
        rate = self.model.config.text.router_bias_update_rate
        trains_decoder = "decoder" in config.train_parts and not self._base
        if rate and totals.load is not None and trains_decoder:
            update_balancing(self.model, totals.load, rate)
        self.step += 1
        elapsed = time.perf_counter() - began
        self._seconds += elapsed
        self._tokens += totals.tokens
        self._train_loss = loss
        return {
            "step": self.step,
            **totals.measures,
            "grad_norm": grad_norm,
            "rate": factor,
            **totals.balance_of_experts(),
            "tokens": totals.tokens,
            "tokens_per_s": totals.tokens / elapsed,
            "memory_mib": peak_memory_mib(),
        }

    def _evaluate(self, write: Callable[[dict[str, Any]], None], say: Callable[[str], None]) -> None:
        scores = self._objective.evaluate(self.model)
        if scores:
            self._held_out_loss = scores.get("held_out_loss")
            write({"step": self.step, **scores})
            say(held_out_line(self.step, scores))

    def _save(self) -> None:
        progress = Progress(self.step, self._identity, self._objective.state_dict(), self._guard.state_dict())
        writer = model_writer(self.model, self.info.tokenizer, PRECISIONS[self.config.precision], self._base)
        self._checkpointer.save(run_state(self.model, self.optimizer, self._layout), progress, writer)
        self._saved = self.step


def peak_memory_mib() -> int:
    """The most memory this process has held, MiB: the accelerator's where there is one, else resident memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
