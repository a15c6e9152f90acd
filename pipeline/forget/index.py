"""Forgetting in a dedup index: entries, with their keys and evidence, taken out of the files that have them.

New files are written under new names, `index.json` is replaced by rename, then the old files go: killed at any point,
the index is what it was or what it shall be, and the same command finishes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dedup.records import batch_of, columns_of
from pipeline.forget.wanted import Wanted
from pipeline.index.append import append_pending, sweep, unlisted, write_index
from pipeline.index.files import check_files
from pipeline.storage import map_arrow, write_arrow
from schemas.errors import SchemaError
from schemas.index import INDEX_ENTRIES, INDEX_KEYS, INDEX_NAME, Index, IndexFiles, Segment, read_index

#: (source, id): what tells rows apart
Row = tuple[str, str]


def require_index(folder: Path) -> None:
    """Raises SchemaError when there is no index, or it is not whole."""
    if not (folder / INDEX_NAME).exists():
        raise SchemaError(f"{folder} has no {INDEX_NAME}: it is no dedup index")
    check_files(folder, read_index(folder))


def names_in_index(folder: Path, wanted: Wanted) -> set[str]:
    """The names of `wanted` that name something in an index."""
    return {name for files in read_index(folder).files for name in _matching(folder, files, wanted)[1]}


def forget_in_index(folder: Path, wanted: Wanted, rows: Iterable[Row] = (), segment: str = "") -> dict[str, Any]:
    """Takes the entries that `wanted` names, and those of `rows` in the segment of that name, out of an index; returns
    what was done, and whether all of it is absent. The caller holds the index (outputs.locked).

    An entry of a row goes with all the others of that row in its segment, whatever names it: of other steps, and of its
    media parts.
    """
    append_pending(folder)
    index = read_index(folder)
    check_files(folder, index)
    gone: dict[str, set[Row]] = {held.name: set() for held in index.segments} | {segment: set(rows)}
    for held in index.segments:
        for files in held.files:
            gone[held.name] |= _matching(folder, files, wanted)[0]
    done: dict[str, Any] = {"index": str(folder), "rewritten": [], "entries": 0, "rows": 0}
    segments = [_without(folder, held, index.generation + 1, gone[held.name], done) for held in index.segments]
    left = index
    if done["entries"]:
        left = write_index(folder, index.model_copy(update={"segments": segments}))
    else:
        sweep(folder, index)  # what a killed run has left
    return done | {"absent": not _present(folder, left, wanted, gone)}


def _matching(folder: Path, files: IndexFiles, wanted: Wanted) -> tuple[set[Row], set[str]]:
    rows: set[Row] = set()
    names: set[str] = set()
    for batch in map_arrow(folder / files.entries):
        strings = [batch.column(name) for name in ("id", "source", "url")]
        hits = wanted.match(batch.num_rows, strings=strings, digests=[batch.column("media_sha256")])
        names |= hits.names
        rows |= set(_rows(batch.filter(pa.array(hits.rows))))
    return rows, names


def _rows(batch: pa.RecordBatch) -> list[Row]:
    return list(zip(batch.column("source").to_pylist(), batch.column("id").to_pylist(), strict=True))


def _goes(batch: pa.RecordBatch, gone: set[Row]) -> np.ndarray:
    """Mask of the entries of rows that go."""
    ids = pa.array(sorted({name for _, name in gone}), pa.string())
    mask = pc.is_in(batch.column("id"), ids).to_numpy(zero_copy_only=False)
    at = np.flatnonzero(mask)
    mask[at] = [row in gone for row in _rows(batch.take(pa.array(at)))]
    return mask


def _without(folder: Path, segment: Segment, generation: int, gone: set[Row], done: dict[str, Any]) -> Segment:
    files = []
    rows: set[Row] = set()
    for pair in segment.files:
        batches = map_arrow(folder / pair.entries)
        masks = [_goes(batch, gone) for batch in batches]
        removed = int(sum(mask.sum() for mask in masks))
        if removed:
            for batch, mask in zip(batches, masks, strict=True):
                rows |= set(_rows(batch.filter(pa.array(mask))))
            files.append(_rewritten(folder, pair, generation, batches, masks))
            done["rewritten"] += [pair.keys, pair.entries]
            done["entries"] += removed
        else:
            files.append(pair)
    done["rows"] += len(rows)
    changed = {"files": files, "rows_forgotten": segment.rows_forgotten + len(rows)}
    return segment.model_copy(update=changed)


def _rewritten(
    folder: Path, files: IndexFiles, generation: int, batches: list[pa.RecordBatch], masks: list[np.ndarray]
) -> IndexFiles:
    """The files without the masked entries; those that stay are numbered anew, and keys stay in their order."""
    stays = ~np.concatenate(masks)
    number = np.cumsum(stays) - 1
    stem = files.entries.removesuffix(".entries.arrow").partition("~")[0] + f"~{generation}"
    entries, keys = f"{stem}.entries.arrow", f"{stem}.keys.arrow"
    kept = (batch.filter(pa.array(~mask)) for batch, mask in zip(batches, masks, strict=True))
    num_entries = write_arrow(folder / entries, INDEX_ENTRIES, kept)

    def left() -> Iterator[pa.RecordBatch]:
        for batch in map_arrow(folder / files.keys):
            columns = columns_of([batch], INDEX_KEYS)
            some = stays[columns["entry"]]
            columns = {name: values[some] for name, values in columns.items()}
            columns["entry"] = number[columns["entry"]].astype(np.uint32)
            yield batch_of(INDEX_KEYS, *columns.values())

    num_keys = write_arrow(folder / keys, INDEX_KEYS, left())
    changed = {"entries": entries, "keys": keys, "num_entries": num_entries, "num_keys": num_keys}
    return files.model_copy(update=changed)


def _present(folder: Path, index: Index, wanted: Wanted, gone: dict[str, set[Row]]) -> bool:
    """Whether any file of the index still has something of it, or there is a file that the index does not list."""
    if unlisted(folder, index):
        return True
    for segment in index.segments:
        for files in segment.files:
            for batch in map_arrow(folder / files.entries):
                strings = [batch.column(name) for name in ("id", "source", "url")]
                named = wanted.match(batch.num_rows, strings=strings, digests=[batch.column("media_sha256")])
                if named.rows.any() or _goes(batch, gone[segment.name]).any():
                    return True
    return False
