"""Conversations on the command line: asked, read from a file, shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from schemas.errors import SluiceError


def asked(question: str, system: str | None, media: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """A question of the user's after `media` by kind, and a system message before all if there is one."""
    parts = [{"type": kind, kind: data} for kind, found in media.items() for data in found]
    content = [*parts, {"type": "text", "text": question}]
    before = [] if system is None else [{"role": "system", "content": system}]
    return [*before, {"role": "user", "content": content}]


def read_json(path: Path) -> Any:
    """A JSON file; raises SluiceError when it cannot be read or is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SluiceError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SluiceError(f"{path} is no JSON ({error})") from error


def read_messages(path: Path) -> Any:
    """The messages of a file, with the media they name read. What is not of that form is left to the renderer to judge.

    A part's `image`, `audio` or `video` (an animation) is a data URI, or a file in the folder of the messages; nothing
    outside it is read.
    """
    messages = read_json(path)
    for message in messages if isinstance(messages, list) else []:
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else []:
            kind = part.get("type") if isinstance(part, dict) else None
            value = part.get(kind) if kind in ("image", "audio", "video") else None
            if isinstance(value, str) and not value.startswith("data:"):
                part[kind] = _beside(path, value)
    return messages


def _beside(path: Path, name: str) -> bytes:
    folder = path.resolve().parent
    try:
        place = (folder / name).resolve()
        if not place.is_relative_to(folder):
            raise SluiceError(f"{path}: {name!r:.80} lies outside the folder of the messages; copy it there")
        return place.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, SluiceError):
            raise
        raise SluiceError(f"{path}: {name!r:.80} cannot be read ({error})") from error


def shown(message: dict[str, Any]) -> str:
    """A message for a person: the reasoning as a think block, the content, a line for each tool call."""
    reasoning = message.get("reasoning_content")
    calls = [json.dumps(call["function"], ensure_ascii=False) for call in message.get("tool_calls", [])]
    thought = [] if reasoning is None else [f"<think>\n{reasoning}\n</think>\n"]
    return "\n".join([*thought, *([message["content"]] if message["content"] else []), *calls])
