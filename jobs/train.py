"""`sluice train`: a model over a dataset, from a training configuration."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
import yaml
from rich.console import Console

from jobs.facts import caption_facts
from jobs.progress import RunProgress
from schemas.errors import RecipeError, SluiceError


def train(
    config: Annotated[Path, typer.Argument(help="The training configuration, a YAML file.")],
    data: Annotated[
        list[Path],
        typer.Option(
            "--data",
            help="A dataset's folder (it has a manifest.json), may be given again; for DPO and GRPO a file of rows.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The run's folder: metrics, checkpoints, summary.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Change a value: steps=100, optimizer.learning_rate=0.001.")
    ] = None,
    holdout: Annotated[float | None, typer.Option(help="Share of the sequences kept for held-out loss.")] = None,
    captions: Annotated[
        Path | None, typer.Option(help="Unseen image-caption pairs to score at the end: a WebDataset tar, or a folder.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads [default: physical cores].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, and nothing else.")] = False,
) -> None:
    """Train a model as CONFIG says. Killed or stopped, the same command goes on from the last checkpoint.

    Over several processes or machines: torchrun --nproc-per-node N -m jobs.cli train CONFIG ...
    """
    raw = _read(config)
    for place, value in [o.partition("=")[::2] for o in overrides or []]:
        _put(raw, place, yaml.safe_load(value))
    if holdout is not None:
        raw["holdout_ratio"] = holdout
    if captions is not None:
        _put(raw, "captions.path", str(captions))
    modules = import_model()
    neighbours = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    modules.torch.set_num_threads(threads or max(1, (psutil.cpu_count(logical=False) or 1) // neighbours))
    settings = modules.from_dict(modules.TrainConfig, raw, str(config))
    with modules.joined_ranks(os.environ, settings.parallel) as ranks:
        objective, describe = modules.OBJECTIVES[settings.objective.use]
        _train(modules, modules.Run(settings, data, out, objective, ranks, describe), as_json)


def _train(modules: Any, run: Any, as_json: bool) -> None:
    """Trains, and tells how it goes; of several ranks, the first one does."""
    console = Console(stderr=True, highlight=False)

    def say(line: str) -> None:
        if not as_json:
            console.print(line, markup=False, soft_wrap=True)

    with RunProgress(console) as bar, _Interrupt() as interrupt:
        summary = run.train(
            say=say,
            should_stop=lambda: interrupt.asked,
            on_step=(lambda step: bar("training", step, run.config.steps))
            if console.is_terminal and run.ranks.is_first
            else None,
        )
    if not run.ranks.is_first:
        return
    scores = _caption_scores(modules, run, say) if summary.finished and run.config.captions.path else None
    if as_json:
        found = dataclasses.asdict(summary) | {"captions": scores and dataclasses.asdict(scores)}
        print(json.dumps(found, ensure_ascii=False))
    if interrupt.asked and not summary.finished:
        raise KeyboardInterrupt


def _caption_scores(modules: Any, run: Any, say: Callable[[str], None]) -> Any:
    """What the trained model says of the pictures the configuration names, against their true captions."""
    settings = run.config.captions
    pairs = modules.read_caption_pairs(Path(settings.path), settings.max_images)
    generator = modules.TextGenerator.load(modules.newest_checkpoint(run.out))
    scores = modules.score_captions(
        pairs, lambda images: generator.caption(images, settings.max_new_tokens), caption_facts
    )
    say(
        f"captions of {scores.pairs} unseen images: {scores.exact_match:.1%} say exactly what is there, "
        f"{scores.attribute_accuracy:.1%} of attributes right, {scores.same_words:.1%} word for word"
    )
    for truth, text in scores.examples:
        say(f"  true: {truth}\n  said: {text}")
    return scores


def import_model() -> Any:
    """What the model's commands need of model/; raises SluiceError when torch is not installed."""
    try:
        from jobs import model_parts
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("torch", "safetensors"):
            raise
        raise SluiceError(
            f"training and generating need {error.name}, which is not installed: pip install 'sluice[model]'"
        ) from error
    return model_parts


class _Interrupt:
    """Turns the first Ctrl-C into a wish to stop after the step; the second one interrupts at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> _Interrupt:
        self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"the training configuration {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML: {error}") from error
    if not isinstance(raw, dict) or raw.get("train") != 1:
        raise RecipeError(f"{path} is not a training configuration: it must say `train: 1`")
    return raw


def _put(raw: dict[str, Any], place: str, value: Any) -> None:
    *parents, name = place.split(".")
    for parent in parents:
        raw = raw.setdefault(parent, {})
        if not isinstance(raw, dict):
            raise RecipeError(f"--set {place}: {parent!r} is not a group of settings")
    raw[name] = value
