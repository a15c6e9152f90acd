"""Conversations: messages and tools as they are written, checked and brought into the form that is rendered.

Messages are those of the OpenAI interface and of `transformers`: role, content (a text or a list of parts),
reasoning_content, tool_calls. What a chat template decides by looking at the whole conversation (whose reasoning is
shown, where a think block stands) is decided here, so that rendering (schemas.chat_render) is a walk over messages.

Between the two a conversation can become a list of texts and their slots, and be put together again from them: that is
how curation lets other steps edit its words.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from schemas.errors import SluiceError
from schemas.sample import SENTINEL

#: `instruct`: answers without thinking (Qwen3-Instruct-2507, Qwen3-VL-Instruct); `thinking`: always thinks first
#: (Qwen3-Thinking-2507, Qwen3-VL-Thinking); `hybrid`: thinks unless asked not to (the first Qwen3).
ChatFormat = Literal["instruct", "thinking", "hybrid"]
FORMATS: tuple[ChatFormat, ...] = get_args(ChatFormat)
Role = Literal["system", "user", "assistant", "tool"]
SlotKind = Literal["tool", "reasoning", "content", "call"]

#: Stands between the texts of a conversation while they are one text: the last but one private-use character, which
#: no step takes for a word, a control or white space, on a line of its own.
TURN = "\U0010fffc"
_JOINT = f"\n{TURN}\n"
_RESERVED = str.maketrans({SENTINEL: " ", TURN: " "})

#: the media a part may hold, by the names of its `type`
_MEDIA_TYPES = {name: kind for kind in ("image", "audio", "video") for name in (kind, f"{kind}_url", f"input_{kind}")}


class ChatError(SluiceError):
    """A conversation that cannot be rendered; `reason` is the word a curated row is rejected with."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Media:
    """A media part of a message: `kind` is image, audio or video; `data` what the message gave for it, or None."""

    kind: str
    data: Any = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it is rendered.

    `content` has one SENTINEL for each of `media`, in place. `reasoning` is None where no think block is shown, ""
    where an empty one is. `calls` are JSON objects with `name` and `arguments`, as texts.
    """

    role: Role
    content: str
    media: tuple[Media, ...] = ()
    reasoning: str | None = None
    calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in one format, and the tools the model may call: JSON objects as texts."""

    format: ChatFormat
    messages: tuple[Message, ...]
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Slot:
    """What one text of a conversation is: a part of message number `message`, with `media` sentinels in it."""

    message: int
    role: str
    kind: str
    media: int


def parse(messages: Any, tools: Any = None, format: ChatFormat = "instruct") -> Conversation:
    """Checks a conversation and settles what of it is shown.

    Reasoning is shown of what answers the last query, as the family's templates have it: an assistant's message after
    the last user message that is no tool response; of the last message an empty think block even without any. It is
    taken from `reasoning_content`, else from a think block written out in the content. In the instruct format there is
    none. SENTINEL and TURN in a text become spaces. Raises ChatError saying which message is wrong and why.
    """
    if format not in FORMATS:
        raise ChatError("bad_message", f"there is no chat format {format!r}; choose one of {', '.join(FORMATS)}")
    if not isinstance(messages, list) or not messages:
        raise ChatError("bad_message", f"messages must be a list with at least one message, not {_said(messages)}")
    found = [_message(message, f"message {at}") for at, message in enumerate(messages)]
    if format != "instruct":
        given = [message.get("reasoning_content") for message in messages]
        query = _last_query(found)
        found = [
            _thinking(message, given[at], at > query, at == len(found) - 1) if message.role == "assistant" else message
            for at, message in enumerate(found)
        ]
    for at, message in enumerate(found):
        if message.role == "assistant" and not (message.content or message.calls or message.reasoning):
            raise ChatError("bad_message", f"message {at} says nothing that is shown: no content, no tool call")
    return Conversation(format, tuple(found), _tools(tools))


def slots_of(chat: Conversation) -> list[tuple[Slot, str]]:
    """The texts of a conversation in order, and what each is."""
    found = [(Slot(0, "system", "tool", 0), tool) for tool in chat.tools]
    for at, message in enumerate(chat.messages):
        if message.reasoning is not None:
            found.append((Slot(at, message.role, "reasoning", 0), message.reasoning))
        found.append((Slot(at, message.role, "content", len(message.media)), message.content))
        found += [(Slot(at, message.role, "call", 0), call) for call in message.calls]
    return found


def joined(texts: Sequence[str]) -> str:
    """The texts as one, TURN between them on lines of its own."""
    return _JOINT.join(texts)


def assemble(format: ChatFormat, slots: Sequence[Slot], text: str, kinds: Sequence[str]) -> Conversation:
    """The conversation whose texts were `joined` and perhaps edited since; `kinds` are those of its media, in order.

    Raises ChatError (chat_broken) when the edits left another number of texts or media, or a tool call or a tool that
    is no JSON any more.
    """
    pieces = text.split(TURN)
    if len(pieces) != len(slots):
        raise ChatError(
            "chat_broken",
            f"{len(pieces)} texts are left of {len(slots)}: a step between chat.turns and the tokens took lines out",
        )
    texts = [
        piece.removeprefix("\n" if at else "").removesuffix("\n" if at + 1 < len(pieces) else "")
        for at, piece in enumerate(pieces)
    ]
    places = iter(kinds)
    tools: list[str] = []
    messages: dict[int, dict[str, Any]] = {}
    for slot, words in zip(slots, texts, strict=True):
        where = f"message {slot.message}"
        if words.count(SENTINEL) != slot.media:
            raise ChatError("chat_broken", f"{where} had {slot.media} media, {words.count(SENTINEL)} are left")
        if slot.kind == "tool":
            _object(words, "chat_broken", "a tool")
            tools.append(words)
            continue
        message = messages.setdefault(slot.message, {"role": slot.role, "content": "", "calls": ()})
        if slot.kind == "call":
            _object(words, "chat_broken", f"a tool call of {where}")
            message["calls"] += (words,)
        elif slot.kind == "reasoning":
            message["reasoning"] = words
        else:
            message["content"] = words
            message["media"] = tuple(Media(next(places)) for _ in range(slot.media))
    return Conversation(format, tuple(Message(**messages[at]) for at in sorted(messages)), tuple(tools))


def _message(message: Any, where: str) -> Message:
    if not isinstance(message, dict):
        raise ChatError("bad_message", f"{where} is {_said(message)}, not an object with role and content")
    role: Any = message.get("role")
    if role not in get_args(Role):
        raise ChatError("bad_message", f"{where} has the role {role!r:.80}; roles are {', '.join(get_args(Role))}")
    reasoning = message.get("reasoning_content")
    if reasoning is not None:
        _text(reasoning, f"reasoning_content of {where}")
    content, media = _content(message.get("content"), where)
    if media and role in ("system", "assistant"):
        raise ChatError(
            "bad_message", f"{where}: {media[0].kind} in a message of the {role}; only user and tool show it"
        )
    if role != "assistant":
        if message.get("content") is None:
            raise ChatError("bad_message", f"{where} has no content")
        return Message(role, content, media)
    return Message(role, content, calls=_calls(message.get("tool_calls"), where))


def _content(content: Any, where: str) -> tuple[str, tuple[Media, ...]]:
    if content is None:
        return "", ()
    if not isinstance(content, list):
        return _text(content, f"content of {where}"), ()
    words, media = [], []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            words.append(_text(part.get("text"), f"a text of {where}"))
        elif isinstance(kind, str) and kind in _MEDIA_TYPES:
            words.append(SENTINEL)
            media.append(Media(_MEDIA_TYPES[kind], part.get(kind)))
        else:
            raise ChatError(
                "bad_message",
                f"{where} has a part of type {kind!r:.80}; a part is an object of type text, image, audio or video",
            )
    return "".join(words), tuple(media)


def _calls(calls: Any, where: str) -> tuple[str, ...]:
    if calls is None:
        return ()
    if not isinstance(calls, list):
        raise ChatError("bad_tool_call", f"tool_calls of {where} is {_said(calls)}, not a list")
    return tuple(_call(call, f"tool call {at} of {where}") for at, call in enumerate(calls))


def _call(call: Any, where: str) -> str:
    function = call.get("function") or call if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise ChatError("bad_tool_call", f"{where} is {_said(call)}, not an object with a function")
    name, arguments = function.get("name"), function.get("arguments")
    # it is written between quotes as it is
    if not isinstance(name, str) or not name or json.dumps(name, ensure_ascii=False) != f'"{name}"':
        raise ChatError("bad_tool_call", f"{where} has the name {name!r:.80}; a name is a plain text")
    if isinstance(arguments, str):
        _object(arguments, "bad_tool_call", f"the arguments of {where}")
    else:
        arguments = _dumped(arguments, "bad_tool_call", f"the arguments of {where}")
    return _text(f'{{"name": "{name}", "arguments": {arguments}}}', where)


def _tools(tools: Any) -> tuple[str, ...]:
    if isinstance(tools, str):  # tables hold them so, for a table's columns have one type
        try:
            tools = json.loads(tools)
        except (ValueError, RecursionError) as error:
            raise ChatError("bad_tools", f"tools are a text, but no JSON ({error})") from error
    if tools is None:
        return ()
    if not isinstance(tools, list):
        raise ChatError("bad_tools", f"tools must be a list, not {_said(tools)}")
    return tuple(_text(_dumped(tool, "bad_tools", f"tool {at}"), f"tool {at}") for at, tool in enumerate(tools))


def _last_query(messages: list[Message]) -> int:
    """The number of the last user message that is none of tool responses written out; the last message without one."""
    for at in range(len(messages) - 1, -1, -1):
        content = messages[at].content
        is_response = content.startswith("<tool_response>") and content.endswith("</tool_response>")
        if messages[at].role == "user" and not is_response:
            return at
    return len(messages) - 1


def _thinking(message: Message, given: str | None, answers: bool, is_last: bool) -> Message:
    """An assistant's message with its reasoning apart, if it is shown."""
    content, reasoning = message.content, (given or "").translate(_RESERVED)
    if given is None and "</think>" in content:
        reasoning = content.split("</think>")[0].rstrip("\n").split("<think>")[-1].lstrip("\n")
        content = content.split("</think>")[-1].lstrip("\n")
    if not answers or not (is_last or reasoning):
        return Message(message.role, content, calls=message.calls)
    return Message(message.role, content.lstrip("\n"), reasoning=reasoning.strip("\n"), calls=message.calls)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ChatError("bad_message", f"{where} is {_said(value)}, not a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ChatError("bad_message", f"{where} holds half a character (a lone surrogate)") from error
    return value.translate(_RESERVED)


def _dumped(value: Any, reason: str, where: str) -> str:
    """A JSON object as the family's templates write one."""
    if not isinstance(value, dict):
        raise ChatError(reason, f"{where}: {_said(value)}, not a JSON object")
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ChatError(reason, f"{where} cannot be written as JSON ({error})") from error


def _object(text: str, reason: str, where: str) -> None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ChatError(reason, f"{where}: {text!r:.80} is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise ChatError(reason, f"{where}: {text!r:.80} is no JSON object")


def _said(value: Any) -> str:
    names = {type(None): "nothing", str: "a text", list: "a list", dict: "an object", bool: "a truth value"}
    return names.get(type(value), f"a {type(value).__name__}")
