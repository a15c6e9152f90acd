"""`sluice generate`: continue a prompt, or say what an image or a clip holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import psutil
import typer

from jobs.train import import_model
from schemas.errors import SluiceError


def generate(
    checkpoint: Annotated[Path, typer.Argument(help="A run's folder (its newest checkpoint is used) or a checkpoint.")],
    prompt: Annotated[str, typer.Option(help="The text to continue; after an image it begins the caption.")] = "",
    image: Annotated[list[Path] | None, typer.Option(help="An image to caption; may be repeated.")] = None,
    audio: Annotated[list[Path] | None, typer.Option(help="A clip to describe; may be repeated.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens to write, at most.")] = 64,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 always takes the likeliest token.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Sample from the likeliest tokens that hold this much.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads [default: physical cores].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write what CHECKPOINT makes of a prompt, images and clips."""
    modules = import_model()
    modules.torch.set_num_threads(threads or psutil.cpu_count(logical=False) or 1)
    sampling = modules.Sampling(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
    images, clips = [_bytes(path) for path in image or []], [_bytes(path) for path in audio or []]
    folder = modules.newest_checkpoint(checkpoint)
    text = modules.TextGenerator.load(folder)(prompt, images, clips, sampling)
    print(
        json.dumps({"checkpoint": str(folder), "prompt": prompt, "text": text}, ensure_ascii=False) if as_json else text
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SluiceError(f"{path} cannot be read: {error.strerror}") from error
