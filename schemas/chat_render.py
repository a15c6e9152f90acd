"""The one renderer of conversations: what curation tokenizes, training learns and generation continues.

ChatML as in the family's published templates: `<|im_start|>role`, a line break, the content, `<|im_end|>`. The same
text as a template for `transformers` is in schemas.chat_template.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Literal

from schemas.chat import ChatError, ChatFormat, Conversation, Message
from schemas.control_tokens import (
    END_THINK,
    END_TOOL_CALL,
    END_TOOL_RESPONSE,
    IM_END,
    IM_START,
    THINK,
    TOOL_CALL,
    TOOL_RESPONSE,
)
from schemas.sample import SENTINEL

TOOLS_HEAD = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
TOOLS_TAIL = "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
TOOLS_FORM = '\n{"name": <function-name>, "arguments": <args-json-object>}\n'


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a rendered conversation.

    `kind`: text is encoded by itself, as text, whatever it spells; control is the token `value`; media is the next
    media part, of the kind `value`, marks and all. `loss`: whether the model learns to write it.
    """

    kind: Literal["text", "control", "media"]
    value: str
    loss: bool


def render(
    chat: Conversation, controls: Container[str], *, answer: bool = False, thinking: bool | None = None
) -> list[Piece]:
    """A conversation as pieces in order; with `answer`, up to where the assistant's next message begins.

    controls: the control tokens the tokenizer has; those of `<think>`, `<tool_call>` and their like that it lacks are
    text. thinking: None is the format's own way; only the hybrid format has both.
    Loss is on what the assistant writes: think blocks, content, tool calls and the closing `<|im_end|>`.
    Text ends where a prompt may end, so a prompt's tokens are the first of the whole conversation's.
    Raises ChatError when the tokenizer is not made for conversations, or the format does not think as asked.
    """
    if IM_START not in controls or IM_END not in controls:
        raise ChatError(
            "bad_message", f"the tokenizer has no {IM_START} and {IM_END}, so it cannot write conversations"
        )
    pieces = _Pieces(controls)
    messages = chat.messages
    system = messages[0].content if messages[0].role == "system" else None
    if chat.tools:
        _tools(pieces, chat.tools, system)
    for at, message in enumerate(messages):
        if message.role == "assistant":
            _assistant(pieces, message, chat.format)
        elif message.role == "tool":
            is_first = at == 0 or messages[at - 1].role != "tool"
            is_last = at + 1 == len(messages) or messages[at + 1].role != "tool"
            _tool_response(pieces, message, is_first, is_last)
        elif at or message.role != "system" or not chat.tools:  # the first system message stands with the tools
            pieces.begin(message.role)
            pieces.content(message)
            pieces.end()
    if answer:
        pieces.begin("assistant")
        _opening(pieces, chat.format, thinking)
    return pieces.found


class _Pieces:
    """Collects pieces; texts that follow each other become one, so that they are encoded as they stand together."""

    def __init__(self, controls: Container[str]) -> None:
        self._controls = controls
        self._open = False  # whether the last piece is a text that may go on
        self.found: list[Piece] = []
        self.loss = False

    def text(self, text: str) -> None:
        if text and self._open and self.found[-1].loss == self.loss:
            self.found[-1] = Piece("text", self.found[-1].value + text, self.loss)
        elif text:
            self.found.append(Piece("text", text, self.loss))
            self._open = True

    def control(self, name: str) -> None:
        if name in self._controls:
            self.found.append(Piece("control", name, self.loss))
            self._open = False
        else:
            self.text(name)

    def border(self) -> None:
        """A prompt may end here: tokens do not reach across."""
        self._open = False

    def content(self, message: Message) -> None:
        first, *others = message.content.split(SENTINEL)
        self.text(first)
        for media, text in zip(message.media, others, strict=True):
            self.found.append(Piece("media", media.kind, False))
            self._open = False
            self.text(text)

    def begin(self, role: str) -> None:
        self.control(IM_START)
        self.text(f"{role}\n")

    def end(self) -> None:
        self.control(IM_END)
        self.loss = False
        self.text("\n")


def _tools(pieces: _Pieces, tools: tuple[str, ...], system: str | None) -> None:
    pieces.begin("system")
    pieces.text("" if system is None else f"{system}\n\n")
    pieces.text(TOOLS_HEAD + "".join(f"\n{tool}" for tool in tools) + TOOLS_TAIL)
    pieces.control(TOOL_CALL)
    pieces.control(END_TOOL_CALL)
    pieces.text(" XML tags:\n")
    pieces.control(TOOL_CALL)
    pieces.text(TOOLS_FORM)
    pieces.control(END_TOOL_CALL)
    pieces.end()


def _assistant(pieces: _Pieces, message: Message, format: ChatFormat) -> None:
    pieces.begin("assistant")
    pieces.loss = True
    if message.reasoning is not None:
        pieces.control(THINK)
        pieces.text("\n")
        if message.reasoning or format == "thinking":  # an empty block in the hybrid format is a prompt's, all of it
            pieces.border()
        pieces.text(f"{message.reasoning}\n")
        pieces.control(END_THINK)
        pieces.text("\n\n")
        pieces.border()
    pieces.text(message.content)
    for at, call in enumerate(message.calls):
        pieces.text("\n" if at or message.content else "")
        pieces.control(TOOL_CALL)
        pieces.text(f"\n{call}\n")
        pieces.control(END_TOOL_CALL)
    pieces.end()


def _tool_response(pieces: _Pieces, message: Message, is_first: bool, is_last: bool) -> None:
    """Responses that follow each other are one message of the user."""
    if is_first:
        pieces.control(IM_START)
        pieces.text("user")
    pieces.text("\n")
    pieces.control(TOOL_RESPONSE)
    pieces.text("\n")
    pieces.content(message)
    pieces.text("\n")
    pieces.control(END_TOOL_RESPONSE)
    if is_last:
        pieces.end()


def _opening(pieces: _Pieces, format: ChatFormat, thinking: bool | None) -> None:
    if thinking and format == "instruct":
        raise ChatError("bad_message", "this model answers without thinking (its chat format is instruct)")
    if thinking is False and format == "thinking":
        raise ChatError("bad_message", "this model always thinks first (its chat format is thinking)")
    pieces.border()
    if format == "thinking" or (format == "hybrid" and thinking is False):
        pieces.control(THINK)
        pieces.text("\n")
        if format == "hybrid":
            pieces.text("\n")
            pieces.control(END_THINK)
            pieces.text("\n\n")
