"""`sluice generate`: continue a prompt, say what an image or a clip holds, or answer in a conversation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from jobs.messages import asked, read_json, read_messages, shown
from jobs.train import import_model
from schemas.errors import SluiceError


def generate(
    checkpoint: Annotated[Path, typer.Argument(help="A run's folder (its newest checkpoint is used) or a checkpoint.")],
    prompt: Annotated[str, typer.Option(help="The text to continue; after an image it begins the caption.")] = "",
    image: Annotated[list[Path] | None, typer.Option(help="An image to caption; may be repeated.")] = None,
    audio: Annotated[list[Path] | None, typer.Option(help="A clip to describe; may be repeated.")] = None,
    video: Annotated[
        list[Path] | None,
        typer.Option(help="A video: an animated GIF or WebP, or a folder of frames; may be repeated."),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames a second of --video [default: an animation's own; of a folder, 24].")
    ] = None,
    chat: Annotated[str | None, typer.Option(help="Ask this, with the images and clips, and print the answer.")] = None,
    system: Annotated[str | None, typer.Option(help="A system message before what --chat asks.")] = None,
    messages: Annotated[
        Path | None, typer.Option(help="Answer a conversation: a JSON list of messages; media are files beside it.")
    ] = None,
    tools: Annotated[Path | None, typer.Option(help="Tools the model may call: a JSON list of functions.")] = None,
    thinking: Annotated[
        bool | None, typer.Option("--thinking/--no-thinking", help="Think first, or do not [default: the model's way].")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens to write, at most.")] = 64,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 always takes the likeliest token.")] = 0.0,
    top_k: Annotated[int, typer.Option(min=0, help="Sample from so many of the likeliest tokens; 0: from all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Sample from the likeliest tokens that hold this much.")] = 1.0,
    min_p: Annotated[float, typer.Option(help="Sample from tokens at least this likely, beside the likeliest.")] = 0.0,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1: tokens seen before become less likely.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads [default: physical cores].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write what CHECKPOINT makes of a prompt, images and clips, or its answer in a conversation."""
    if fps is not None and not video:
        raise SluiceError("--fps is the frame rate of a --video, and there is none")
    modules = import_model()
    images, clips = [_bytes(path) for path in image or []], [_bytes(path) for path in audio or []]
    videos = [modules.read_video(path, fps) for path in video or []]
    conversation = _conversation(prompt, chat, system, messages, {"image": images, "video": videos, "audio": clips})
    if conversation is None and (tools is not None or thinking is not None or system is not None):
        raise SluiceError("--system, --tools and --thinking belong to a conversation; ask with --chat or --messages")
    functions = None if tools is None else read_json(tools)
    modules.torch.set_num_threads(threads or psutil.cpu_count(logical=False) or 1)
    sampling = modules.Sampling(
        max_new_tokens=max_new_tokens,
        repetition_penalty=repetition_penalty,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        seed=seed,
    )
    folder = modules.newest_checkpoint(checkpoint)
    writer = modules.TextGenerator.load(folder)
    made: dict[str, Any] = {"checkpoint": str(folder)}
    if conversation is not None:
        made["message"] = writer.chat(conversation, functions, thinking, sampling)
        text = shown(made["message"])
    else:
        text = writer(prompt, images, clips, sampling, videos)
        made |= {"prompt": prompt, "text": text}
    print(json.dumps(made, ensure_ascii=False) if as_json else text)


def _conversation(
    prompt: str, chat: str | None, system: str | None, messages: Path | None, media: dict[str, list[Any]]
) -> Any:
    """The messages to answer; None when a prompt is to be continued."""
    if sum((bool(prompt), chat is not None, messages is not None)) > 1:
        raise SluiceError("--prompt is continued, --chat and --messages are answered: give one of the three")
    if messages is None:
        return None if chat is None else asked(chat, system, media)
    if any(media.values()) or system is not None:
        raise SluiceError("with --messages, images, videos, clips and the system message are in the file")
    return read_messages(messages)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SluiceError(f"{path} cannot be read: {error.strerror}") from error
