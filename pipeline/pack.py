"""Packing: tokenized rows of some neighbouring units into token shards, and their ledger rows into one ledger file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.ledger import fitted, kept_rows
from pipeline.storage import committed, map_arrow, sha256_file, write_arrow, write_bytes
from schemas.manifest import LedgerEntry, ShardEntry
from schemas.shard import shard_schema
from transforms.tokens.documents import Document, documents_of
from transforms.tokens.pack import pack_best_fit

#: sequences in a record batch of a shard: what a loader maps at once
BATCH_SEQUENCES = 64


@dataclass(frozen=True, slots=True)
class PackTask:
    """Units packed together. `kept`: their last stage's files; `ledgers`: their rejected rows of every stage."""

    number: int
    kept: tuple[str, ...]
    ledgers: tuple[str, ...]
    ledger_schema: bytes
    folder: str
    sequence_length: int
    shard_tokens: int
    pad_id: int

    def __str__(self) -> str:
        return f"shard group {self.number}"

    @property
    def marker(self) -> Path:
        """Written last: the group's shards and ledger file."""
        return Path(self.folder) / "group.json"


@dataclass(frozen=True, slots=True)
class _Piece:
    """A document or a part of a long one: tokens [start, stop) of row `row` of batch `batch`."""

    batch: int
    row: int
    start: int
    stop: int


def run_pack(task: PackTask) -> dict[str, Any]:
    """Packs one group and commits its files; a group that is already committed is not packed again."""
    if task.marker.exists():
        done: dict[str, Any] = json.loads(task.marker.read_bytes())
        return done
    batches = [batch for path in task.kept for batch in map_arrow(path)]
    shards = _write_shards(task, batches)
    ledger = _write_ledger(task, batches)
    entry = {"shards": [shard.model_dump() for shard in shards], "ledger": ledger.model_dump()}
    write_bytes(task.marker, json.dumps(entry).encode())
    return entry


def pack_groups(tokens: list[int], shard_tokens: int) -> list[list[int]]:
    """Unit numbers grouped in order, a group closed when its tokens reach `shard_tokens`."""
    groups: list[list[int]] = [[]]
    held = 0
    for unit, count in enumerate(tokens):
        if groups[-1] and held + count > shard_tokens:
            groups.append([])
            held = 0
        groups[-1].append(unit)
        held += count
    return groups


def _write_shards(task: PackTask, batches: list[pa.RecordBatch]) -> list[ShardEntry]:
    length = task.sequence_length
    documents = [documents_of(batch) for batch in batches]
    pieces = [
        _Piece(b, row, start, stop)
        for b, found in enumerate(documents)
        for row, document in enumerate(found)
        for start, stop in document.pieces(length)
    ]
    lengths = np.fromiter((piece.stop - piece.start for piece in pieces), np.int64, len(pieces))
    sequences = pack_best_fit(lengths, length)
    per_shard = max(1, task.shard_tokens // length)
    schema = shard_schema(length)
    entries: list[ShardEntry] = []
    for at in range(0, len(sequences), per_shard):
        chosen = sequences[at : at + per_shard]
        path = Path(task.folder) / f"shard-{len(entries):05d}.arrow"

        def made(chosen: list[np.ndarray] = chosen) -> Iterator[pa.RecordBatch]:
            for start in range(0, len(chosen), BATCH_SEQUENCES):
                some = chosen[start : start + BATCH_SEQUENCES]
                rows = [_sequence([pieces[k] for k in sequence], batches, documents, task) for sequence in some]
                yield _sequence_batch(rows, schema)

        rows = write_arrow(path, schema, made())
        tokens = int(sum(lengths[sequence].sum() for sequence in chosen))
        entries.append(
            ShardEntry(path=path.name, rows=rows, tokens=tokens, bytes=path.stat().st_size, sha256=sha256_file(path))
        )
    return entries


def _sequence(
    pieces: list[_Piece], batches: list[pa.RecordBatch], documents: list[list[Document]], task: PackTask
) -> dict[str, Any]:
    ids = np.full(task.sequence_length, task.pad_id, np.int32)
    row: dict[str, Any] = {"document_lengths": [], "loss_runs": [], "images": [], "audios": [], "source_ids": []}
    at = 0
    for piece in pieces:
        document = documents[piece.batch][piece.row]
        size = piece.stop - piece.start
        ids[at : at + size] = document.tokens[piece.start : piece.stop]
        row["document_lengths"].append(size)
        row["source_ids"].append(batches[piece.batch].column("id")[piece.row].as_py())
        shift = at - piece.start
        for run in document.loss_runs(piece.start, piece.stop):
            row["loss_runs"].append({"start": run[0] + shift, "length": run[1] - run[0]})
        for span in document.media(piece.start, piece.stop):
            data = batches[piece.batch].column("media")[piece.row][span.place]["data"].as_py()
            placed: dict[str, Any] = {"offset": span.offset + shift, "data": data}
            if span.kind == "image":
                row["images"].append(placed | {"grid_thw": span.grid_thw})
            else:
                row["audios"].append(placed | {"frames": span.frames})
        at += size
    row["input_ids"] = ids
    return row


def _sequence_batch(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    ids = pa.FixedSizeListArray.from_arrays(
        pa.array(np.concatenate([row["input_ids"] for row in rows])), type=schema.field("input_ids").type
    )
    others = [pa.array([row[name] for row in rows], schema.field(name).type) for name in schema.names[1:]]
    return pa.RecordBatch.from_arrays([ids, *others], schema=schema)


def _write_ledger(task: PackTask, batches: list[pa.RecordBatch]) -> LedgerEntry:
    schema = pa.ipc.read_schema(pa.py_buffer(task.ledger_schema))
    path = Path(task.folder) / "ledger.parquet"
    rows = 0
    with committed(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for rejected in task.ledgers:
            for batch in map_arrow(rejected):
                writer.write_batch(fitted(batch, schema))
                rows += batch.num_rows
        for batch in batches:
            writer.write_batch(kept_rows(batch, schema))
            rows += batch.num_rows
    return LedgerEntry(path=path.name, rows=rows, bytes=path.stat().st_size, sha256=sha256_file(path))
