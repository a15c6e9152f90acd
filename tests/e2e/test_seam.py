"""Whatever curation keeps, the model reads, and reads as the same shape: they share a contract and no code."""

from __future__ import annotations

import hashlib
import json

import pyarrow as pa
import pytest

from model.config import ImageConfig
from model.data.audio import HOP, decode_audio
from model.data.images import grid_for, open_image
from model.data.tokenizer import TextCodec
from schemas.recipe import ImageTokens
from schemas.sample import SENTINEL, sample_batch
from tests.fixtures import MEDIA_FIXTURES, media_fixture
from transforms.base import Outcome
from transforms.media import kind_of, sniff_mime
from transforms.registry import build
from transforms.tokens.tokenizer import Tokenizer

IMAGE = ImageTokens(min_pixels=4096, max_pixels=262144)


def curated(name: str, kind: str) -> list[dict]:
    """A fixture's `tokens.media` after decoding and encoding; empty when curation removed it."""
    data = media_fixture(name)
    part = {"index": 0, "kind": kind, "data": data, "mime": sniff_mime(data) or "application/octet-stream"}
    row = {
        "id": name,
        "source": name,
        "text": f"{SENTINEL} x",
        "media": [part | {"sha256": hashlib.sha256(data).digest()}],
    }
    batch: pa.RecordBatch = sample_batch([row])
    for use, params in (
        (f"{kind}.decode", {}),
        ("tokens.encode", {"sequence_length": 8192, "image": IMAGE.model_dump()}),
    ):
        step = build(use, params)
        step.setup()
        outcome: Outcome = step.apply(batch)
        batch = outcome.kept
    return batch.column("tokens.media").to_pylist()[0] if batch.num_rows else []


def fixtures_of(kind: str) -> list[str]:
    return [name for name in MEDIA_FIXTURES if kind_of(sniff_mime(media_fixture(name)) or "") == kind]


@pytest.mark.parametrize("name", fixtures_of("image"))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_kept_picture_has_the_grid_the_model_gives_it(name):
    for placed in curated(name, "image"):
        config = ImageConfig(min_pixels=IMAGE.min_pixels, max_pixels=IMAGE.max_pixels)
        assert list(grid_for(open_image(media_fixture(name)), config)) == placed["grid_thw"]


@pytest.mark.parametrize("name", fixtures_of("audio"))
def test_a_kept_clip_has_the_frames_the_model_hears(name):
    for placed in curated(name, "audio"):
        assert max(1, len(decode_audio(media_fixture(name))) // HOP) == placed["frames"]


def test_enough_is_kept_for_this_to_mean_something():
    kept = [name for kind in ("image", "audio") for name in fixtures_of(kind) if curated(name, kind)]
    assert len(kept) > 30
    assert {"jpeg_exif_rotated", "tiff_exif_rotated", "flac_unknown_length"} <= set(kept)


def test_a_tag_typed_in_a_prompt_is_the_text_it_was_in_training():
    """Qwen's `<think>` is an added token that is not flagged special; curation takes it for control all the same."""
    definition = json.loads(Tokenizer.load("bytes").json)
    tag = {"id": 300, "content": "<think>", "special": False, "normalized": False}
    definition["added_tokens"].append(tag | dict.fromkeys(("single_word", "lstrip", "rstrip"), False))
    text = "a <think> and <|endoftext|> in a page"
    ids, _ = Tokenizer(definition).encode([text])
    assert TextCodec(json.dumps(definition)).encode(text) == ids.tolist() == list(text.encode())
