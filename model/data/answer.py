"""What a model wrote, read as the assistant's message: the reverse of rendering one."""

from __future__ import annotations

import json
import re
from typing import Any

_CALL = re.compile(r"<tool_call>\n?(.*?)\n?</tool_call>", re.DOTALL)


def read_answer(text: str, is_thinking: bool = False) -> dict[str, Any]:
    """A message with `content` and, where there are any, `reasoning_content` and `tool_calls`.

    text: generated tokens with the control tokens written out. is_thinking: whether the prompt opened the think block.
    Reasoning that was cut off is reasoning without content. What is no JSON object with a name and arguments stays in
    the content, so that nothing the model wrote is lost.
    """
    message: dict[str, Any] = {"role": "assistant"}
    if is_thinking or text.lstrip("\n").startswith("<think>"):
        reasoning, _, text = text.partition("</think>")
        reasoning = reasoning.strip("\n").removeprefix("<think>").strip("\n")
        text = text.lstrip("\n")
        if reasoning:
            message["reasoning_content"] = reasoning
    calls = []
    words, at = [], 0
    for found in _CALL.finditer(text):
        call = _function(found[1])
        if call is not None:
            calls.append({"type": "function", "function": call})
            words.append(text[at : found.start()].removesuffix("\n"))
            at = found.end()
    message["content"] = "".join([*words, text[at:]])
    if calls:
        message["tool_calls"] = calls
    return message


def _function(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", {})
    return {"name": value["name"], "arguments": arguments} if isinstance(arguments, dict) else None
