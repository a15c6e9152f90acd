"""Trains the same small model on every arm's data, once a seed, and scores all of them on the held-out documents."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.ablation.data import Curated
from pipeline.recipe import digest
from pipeline.storage import write_bytes
from schemas.manifest import read_manifest

#: trained when no --train configuration is given: a nano model, eight sequences a step
PROXY: dict[str, Any] = {"train": 1, "name": "proxy", "model": "nano", "steps": 1, "batch_sequences": 8}
_LOSSES = "losses.parquet"


@dataclass(frozen=True)
class Budget:
    """How long every arm trains: until it has seen about `tokens`, in steps of `sequences`."""

    tokens: int
    sequences: int

    def steps(self, data: Curated) -> int:
        """Steps over an arm's data: its sequences hold tokens on average, by its manifest."""
        counts = data.manifest.counts
        return max(1, round(self.tokens * counts.sequences / (self.sequences * counts.tokens)))

    def trained(self, data: Curated) -> int:
        """Tokens that these steps hold on average, media placeholders included."""
        counts = data.manifest.counts
        return round(self.steps(data) * self.sequences * counts.tokens / counts.sequences)

    def epochs(self, data: Curated) -> float:
        """How often training sees each of an arm's sequences."""
        return self.steps(data) * self.sequences / data.manifest.counts.sequences


@dataclass(frozen=True)
class Trained:
    """An arm's models: `losses`, one list of scored documents a seed; `summaries`, what training said of each."""

    data: Curated
    losses: list[Any]
    summaries: list[dict[str, Any]]
    same_as: str | None


def configuration(given: dict[str, Any], where: str, modules: Any) -> Any:
    """A training configuration made fit to compare with: nothing of an arm is held out, since all are judged on other
    documents; every sequence is seen equally often; nothing is captioned on the way."""
    raw = given | {"holdout_ratio": 0.0, "media_repeats": 1, "keep_checkpoints": 1, "tensorboard": False}
    raw.pop("captions", None)
    return modules.from_dict(modules.TrainConfig, raw, where)


class Trainer:
    """Trains and scores in OUT/runs/ARM/seed-N/. What is done, of the same data and settings, is not done again."""

    def __init__(
        self,
        modules: Any,
        config: Any,
        budget: Budget,
        held_out: Path,
        out: Path,
        say: Callable[[str], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._modules, self._config, self._budget, self._held_out = modules, config, budget, held_out
        self._out, self._say, self._should_stop = out, say, should_stop
        self._judged_on = read_manifest(held_out).run_fingerprint
        self._done: dict[str, Trained] = {}

    def train(self, data: Curated, seeds: Sequence[int]) -> Trained:
        """The models of an arm. Arms with the same data are trained once: their models would be the same."""
        twin = self._done.get(data.content)
        if twin is not None:
            self._say(f"{data.arm.name}: the same data as {twin.data.arm.name}, so the same models")
            return dataclasses.replace(twin, data=data, same_as=twin.data.arm.name)
        found = [self._one(data, seed) for seed in seeds]
        trained = Trained(data, [losses for losses, _ in found], [summary for _, summary in found], None)
        self._done[data.content] = trained
        return trained

    def _one(self, data: Curated, seed: int) -> tuple[Any, dict[str, Any]]:
        from model.eval.arms import read_losses, write_losses
        from model.eval.dataset import score_dataset

        steps = self._budget.steps(data)
        config = dataclasses.replace(self._config, seed=seed, steps=steps, evaluate_every_steps=steps)
        identity = digest([dataclasses.asdict(config), data.content, self._judged_on])
        folder = self._out / "runs" / data.arm.name / f"seed-{seed}"
        summary_path = folder / "summary.json"
        losses = read_losses(folder / _LOSSES, identity)
        if losses is not None and summary_path.exists():
            return losses, json.loads(summary_path.read_text(encoding="utf-8"))
        marker = folder / "identity"
        if folder.exists() and not (marker.exists() and marker.read_text(encoding="utf-8") == identity):
            shutil.rmtree(folder)
        write_bytes(marker, identity.encode())
        self._say(f"{data.arm.name}, seed {seed}: {steps:,} steps, {self._budget.epochs(data):.2f} epochs")
        run = self._modules.Run(config, data.folder, folder)
        if not run.train(lambda line: None, self._should_stop).finished:
            raise KeyboardInterrupt
        checkpoint = self._modules.newest_checkpoint(folder)
        model = self._modules.TextGenerator.load(checkpoint).model
        losses = score_dataset(model, self._held_out, checkpoint)
        write_losses(folder / _LOSSES, losses, identity)
        # the scores are what is wanted; a model of each arm and seed would fill the disk
        shutil.rmtree(folder / "checkpoints")
        return losses, json.loads(summary_path.read_text(encoding="utf-8"))
