"""What transformers makes of the same tokenizer, images and clips."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from schemas.chat import FORMATS, parse
from schemas.chat_render import render
from schemas.control_tokens import FAMILY, QWEN
from tests.chats import CHATS
from transforms.tokens.media import image_grid, image_tokens, mel_frames, smart_resize
from transforms.tokens.tokenizer import Tokenizer
from transforms.tokens.train import train_bpe

transformers = pytest.importorskip("transformers", reason="transformers is not installed (a development extra)")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    made = train_bpe(["the quick brown fox jumps over the lazy dog, über den Hund, 懒狗 " * 3] * 20, 400)
    made.save(folder)
    return made, folder


def test_a_saved_tokenizer_opens(saved):
    made, folder = saved
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert len(theirs) == made.vocab_size
    assert [theirs.convert_tokens_to_ids(name) for name in FAMILY] == [made.special_ids[name] for name in FAMILY]
    assert (theirs.eos_token, theirs.pad_token) == ("<|endoftext|>", "<|endoftext|>")
    assert set(FAMILY) <= set(theirs.all_special_tokens)
    text = "The brown fox, e\u0301 über 懒狗\n\n  and 123 more."
    ids = made.encode([text])[0].tolist()
    assert theirs.encode(text) == ids
    assert theirs.decode(ids) == made.decode(ids) == "The brown fox, é über 懒狗\n\n  and 123 more."
    # read as a prompt, a spelled control token is one; read as text, never
    assert theirs.encode("<|im_end|>") == [made.special_ids["<|im_end|>"]]
    assert made.special_ids["<|im_end|>"] not in made.encode(["<|im_end|>"])[0]


def test_it_opens_as_the_general_class_too(saved):
    made, folder = saved
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    assert theirs.encode("the fox <|image_pad|>")[-1] == made.special_ids["<|image_pad|>"]


@pytest.fixture(scope="module", params=["family", "qwen"])
def chatty(request, saved):
    """A tokenizer with the family's control tokens alone, and one that has `<think>`, `<tool_call>` and the rest."""
    made = saved[0]
    if request.param == "family":
        return made
    definition = json.loads(made.json)
    known = {token["content"] for token in definition["added_tokens"]}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    more = [name for name in QWEN if name not in known]
    definition["added_tokens"] += [
        {"id": made.vocab_size + at, "content": name} | flags for at, name in enumerate(more)
    ]
    return Tokenizer(definition)


@pytest.mark.parametrize("format", FORMATS)
def test_conversations_are_those_of_apply_chat_template(chatty, format, tmp_path):
    """Our renderer, and the template saved beside the tokenizer as transformers runs it: one text, the same ids."""
    chatty.save(tmp_path, format)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    marks = {
        "image": "<|vision_start|><|image_pad|><|vision_end|>",
        "audio": "<|audio_start|><|audio_pad|><|audio_end|>",
    }
    for name, chat in CHATS.items():
        messages, tools = chat["messages"], chat.get("tools")
        for shown, answer, thinking in (
            (messages, False, None),
            (messages[:-1], True, None),
            *([(messages[:-1], True, False)] if format == "hybrid" else []),
        ):
            more = {} if thinking is None else {"enable_thinking": thinking}
            pieces = render(parse(shown, tools, format), chatty.special_ids, answer=answer, thinking=thinking)
            text = "".join(
                marks.get(piece.value, piece.value) if piece.kind == "media" else piece.value for piece in pieces
            )
            options = {"tools": tools, "add_generation_prompt": answer, **more}
            assert text == theirs.apply_chat_template(shown, tokenize=False, **options), name
            ids: list[int] = []
            for piece in pieces:
                if piece.kind == "text":
                    ids += chatty.encode([piece.value])[0].tolist()
                else:
                    names = marks[piece.value].replace("><", "> <").split() if piece.kind == "media" else [piece.value]
                    ids += [chatty.special_ids[name] for name in names]
            if format == "instruct" and "<think>" in text:
                continue  # written out in a content it is text to us, and to them whatever the tokenizer takes it for
            found = theirs.apply_chat_template(shown, tokenize=True, return_dict=False, **options)
            if format == "thinking" and "<think>" in chatty.special_ids and not answer:
                # the prompt ends after the line break that opens an empty block, so it is a token of its own
                pair, alone = (chatty.encode([text])[0].tolist() for text in ("\n\n", "\n"))
                think = chatty.special_ids["<think>"]
                found = _split_after(found, think, pair, [*alone, *alone])
            assert ids == found, name


def _split_after(ids: list[int], mark: int, joined: list[int], apart: list[int]) -> list[int]:
    made: list[int] = []
    at = 0
    while at < len(ids):
        made.append(ids[at])
        at += 1
        if made[-1] == mark and ids[at : at + len(joined)] == joined:
            made += apart
            at += len(joined)
    return made


def test_smart_resize_is_theirs():
    module = pytest.importorskip(
        "transformers.models.qwen2_vl.image_processing_pil_qwen2_vl",
        reason="this transformers has no Pillow image processor for Qwen2-VL",
    )
    rng = random.Random(4)
    checked = 0
    for _ in range(5000):
        height, width = (int(2 ** rng.uniform(0, 14)) for _ in range(2))
        bounds = rng.choice([(65536, 16777216), (1024, 65536), (3136, 12845056)])
        if max(height, width) > 200 * min(height, width):
            with pytest.raises(ValueError):
                module.smart_resize(height, width, 32, *bounds)
            with pytest.raises(ValueError):
                smart_resize(height, width, 32, *bounds)
            continue
        assert smart_resize(height, width, 32, *bounds) == module.smart_resize(height, width, 32, *bounds)
        checked += 1
    assert checked > 3000


def test_mel_frames_are_whispers():
    extractor = transformers.WhisperFeatureExtractor(feature_size=128)
    rng = np.random.default_rng(0)
    # theirs needs more than half a window, 200 samples
    for samples in (201, 319, 320, 321, 1600, 4001, 16_000, 16_159):
        sound = rng.standard_normal(samples).astype(np.float32)
        found = extractor(sound, sampling_rate=16_000, truncation=False, padding="longest", return_tensors="np")
        assert found["input_features"].shape[-1] == mel_frames(samples)


def test_an_image_takes_as_many_placeholders_as_their_processor_says():
    module = pytest.importorskip(
        "transformers.models.qwen2_vl.image_processing_pil_qwen2_vl",
        reason="this transformers has no Pillow image processor for Qwen2-VL",
    )
    processor = module.Qwen2VLImageProcessorPil(
        patch_size=16, merge_size=2, size={"shortest_edge": 65536, "longest_edge": 1 << 20}
    )
    from PIL import Image

    for width, height in ((320, 240), (33, 700), (1000, 999)):
        found = processor(Image.new("RGB", (width, height)), return_tensors="np")
        grid = image_grid(height, width, min_pixels=65536, max_pixels=1 << 20)
        assert found["image_grid_thw"].tolist() == [list(grid)]
        assert found["pixel_values"].shape[0] == 4 * image_tokens(grid)
