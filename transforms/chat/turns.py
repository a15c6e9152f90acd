"""Conversations become rows of text: their words where every other step finds them, their form in a column."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.chat import ChatError, ChatFormat, Conversation, joined, parse, slots_of
from transforms.base import Outcome, Params, Transform, Verdicts, append_columns, append_fields, partition
from transforms.registry import register

#: One SLOT a text of the conversation, in order: of which message and role, what it is (a tool, reasoning, content or a
#: tool call), and how many media stand in it.
SLOT = pa.struct(
    [
        pa.field("message", pa.int32(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("media", pa.int32(), nullable=False),
    ]
)
TURNS = pa.field("chat.turns", pa.list_(SLOT))
FORMAT = pa.field("chat.format", pa.string())


class TurnsParams(Params):
    """Where the messages are, and which of the family's formats they are rendered in."""

    #: the key of `meta` that holds the list of messages; a row without it is no conversation, and stays as it is
    messages_key: str = "messages"
    #: the key of `meta` that holds the tools the model may call
    tools_key: str = "tools"
    #: instruct: answers alone; thinking and hybrid: with think blocks, which is what prompts then lead to
    format: ChatFormat = "instruct"


@register("chat.turns", version=1)
class Turns(Transform[TurnsParams]):
    """Makes `text` of a row's messages, and adds `chat.turns` and `chat.format`, by which tokens.encode renders them.

    `text` becomes all that is written in the conversation (tools, reasoning that is shown, contents, tool calls), a
    line with the character U+10FFFC between two of them. Steps after this one see and edit it, and their edits are what
    is tokenized; a step that takes whole lines out may break the form, and the row is rejected then (chat_broken).

    The row's media are those of the messages, in order: pictures are read by the source (`columns: {image: images}`),
    and a message only says where they stand.
    """

    Params = TurnsParams
    reasons = frozenset({"bad_message", "bad_tools", "bad_tool_call", "no_answer", "media_mismatch"})
    edits_text = True

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, (TURNS, FORMAT))

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        texts = batch.column("text").to_pylist()
        known = TURNS.name in batch.schema.names
        turns: list[Any] = batch.column(TURNS.name).to_pylist() if known else [None] * len(texts)
        formats: list[Any] = batch.column(FORMAT.name).to_pylist() if known else [None] * len(texts)
        reasons: list[str | None] = [None] * len(texts)
        details: list[str | None] = [None] * len(texts)
        media = batch.column("media")
        kinds = media.flatten().field("kind").to_pylist()
        ends = pc.list_value_length(media).to_numpy(zero_copy_only=False).cumsum().tolist()
        for row, meta in enumerate(batch.column("meta").to_pylist()):
            if turns[row] is not None:  # met before: what was edited since must not come back
                continue
            try:
                chat = self._chat(meta, kinds[ends[row - 1] if row else 0 : ends[row]])
            except ChatError as error:
                reasons[row], details[row] = error.reason, str(error)[:500]
                continue
            if chat is not None:
                slots, words = zip(*slots_of(chat), strict=True)
                texts[row], formats[row] = joined(words), chat.format
                turns[row] = [{name: getattr(slot, name) for name in SLOT.names} for slot in slots]
        columns = [(batch.schema.field("text"), texts), (TURNS, turns), (FORMAT, formats)]
        return partition(append_columns(batch, columns), Verdicts(reasons, details))

    def _chat(self, meta: str, kinds: list[str]) -> Conversation | None:
        """The row's conversation, if it is one; `kinds` of the media it has."""
        if json.dumps(self.params.messages_key, ensure_ascii=False) not in meta:
            return None
        record = json.loads(meta)
        messages = _parsed(record.get(self.params.messages_key))
        if messages is None:
            return None
        chat = parse(messages, record.get(self.params.tools_key), self.params.format)
        if not any(message.role == "assistant" for message in chat.messages):
            raise ChatError("no_answer", "no message of the assistant, so there is nothing to learn")
        wanted = [media.kind for message in chat.messages for media in message.media]
        if wanted != kinds:
            raise ChatError("media_mismatch", f"the messages show {_counted(wanted)}, the row has {_counted(kinds)}")
        return chat


def _parsed(messages: Any) -> Any:
    """Messages that a table holds as JSON text; anything else as it is."""
    if not isinstance(messages, str):
        return messages
    try:
        return json.loads(messages)
    except (ValueError, RecursionError) as error:
        raise ChatError("bad_message", f"messages are a text, but no JSON ({error})") from error


def _counted(kinds: list[str]) -> str:
    return ", ".join(kinds) or "no media"
