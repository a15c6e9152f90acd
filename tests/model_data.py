"""Small datasets for the model's tests: token shards, a byte-level tokenizer and a manifest, written directly."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from model.config import (
    AudioConfig,
    ImageConfig,
    ModelConfig,
    SpecialIds,
    TextConfig,
    VisionConfig,
)
from model.data.images import FACTOR
from schemas.manifest import MANIFEST_NAME, Counts, Manifest, ShardEntry, TokenizerEntry
from schemas.recipe import ImageTokens
from schemas.shard import audio_tokens, shard_schema

SPECIAL = ("<|endoftext|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
SPECIAL_AUDIO = ("<|audio_start|>", "<|audio_end|>", "<|audio_pad|>")
IDS = {name: 256 + i for i, name in enumerate(SPECIAL + SPECIAL_AUDIO)}
VOCAB = 256 + len(IDS)
IMAGE = ImageConfig(min_pixels=32 * 32, max_pixels=96 * 96)
COLORS = {"red": (220, 30, 30), "green": (30, 170, 50), "blue": (40, 60, 220), "yellow": (230, 200, 30)}


def byte_tokenizer() -> Tokenizer:
    """One token a byte, and the control tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(IDS))
    return tokenizer


def special() -> SpecialIds:
    return SpecialIds(
        end_of_text=IDS["<|endoftext|>"],
        image_pad=IDS["<|image_pad|>"],
        vision_start=IDS["<|vision_start|>"],
        vision_end=IDS["<|vision_end|>"],
        audio_pad=IDS["<|audio_pad|>"],
        audio_start=IDS["<|audio_start|>"],
        audio_end=IDS["<|audio_end|>"],
    )


def tiny(**text: Any) -> ModelConfig:
    """Everything a model can have, as small as it gets: a dense layer, grouped queries, DeepStack, both towers."""
    shape = {
        "vocab_size": VOCAB,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
        "intermediate_size": 48,
        "mlp_only_layers": (1,),
        "mrope_section": (4, 2, 2),
        "rope_theta": 10_000.0,
        "initializer_range": 0.1,
    }
    return ModelConfig(
        text=TextConfig(**(shape | text)),
        vision=VisionConfig(
            depth=2,
            hidden_size=32,
            num_heads=2,
            intermediate_size=48,
            out_hidden_size=32,
            num_position_embeddings=16,
            deepstack_visual_indexes=(0, 1),
        ),
        audio=AudioConfig(
            encoder_layers=2,
            d_model=32,
            encoder_attention_heads=2,
            encoder_ffn_dim=48,
            downsample_hidden_size=4,
            output_dim=32,
        ),
        special=special(),
        image=IMAGE,
    )


def square(color: str, width: int = 64, height: int = 64) -> bytes:
    """A PNG of one square on grey."""
    image = Image.new("RGB", (width, height), (128, 128, 128))
    ImageDraw.Draw(image).rectangle((8, 8, width - 9, height - 9), fill=COLORS[color])
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def tone(hertz: float, seconds: float, rate: int = 16_000) -> bytes:
    """A WAV of one sine."""
    samples = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    stream = io.BytesIO()
    soundfile.write(stream, samples.astype(np.float32), rate, format="WAV")
    return stream.getvalue()


def text_document(text: str) -> dict[str, Any]:
    """A document of text, to be packed by `sequence_row`."""
    return {"ids": [*byte_tokenizer().encode(text).ids, IDS["<|endoftext|>"]]}


def image_document(image: bytes, caption: str) -> dict[str, Any]:
    """An image, a line break, its caption."""
    width, height = Image.open(io.BytesIO(image)).size
    grid = [1, height // FACTOR * 2, width // FACTOR * 2]
    pads = grid[1] * grid[2] // 4
    marked = [IDS["<|vision_start|>"], *[IDS["<|image_pad|>"]] * pads, IDS["<|vision_end|>"]]
    document = text_document("\n" + caption)
    return {
        "ids": marked + document["ids"],
        "runs": [(0, pads + 1)],
        "images": [{"offset": 1, "grid_thw": grid, "data": image}],
    }


def audio_document(clip: bytes, frames: int, transcript: str) -> dict[str, Any]:
    """A clip, a line break, its transcript."""
    pads = audio_tokens(frames)
    marked = [IDS["<|audio_start|>"], *[IDS["<|audio_pad|>"]] * pads, IDS["<|audio_end|>"]]
    document = text_document("\n" + transcript)
    return {
        "ids": marked + document["ids"],
        "runs": [(0, pads + 1)],
        "audios": [{"offset": 1, "frames": frames, "data": clip}],
    }


def sequence_row(documents: list[dict[str, Any]], length: int, name: str = "row") -> dict[str, Any]:
    """One row of a shard: the documents one after the other, the rest padding."""
    row: dict[str, Any] = {"input_ids": [], "loss_runs": [], "images": [], "audios": []}
    for document in documents:
        start = len(row["input_ids"])
        row["input_ids"] += document["ids"]
        row["loss_runs"] += [{"start": start + s, "length": n} for s, n in document.get("runs", [])]
        for kind in ("images", "audios"):
            row[kind] += [part | {"offset": start + part["offset"]} for part in document.get(kind, [])]
    assert len(row["input_ids"]) <= length
    row["input_ids"] += [IDS["<|endoftext|>"]] * (length - len(row["input_ids"]))
    row["document_lengths"] = [len(document["ids"]) for document in documents]
    row["source_ids"] = [f"{name}/{i}" for i in range(len(documents))]
    return row


def write_shard(path: Path, rows: list[dict[str, Any]], length: int) -> None:
    schema = shard_schema(length)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        # several record batches, as real shards have
        for start in range(0, len(rows), 3):
            writer.write_batch(pa.RecordBatch.from_pylist(rows[start : start + 3], schema=schema))


def write_dataset(folder: Path, rows: list[dict[str, Any]], length: int, fingerprint: str = "f") -> Path:
    """A finished dataset of two shards."""
    (folder / "shards").mkdir(parents=True)
    (folder / "tokenizer").mkdir()
    byte_tokenizer().save(str(folder / "tokenizer" / "tokenizer.json"))
    half = len(rows) // 2
    entries = []
    for i, part in enumerate((rows[:half], rows[half:])):
        path = f"shards/shard-{i:05d}.arrow"
        write_shard(folder / path, part, length)
        tokens = sum(sum(row["document_lengths"]) for row in part)
        entries.append(ShardEntry(path=path, rows=len(part), tokens=tokens, bytes=0, sha256=""))
    counted = dict.fromkeys(Counts.model_fields, 0)
    tables = {name: {} for name, f in Counts.model_fields.items() if "dict" in str(f.annotation)}
    manifest = Manifest(
        name="test",
        sluice_version="0",
        git_commit=None,
        recipe={},
        recipe_hash="",
        run_fingerprint=fingerprint,
        input_fingerprint="",
        inputs=[],
        sequence_length=length,
        image=ImageTokens(min_pixels=IMAGE.min_pixels, max_pixels=IMAGE.max_pixels),
        tokenizer=TokenizerEntry(path="tokenizer", fingerprint="", vocab_size=VOCAB, special_ids=IDS),
        shards=entries,
        ledger=[],
        counts=Counts(**(counted | tables)),
    )
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest.model_dump()), encoding="utf-8")
    return folder


def mixed_rows(count: int, length: int = 160) -> list[dict[str, Any]]:
    """Rows of text, captions and transcripts, no two alike."""
    colors = itertools.cycle(COLORS)
    rows = []
    for i in range(count):
        color = next(colors)
        documents = [
            text_document(f"document {i} is short"),
            image_document(square(color), f"a {color} square"),
            audio_document(tone(200.0 + 40 * i, 0.4), 40, f"tone {i}"),
        ]
        if i % 3 == 0:
            documents = documents[:1]
        rows.append(sequence_row(documents, length, f"row{i}"))
    return rows
