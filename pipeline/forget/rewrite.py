"""The new files of a dataset less some rows, under new names beside the old ones; each is read back and held to the
file it replaces before anything depends on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.forget.documents import Packed, documents_in, packed_documents
from pipeline.forget.places import Cuts, to_cut
from pipeline.forget.surgery import cut
from pipeline.forget.tombstones import Burial
from pipeline.report.tally import open_ledger
from pipeline.storage import committed, sha256_file, write_arrow
from schemas.manifest import LedgerEntry, ShardEntry
from schemas.shard import open_shard

_NAME = re.compile(r"(.*?)(?:\.(\d+))?(\.[^.]+)")


@dataclass
class Rewritten:
    """New entries by the path they stand for (None: nothing was left), the documents that were cut out, and how many
    others were compared."""

    shards: dict[str, ShardEntry | None] = field(default_factory=dict)
    ledger: dict[str, LedgerEntry] = field(default_factory=dict)
    cut: list[Packed] = field(default_factory=list)
    compared: int = 0


def next_name(path: str) -> str:
    """shards/00003.arrow becomes shards/00003.1.arrow, and that shards/00003.2.arrow."""
    found = _NAME.fullmatch(path)
    if found is None:
        return f"{path}.1"
    stem, number, suffix = found.groups()
    return f"{stem}.{int(number or 0) + 1}{suffix}"


def rewrite_shard(folder: Path, entry: ShardEntry, cuts: Cuts, pad_id: int, done: Rewritten) -> None:
    """Writes a shard less the documents in `cuts`, into `done`; nothing when it has none of them."""
    old = open_shard(folder / entry.path)
    batches = old.to_batches()
    drops = [to_cut(batch.select(["document_lengths", "source_ids"]), cuts) for batch in batches]
    if not any(drop.any() for drop in drops):
        return
    new = next_name(entry.path)

    def made() -> Iterator[pa.RecordBatch]:
        for batch, drop in zip(batches, drops, strict=True):
            yield cut(batch, drop, pad_id) if drop.any() else batch

    rows = write_arrow(folder / new, old.schema, made())
    tokens = _compare(batches, drops, folder / new, pad_id, done)
    size = (folder / new).stat().st_size
    made_entry = ShardEntry(path=new, rows=rows, tokens=tokens, bytes=size, sha256=sha256_file(folder / new))
    done.shards[entry.path] = made_entry if rows else None


def _compare(batches: list[pa.RecordBatch], drops: list[np.ndarray], new: Path, pad_id: int, done: Rewritten) -> int:
    """Holds every document that stays equal to what it was, in order, and padding to be padding; returns the number of
    tokens that stay. An inequality is a defect of ours."""

    def staying() -> Iterator[Packed]:
        for batch, drop in zip(batches, drops, strict=True):
            for document, gone in zip(documents_in(batch), drop.tolist(), strict=True):
                if gone:
                    done.cut.append(document)
                else:
                    yield document

    tokens = 0
    for before, after in zip_longest(staying(), packed_documents(new)):
        if before != after:
            raise AssertionError(f"{new}: a document changed in being moved: {before} became {after}")
        tokens += before.length
        done.compared += 1
    for batch in open_shard(new).to_batches():
        ids = batch.column("input_ids").flatten().to_numpy(zero_copy_only=False).reshape(batch.num_rows, -1)
        used = np.array([sum(lengths) for lengths in batch.column("document_lengths").to_pylist()])
        if (ids[np.arange(ids.shape[1]) >= used[:, None]] != pad_id).any() or not used.all():
            raise AssertionError(f"{new}: what follows the documents of a sequence is not padding")
    return tokens


def rewrite_ledger(folder: Path, entry: LedgerEntry, burial: Burial, done: Rewritten) -> None:
    """Writes a ledger file with the tombstones of `burial`, into `done`."""
    new = next_name(entry.path)
    with (
        open_ledger(folder / entry.path) as file,
        committed(folder / new) as temporary,
        pq.ParquetWriter(temporary, file.schema_arrow, compression="zstd") as writer,
    ):
        for batch in _row_groups(file):
            writer.write_batch(burial.bury(batch))
    with open_ledger(folder / entry.path) as before, open_ledger(folder / new) as after:
        for old, made in zip(_row_groups(before), _row_groups(after), strict=True):
            others = pa.array(~burial.lines(old) & ~burial.quoting(old))
            if old.num_rows != made.num_rows or _bits(old.filter(others)) != _bits(made.filter(others)):
                raise AssertionError(f"{folder / new}: a line changed that is not about a forgotten row")
    size = (folder / new).stat().st_size
    done.ledger[entry.path] = LedgerEntry(path=new, rows=entry.rows, bytes=size, sha256=sha256_file(folder / new))


def _bits(batch: pa.RecordBatch) -> list[pa.Array]:
    """The columns, floats as the integers of their bits: NaN is what it is."""
    views = {pa.float16(): pa.int16(), pa.float32(): pa.int32(), pa.float64(): pa.int64()}
    return [column.view(views.get(column.type, column.type)) for column in batch.columns]


def _row_groups(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    for number in range(file.num_row_groups):
        yield from file.read_row_group(number).combine_chunks().to_batches()
