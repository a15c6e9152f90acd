"""Conversations of our own in several languages: plain, thinking, with tools, with pictures and a clip."""

from __future__ import annotations

import json
from typing import Any

Row = dict[str, Any]


def say(role: str, content: Any, **more: Any) -> Row:
    return {"role": role, "content": content, **more}


def call(name: str, arguments: Any) -> Row:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "tide_table",
            "description": "High water at <harbour> & 'quay', in UTC.",
            "parameters": {"type": "object", "properties": {"hafen": {"type": "string"}}, "required": ["hafen"]},
        },
    },
    {"type": "function", "function": {"name": "convert", "parameters": {"factor": 1.5, "exact": None}}},
]

#: name -> a row as curation reads it (`images` and `audio` hold names of media fixtures)
CHATS: dict[str, Row] = {
    "english": {
        "messages": [
            say("system", "You keep a lighthouse. Answer in one sentence."),
            say("user", "Why is the lamp red tonight?"),
            say("assistant", "Red marks the shoal; keep it to your left."),
        ]
    },
    "deutsch": {
        "messages": [
            say("user", "Wie spät legt die Fähre ab?"),
            say("assistant", "Um 7:40 Uhr, bei Nebel später."),
            say("user", "Und zurück?"),
            say("assistant", "Die letzte fährt um 21 Uhr.\n\nDanach nur noch das Postboot."),
        ]
    },
    "日本語": {
        "messages": [say("user", "霧の日は何を聞きますか。"), say("assistant", "霧笛です。三十秒ごとに鳴ります。")]
    },
    "हिन्दी": {"messages": [say("user", "नाव कब आएगी?"), say("assistant", "शाम तक, अगर हवा ठीक रही।")]},
    "العربية": {"messages": [say("user", "كم عدد الدرجات؟"), say("assistant", "مئة وسبع عشرة درجة.")]},
    "thinking": {
        "messages": [
            say("user", "117 steps, 18 cm each: how high?"),
            say("assistant", "21.06 m.", reasoning_content="117 × 18 = 2106 cm.\nThat is 21.06 m.\n"),
        ]
    },
    "раздумье в тексте": {
        "messages": [
            say("user", "Сколько ступеней?"),
            say("assistant", "<think>\nСчитаю: сто семнадцать.\n</think>\n\nСто семнадцать."),
            say("user", "Точно?"),
            say("assistant", "<think>\nПроверю ещё раз.\n</think>\n\nДа, точно."),
        ]
    },
    "tools": {
        "tools": TOOLS,
        "messages": [
            say("system", "Du kennst die Gezeiten."),
            say("user", "Wann ist Hochwasser in Büsum, und wie hoch in Fuß?"),
            say(
                "assistant",
                "Ich sehe nach.",
                reasoning_content="Erst die Tafel.",
                tool_calls=[call("tide_table", {"hafen": "Büsum"}), call("convert", '{"m": 3.2,  "to": "ft"}')],
            ),
            say("tool", '{"hoch": "14:05"}'),
            say("tool", "10.5"),
            say("assistant", "Um 14:05 Uhr, 10,5 Fuß.", reasoning_content="Beides da."),
        ],
    },
    "un outil sans paroles": {
        "tools": TOOLS[:1],
        "messages": [
            say("user", "Marée haute à Brest ?"),
            say("assistant", None, tool_calls=[call("tide_table", {"hafen": "Brest"})]),
            say("tool", "Rien trouvé"),
            say("assistant", "Je n'ai rien trouvé pour Brest."),
            say("user", "Tant pis."),
            say("assistant", "Demandez à la capitainerie."),
        ],
    },
    "una imagen": {
        "images": ["png"],
        "messages": [
            say("user", [{"type": "text", "text": "¿Qué se ve aquí? "}, {"type": "image"}]),
            say("assistant", "Una colina y dos barcos."),
        ],
    },
    "두 그림": {
        "images": ["png", "jpeg"],
        "messages": [
            say("user", [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "무엇이 다른가요?"}]),
            say("assistant", [{"type": "text", "text": "두 번째에는 "}, {"type": "text", "text": "배가 없습니다."}]),
        ],
    },
    "a clip": {
        "audio": ["wav"],
        "messages": [
            say("user", [{"type": "audio"}, {"type": "text", "text": "What do you hear?"}]),
            say("assistant", "A single tone, one second long."),
        ],
    },
}


def row_of(name: str) -> Row:
    """A SAMPLE row as a source gives it: media read, the rest in `meta`."""
    from schemas.sample import SENTINEL
    from tests.fixtures import media_fixture
    from transforms.media import media_part

    chat = CHATS[name]
    files = [*chat.get("images", []), *chat.get("audio", [])]
    meta = {key: chat[key] for key in ("messages", "tools") if key in chat}
    return {
        "id": name,
        "source": f"chats#{name}",
        "text": SENTINEL * len(files),
        "media": [media_part(at, media_fixture(file)) for at, file in enumerate(files)],
        "meta": json.dumps(meta),
    }


def with_media(name: str) -> Row:
    """The row with the encoded files in its messages, as prompts take them."""
    from tests.fixtures import media_fixture

    chat = CHATS[name]
    files = iter([*chat.get("images", []), *chat.get("audio", [])])
    messages = []
    for message in chat["messages"]:
        content = message["content"]
        if isinstance(content, list):
            content = [
                part if part["type"] == "text" else part | {part["type"]: media_fixture(next(files))}
                for part in content
            ]
        messages.append(message | {"content": content})
    return chat | {"messages": messages}
