"""The token shard: an Arrow IPC file, memory-mapped by the loader; one row is one packed sequence.

`input_ids` has exactly `sequence_length` entries. The documents come first, one after the other, their lengths in
`document_lengths`; what is left of the sequence is padding. Attention and positions never cross a document.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from schemas.errors import SchemaError

SHARD_VERSION = 1

#: A half-open span [start, start + length) of the sequence that carries no loss (media placeholders, prompts).
RUN = pa.struct([pa.field("start", pa.int32(), nullable=False), pa.field("length", pa.int32(), nullable=False)])

#: `offset`: index of the image's first placeholder in `input_ids`; `grid_thw`: patches in time, height, width (the
#: placeholders number t*h*w/4); `data`: encoded bytes as curated.
IMAGE = pa.struct(
    [
        pa.field("offset", pa.int32(), nullable=False),
        pa.field("grid_thw", pa.list_(pa.int32(), 3), nullable=False),
        pa.field("data", pa.large_binary(), nullable=False),
    ]
)

#: `frames`: mel frames (10 ms each, 16 kHz, hop 160); the placeholders number `audio_tokens(frames)`.
AUDIO = pa.struct(
    [
        pa.field("offset", pa.int32(), nullable=False),
        pa.field("frames", pa.int32(), nullable=False),
        pa.field("data", pa.large_binary(), nullable=False),
    ]
)


def shard_schema(sequence_length: int) -> pa.Schema:
    """Schema of a token shard whose rows hold `sequence_length` tokens."""
    return pa.schema(
        [
            pa.field("input_ids", pa.list_(pa.int32(), sequence_length), nullable=False),
            pa.field("document_lengths", pa.list_(pa.int32()), nullable=False),
            pa.field("loss_runs", pa.list_(RUN), nullable=False),
            pa.field("images", pa.list_(IMAGE), nullable=False),
            pa.field("audios", pa.list_(AUDIO), nullable=False),
            pa.field("source_ids", pa.list_(pa.string()), nullable=False),  # one a document, in order
        ],
        metadata={
            b"sluice.schema": b"token_shard",
            b"sluice.version": str(SHARD_VERSION).encode(),
            b"sluice.sequence_length": str(sequence_length).encode(),
        },
    )


def open_shard(path: str | Path) -> pa.Table:
    """Memory-maps a token shard; raises SchemaError when the file is torn or is not a token shard."""
    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise SchemaError(
            f"{path} is not a readable token shard ({error}); run the recipe again to rebuild it"
        ) from error
    metadata = table.schema.metadata or {}
    if metadata.get(b"sluice.schema") != b"token_shard":
        raise SchemaError(f"{path} is an Arrow file, but not a token shard made by sluice")
    if metadata.get(b"sluice.version") != str(SHARD_VERSION).encode():
        version = metadata.get(b"sluice.version", b"?").decode()
        raise SchemaError(f"{path} is a version {version} token shard; this sluice reads version {SHARD_VERSION}")
    expected = shard_schema(int(metadata[b"sluice.sequence_length"]))
    if not table.schema.equals(expected):
        raise SchemaError(f"{path} says it is a token shard, but its columns differ: {table.schema}")
    return table


def audio_tokens(frames: int) -> int:
    """Placeholders for a clip of `frames` mel frames: three stride-2 convolutions per 100-frame chunk."""

    def downsample(n: int) -> int:
        for _ in range(3):
            n = (n - 1) // 2 + 1
        return n

    tail = frames % 100
    return 13 * (frames // 100) + (downsample(tail) if tail else 0)
