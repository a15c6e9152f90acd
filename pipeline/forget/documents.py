"""A shard's documents read back one by one, as digests: what a rewritten shard is held to, and searched for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.forget.surgery import PLACED
from schemas.shard import open_shard

_MEDIA = ("images", "audios")


@dataclass(frozen=True, slots=True)
class Packed:
    """One packed document (or a piece of a long one). `tokens`: sha256 of its int32 token ids; `media`: sha256 of each
    picture's and sound's bytes; `digest`: of all that is its own, places counted from its first token."""

    source_id: str
    length: int
    tokens: bytes
    media: tuple[bytes, ...]
    digest: bytes


def packed_documents(path: str | Path) -> Iterator[Packed]:
    """The documents of a shard in order; raises SchemaError when the file is torn."""
    for batch in open_shard(path).to_batches():
        yield from documents_in(batch)


def documents_in(batch: pa.RecordBatch) -> Iterator[Packed]:
    """The documents of some sequences, in order. Plain loops on purpose: this is what the fast ones are held to."""
    ids = batch.column("input_ids").flatten().to_numpy(zero_copy_only=False)
    per_row = batch.schema.field("input_ids").type.list_size
    for row, others in enumerate(batch.drop_columns(["input_ids"]).to_pylist()):
        at = 0
        for length, name in zip(others["document_lengths"], others["source_ids"], strict=True):
            start = row * per_row + at
            yield _packed(name, ids[start : start + length], others, at)
            at += length


def _packed(name: str, tokens: np.ndarray, others: dict, at: int) -> Packed:
    state = hashlib.sha256(repr((name, len(tokens))).encode())
    media = []
    token_digest = hashlib.sha256(tokens.tobytes()).digest()
    state.update(token_digest)
    for column, place in PLACED.items():
        for entry in others[column]:
            if not at <= entry[place] < at + len(tokens):
                continue
            plain = {key: value for key, value in entry.items() if key not in ("data", place)}
            state.update(repr((column, entry[place] - at, sorted(plain.items()))).encode())
            if column in _MEDIA:
                media.append(hashlib.sha256(entry["data"]).digest())
                state.update(media[-1])
    return Packed(name, len(tokens), token_digest, tuple(media), state.digest())
