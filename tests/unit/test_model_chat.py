"""Conversations at the model: prompts with media, answers read back, `sluice generate --chat`, preference data."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from jobs.generate import generate
from model.config import ImageConfig
from model.data.answer import read_answer
from model.data.collate import IGNORE, collate
from model.data.dataset import special_ids
from model.data.frames import read_video
from model.data.preferences import PairReader, TaskReader
from model.data.tokenizer import Prompts, TextCodec, load_tokenizer
from model.infer.generate import Sampling, TextGenerator
from model.infer.generate import generate as generate_tokens
from model.interop import save_checkpoint_files
from model.net.vlm import build
from schemas.chat import FORMATS, parse
from schemas.chat_render import render
from schemas.chat_template import chat_template
from schemas.control_tokens import QWEN
from schemas.errors import SluiceError
from tests.chats import CHATS, TOOLS, say, with_media
from tests.model_data import square, tiny
from transforms.tokens.tokenizer import Tokenizer

HI = [say("user", "Hi")]


def definition() -> str:
    """Bytes as tokens, and all control tokens of the released vocabulary."""
    plain = json.loads(Tokenizer.load("bytes").json)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    plain["added_tokens"] = [{"id": 256 + at, "content": name} | flags for at, name in enumerate(QWEN)]
    return Tokenizer(plain).json


DEFINITION = definition()


def prompts(format="instruct") -> Prompts:
    codec = TextCodec(DEFINITION, format)
    return Prompts(codec, special_ids(codec.controls, "test"), ImageConfig(min_pixels=1024, max_pixels=65536))


def test_special_ids_know_turns_and_videos():
    found = special_ids({name: at for at, name in enumerate(QWEN)}, "test")
    assert [QWEN[at] for at in (found.im_start, found.im_end, found.video_pad)] == [
        "<|im_start|>",
        "<|im_end|>",
        "<|video_pad|>",
    ]
    assert found.stops == (found.end_of_text, found.im_end)
    assert special_ids({"<|endoftext|>": 7}, "old").stops == (7,)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["tools", "두 그림", "a clip", "раздумье в тексте", "english"])
def test_prompt_ids_are_the_first_of_the_conversation(name, format):
    chat = with_media(name)
    builder = prompts(format)
    whole = builder.conversation(chat["messages"], chat.get("tools"))
    prompt = builder.chat(chat["messages"][:-1], chat.get("tools"))
    assert whole.input_ids[: len(prompt.input_ids)].tolist() == prompt.input_ids.tolist()
    assert (prompt.images, prompt.audios) == (whole.images, whole.audios)


def test_a_conversation_is_learned_where_the_assistant_writes():
    chat = with_media("una imagen")
    builder = prompts()
    sequence = builder.conversation(chat["messages"])
    batch = collate([sequence])
    targets = [token for token in batch.targets.tolist() if token != IGNORE]
    assert builder.codec.spell(targets) == "Una colina y dos barcos.<|im_end|>"
    assert batch.images is not None and len(batch.images.rows) == 54


def test_media_are_given_in_their_messages():
    data = square("red")
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    text = {"type": "text", "text": "?"}
    forms = [{"type": "image", "image": data}, {"type": "image", "image": {"bytes": data, "path": None}}]
    forms += [{"type": "image", "image": uri}, {"type": "image_url", "image_url": {"url": uri}}]
    found = [prompts().chat([say("user", [form, text])]) for form in forms]
    assert all(one.images == found[0].images and one.images[0].data == data for one in found)
    for value, says in (
        (None, "nothing was given"),
        ("/etc/passwd", "give its bytes"),
        ("data:;base64,!", "not base64"),
    ):
        with pytest.raises(SluiceError, match=says):
            prompts().chat([say("user", [{"type": "image", "image": value}])])
    with pytest.raises(SluiceError, match="the video cannot be decoded"):
        prompts().chat([say("user", [{"type": "video", "video": b"x"}])])
    with pytest.raises(SluiceError, match="the last message is the assistant's own"):
        prompts().chat([*HI, say("assistant", "Ho")])


def test_a_tokenizer_brings_its_format(tmp_path):
    Tokenizer.load("bytes").save(tmp_path, "thinking")
    assert load_tokenizer(tmp_path).chat_format == "thinking"
    (tmp_path / "chat_template.jinja").unlink()
    assert load_tokenizer(tmp_path).chat_format == "instruct"
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(SluiceError, match="cannot be read"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", CHATS)
def test_an_answer_is_read_as_it_was_rendered(name, format):
    chat = parse(CHATS[name]["messages"], CHATS[name].get("tools"), format)
    for message, given in zip(chat.messages, CHATS[name]["messages"], strict=True):
        if message.role != "assistant" or "<think>" in message.content:  # in the instruct format, a text as any other
            continue
        alone = type(chat)(format, (message,))
        text = "".join(piece.value for piece in render(alone, QWEN) if piece.loss).removesuffix("<|im_end|>")
        is_thinking = format == "thinking" and message.reasoning is not None
        found = read_answer(text.removeprefix("<think>\n") if is_thinking else text, is_thinking)
        assert found["content"] == message.content
        assert found.get("reasoning_content", "") == (message.reasoning or "")
        calls = [
            one["function"]["arguments"] if isinstance(one["function"]["arguments"], dict) else {"m": 3.2, "to": "ft"}
            for one in given.get("tool_calls", [])
        ]
        assert [one["function"]["arguments"] for one in found.get("tool_calls", [])] == calls


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<think>\nnever ends", {"content": "", "reasoning_content": "never ends"}),
        ("a<tool_call>\nno json\n</tool_call>", {"content": "a<tool_call>\nno json\n</tool_call>"}),
        ('<tool_call>{"name": 1}</tool_call>', {"content": '<tool_call>{"name": 1}</tool_call>'}),
        ("<tool_call>\n{", {"content": "<tool_call>\n{"}),
        ("", {"content": ""}),
    ],
)
def test_an_answer_that_is_broken_loses_nothing(text, message):
    assert read_answer(text) == {"role": "assistant"} | message


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat") / "step"
    special = special_ids(TextCodec(DEFINITION).controls, "test")
    model = build(replace(tiny(vocab_size=256 + len(QWEN)), special=special), 5)
    for place in (folder, folder / "tokenizer"):
        place.mkdir()
        (place / "tokenizer.json").write_text(DEFINITION)
        (place / "chat_template.jinja").write_text(chat_template("hybrid"))
    save_checkpoint_files(model, folder)
    (folder / "a.png").write_bytes(square("red"))
    return folder


def command(*words) -> str:
    app = typer.Typer()
    app.command()(generate)
    result = CliRunner().invoke(app, [str(word) for word in (*words, "--max-new-tokens", 5, "--threads", 1)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_generate_answers_in_a_conversation(checkpoint):
    picture = checkpoint / "a.png"
    asked = command(checkpoint, "--chat", "Colour?", "--system", "s", "--image", picture, "--no-thinking", "--json")
    messages = [
        say("system", "s"),
        say("user", [{"type": "image", "image": "a.png"}, {"type": "text", "text": "Colour?"}]),
    ]
    (checkpoint / "m.json").write_text(json.dumps(messages))
    (checkpoint / "t.json").write_text(json.dumps(TOOLS))
    read = command(checkpoint, "--messages", checkpoint / "m.json", "--no-thinking", "--json")
    assert json.loads(asked) == json.loads(read) and json.loads(asked)["message"]["role"] == "assistant"
    writer = TextGenerator.load(checkpoint)
    messages[1]["content"][0]["image"] = picture.read_bytes()
    expected = writer.chat(messages, None, False, Sampling(max_new_tokens=5))
    assert json.loads(read)["message"] == expected
    assert command(checkpoint, "--messages", checkpoint / "m.json", "--tools", checkpoint / "t.json")


def test_generate_looks_at_videos(checkpoint, tmp_path):
    for i, color in enumerate(("red", "green", "blue", "yellow")):
        (tmp_path / f"{i}.png").write_bytes(square(color))
    asked = json.loads(command(checkpoint, "--chat", "What?", "--video", tmp_path, "--fps", 2, "--json"))
    parts = [{"type": "video", "video": read_video(tmp_path, 2.0)}, {"type": "text", "text": "What?"}]
    writer = TextGenerator.load(checkpoint)
    assert asked["message"] == writer.chat([say("user", parts)], sampling=Sampling(max_new_tokens=5))
    continued = json.loads(command(checkpoint, "--prompt", "a", "--video", tmp_path, "--fps", 2, "--json"))
    assert continued["text"] == writer("a", sampling=Sampling(max_new_tokens=5), videos=[read_video(tmp_path, 2.0)])
    with pytest.raises(SluiceError, match="--fps is the frame rate of a --video"):
        command(checkpoint, "--prompt", "a", "--fps", 2)


def test_generate_says_what_is_wrong(checkpoint, tmp_path):
    (tmp_path / "m.json").write_text(json.dumps([say("user", [{"type": "image", "image": "../a.png"}])]))
    (tmp_path / "x.json").write_text("{")
    for words, says in (
        (("--chat", "a", "--prompt", "b"), "give one of the three"),
        (("--prompt", "b", "--thinking"), "belong to a conversation"),
        (("--messages", tmp_path / "m.json"), "lies outside the folder"),
        (("--messages", tmp_path / "x.json"), "is no JSON"),
        (("--messages", tmp_path / "none.json"), "cannot be read"),
        (("--messages", tmp_path / "m.json", "--system", "s"), "are in the file"),
    ):
        with pytest.raises(SluiceError, match=says):
            command(checkpoint, *words)


def test_what_ends_a_message_ends_generation(checkpoint):
    writer = TextGenerator.load(checkpoint)
    model, prompt = writer.model, prompts("hybrid").chat(HI)
    (tokens,) = generate_tokens(model, [prompt], Sampling(max_new_tokens=6))
    ending = tokens[0]
    model.config = replace(model.config, special=replace(model.config.special, im_end=ending))
    assert list(generate_tokens(model, [prompt], Sampling(max_new_tokens=6))) == [[]]


def write(path, rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


PAIRS = [
    {"prompt": "Hi", "chosen": "Ho!", "rejected": "What?"},
    {
        "messages": [say("system", "s"), *HI, say("assistant", "a"), *HI],
        "chosen": say("assistant", "x"),
        "rejected": "yy",
    },
    {"prompt": HI, "tools": TOOLS, "chosen": CHATS["tools"]["messages"][2:], "rejected": [say("assistant", "No.")]},
]


def test_pairs_are_rendered_and_learned_in_their_answers(tmp_path):
    write(tmp_path / "pairs.jsonl", PAIRS)
    builder = prompts("thinking")
    reader = PairReader(tmp_path / "pairs.jsonl", builder, seed=3)
    assert len(reader) == 3

    def learned(sequence):
        return builder.codec.spell([token for token in collate([sequence]).targets.tolist() if token != IGNORE])

    assert learned(reader[0].chosen) == "<think>\n\n</think>\n\nHo!<|im_end|>"
    # what the assistant said before is part of the prompt
    assert learned(reader[1].rejected) == "<think>\n\n</think>\n\nyy<|im_end|>"
    assert learned(reader[2].chosen).count("<|im_end|>") == 2 and "tool_response" not in learned(reader[2].chosen)
    for at in range(3):
        chosen, rejected = reader[at].chosen, reader[at].rejected
        prompt = builder.chat(PAIRS[at].get("messages") or [*HI], PAIRS[at].get("tools")).input_ids.tolist()
        assert chosen.input_ids[: len(prompt)].tolist() == rejected.input_ids[: len(prompt)].tolist() == prompt
    assert reader[1].source == "pairs.jsonl:2"


def test_preferences_come_in_a_resumable_order(tmp_path):
    rows = [{"prompt": f"{n}", "answer": f"{n + 1}"} for n in range(7)]
    write(tmp_path / "a.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    reader = TaskReader(tmp_path / "a.jsonl", prompts(), seed=1)
    first = [next(reader).answer for _ in range(4)]
    state = reader.state_dict()
    rest = [next(reader).answer for _ in range(10)]
    assert sorted(first + rest[:3]) == [row["answer"] for row in rows] and rest[3:] != first + rest[:3]
    again = TaskReader(tmp_path / "a.jsonl", prompts(), seed=1)
    again.load_state_dict(json.loads(json.dumps(state)))
    assert [next(again).answer for _ in range(10)] == rest
    parquet = TaskReader(tmp_path / "a.parquet", prompts(), seed=1)
    assert [next(parquet).answer for _ in range(4)] == first
    with pytest.raises(SluiceError, match="give the data it was made with"):
        parquet.load_state_dict(state)


def test_long_rows_are_passed_over(tmp_path):
    write(tmp_path / "p.jsonl", [PAIRS[0], PAIRS[0] | {"rejected": "no " * 99}])
    reader = PairReader(tmp_path / "p.jsonl", prompts(), seed=0, max_tokens=100)
    assert [next(reader).source for _ in range(3)] == ["p.jsonl:1"] * 3 and reader.skipped >= 2
    with pytest.raises(SluiceError, match="every row is longer than 9 tokens"):
        next(PairReader(tmp_path / "p.jsonl", prompts(), seed=0, max_tokens=9))


@pytest.mark.parametrize(
    ("kind", "line", "says"),
    [
        (PairReader, "{", "row 1: no JSON"),
        (PairReader, "[]", "row 1: a list, where each line must be an object"),
        (PairReader, "{}", "neither `prompt` and `messages`"),
        (PairReader, '{"prompt": "a", "messages": []}', "both `prompt` and `messages`"),
        (PairReader, '{"prompt": 7}', "the prompt is neither a text nor a list of messages"),
        (PairReader, '{"prompt": "a", "chosen": "b"}', "`rejected` is neither a text"),
        (PairReader, '{"prompt": "a", "chosen": "", "rejected": "b"}', "message 1 says nothing"),
        (
            PairReader,
            '{"prompt": [{"role": "assistant", "content": "b"}]}',
            "the prompt ends with a message of the assist",
        ),
        (PairReader, '{"prompt": "a", "chosen": {"role": "user", "content": "b"}}', "`chosen` must begin and end with"),
        (TaskReader, '{"prompt": "a"}', "neither `answer` nor `check`"),
        (TaskReader, '{"prompt": "a", "answer": 7}', "`answer` is a int, not a text"),
        (TaskReader, "", "has no rows"),
    ],
)
def test_rows_that_are_none_are_told(tmp_path, kind, line, says):
    (tmp_path / "x.jsonl").write_text(line)
    with pytest.raises(SluiceError, match=r"x\.jsonl") as caught:
        kind(tmp_path / "x.jsonl", prompts(), 0)
    assert says in str(caught.value)


def test_files_that_are_none_are_told(tmp_path):
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(SluiceError, match="no readable Parquet file"):
        PairReader(tmp_path / "torn.parquet", prompts(), 0)
    with pytest.raises(SluiceError, match="cannot be read"):
        PairReader(tmp_path / "none.jsonl", prompts(), 0)
