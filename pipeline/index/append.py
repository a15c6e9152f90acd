"""What a run kept, appended to an index: files first, then `index.json`, by rename."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dedup.records import KEYS, columns_of
from pipeline.dedup.shuffle import Columns, read_report, write_report, write_sorted
from pipeline.index.against import Against, step_name
from pipeline.plan import StageKey
from pipeline.storage import map_arrow, write_arrow, write_bytes
from schemas.errors import SchemaError
from schemas.index import (
    INDEX_ENTRIES,
    INDEX_KEYS,
    INDEX_NAME,
    SEGMENTS,
    Index,
    IndexFiles,
    IndexStep,
    Segment,
    read_index,
)
from schemas.manifest import read_manifest
from transforms.dedup.base import Dedup

#: what a run leaves beside its segment's files until the segment is listed
_PENDING = "segment.json"

#: rows whose evidence is made at once: a row may hold pictures
_TAKEN_ROWS = 256


@dataclass(frozen=True, slots=True)
class SignedUnit:
    """One unit as a step signed it: its keys, the rows they are of, and the rows that the run kept in the end."""

    keys: str
    kept: str
    final: str


@dataclass(frozen=True, slots=True)
class IndexTask:
    """Some neighbouring units' entries for one step, into the files `stem`.keys.arrow and `stem`.entries.arrow."""

    key: StageKey
    label: str
    units: tuple[SignedUnit, ...]
    stem: str

    def __str__(self) -> str:
        return f"index entries of {self.label}"

    @property
    def keys(self) -> Path:
        return Path(f"{self.stem}.keys.arrow")

    @property
    def entries(self) -> Path:
        return Path(f"{self.stem}.entries.arrow")


def write_entries(task: IndexTask) -> None:
    """Writes the keys and entries of one task; one that is done is not done again."""
    if read_report(task.keys) is not None:
        return
    step = task.key.ready_dedup(task.label)
    assert isinstance(step, Dedup), task.label
    keys: list[Columns] = [columns_of([], INDEX_KEYS)]

    def entries() -> Iterator[pa.RecordBatch]:
        count = 0
        for unit in task.units:
            columns, rows, parts = _entries_of(unit)
            columns["entry"] = (columns["entry"] + np.uint32(count)).astype(np.uint32)
            keys.append(columns)
            count += len(rows)
            yield from _described(map_arrow(unit.kept), rows, parts, step)

    num_entries = write_arrow(task.entries, INDEX_ENTRIES, entries())
    together = {name: np.concatenate([columns[name] for columns in keys]) for name in INDEX_KEYS.names}
    write_report(task.keys, num_keys=write_sorted(task.keys, INDEX_KEYS, [together], "lo"), num_entries=num_entries)


def segment_of(against: Against, dataset: str, tasks: list[IndexTask], steps: list[Dedup]) -> Segment:
    """The segment that the tasks have written; noted beside its files, for a run that is killed before it is listed."""
    files = []
    for task, step in zip(tasks, steps, strict=True):
        facts = read_report(task.keys)
        assert facts is not None, task.stem
        keys, entries = (str(path.relative_to(against.folder)) for path in (task.keys, task.entries))
        made = IndexStep(name=step_name(step), signed_by=step.signed_by())
        files.append(IndexFiles(step=made, keys=keys, entries=entries, **facts))
    segment = Segment(name=against.name, dataset=dataset, files=files)
    write_bytes(against.folder / SEGMENTS / against.name / _PENDING, segment.model_dump_json().encode())
    return segment


def append_segment(against: Against, segment: Segment) -> Index:
    """Lists a segment, in a new generation of the index, which it returns."""
    segments = [*against.index.segments, segment]
    return write_index(against.folder, against.index.model_copy(update={"segments": segments}))


def append_pending(folder: Path) -> None:
    """Lists the segments of runs that were killed between committing their datasets and this, in an index that is held.
    Raises SchemaError when the folder is no index."""
    index = read_index(folder)
    known = {segment.name for segment in index.segments}
    for path in sorted((folder / SEGMENTS).glob(f"*/{_PENDING}")):
        try:
            segment = Segment.model_validate_json(path.read_bytes())
            committed = read_manifest(segment.dataset).run_fingerprint
        except (ValueError, SchemaError):
            continue  # a run that was killed before its commit: it writes its files again
        if segment.name == committed and segment.name not in known:
            index = write_index(folder, index.model_copy(update={"segments": [*index.segments, segment]}))


def write_index(folder: Path, index: Index) -> Index:
    """Replaces `index.json` by a new generation, which it returns; removes files that it does not list."""
    index = index.model_copy(update={"generation": index.generation + 1})
    write_bytes(folder / INDEX_NAME, index.model_dump_json(indent=1).encode())
    sweep(folder, index)
    return index


def sweep(folder: Path, index: Index) -> None:
    """Removes what the index does not list: leftovers of runs that were killed."""
    for path in unlisted(folder, index):
        path.unlink()


def unlisted(folder: Path, index: Index) -> list[Path]:
    """The files in the folders of segments that the index does not list."""
    listed = {folder / path for files in index.files for path in (files.keys, files.entries)}
    return [path for path in sorted((folder / SEGMENTS).glob("*/*")) if path not in listed]


def _entries_of(unit: SignedUnit) -> tuple[Columns, np.ndarray, np.ndarray]:
    """(keys of what the run kept, by entry; the row and part of every entry)."""
    found = columns_of(map_arrow(unit.keys), KEYS)
    kept, final = (_identities(map_arrow(path)) for path in (unit.kept, unit.final))
    row = found["node"].astype(np.int64)
    alive = pc.is_in(kept[0], _with_parents(final[0])).to_numpy(zero_copy_only=False)[row]
    of_part = found["part"] >= 0
    if of_part.any():
        there = set(final[1])
        names = kept[0].take(pa.array(row[of_part])).to_pylist()
        alive[of_part] = [pair in there for pair in zip(names, found["part"][of_part].tolist(), strict=True)]
    found = {name: values[alive] for name, values in found.items()}
    node = np.empty(len(found["node"]), [("row", np.int64), ("part", np.int32)])
    node["row"], node["part"] = found["node"], found["part"]
    entries, number = np.unique(node, return_inverse=True)
    columns = {name: found[name] for name in ("band", "hi", "lo", "part")} | {"entry": number.astype(np.uint32)}
    return columns, entries["row"], entries["part"]


def _with_parents(names: pa.Array) -> pa.Array:
    """What tells rows apart, and what told the rows apart that later steps made them of: ids `parent#k`."""
    found = set(names.to_pylist())
    children = list(found)
    while children:
        parents = {name.rpartition("#")[0] for name in children if "#" in name.rpartition("\0")[2]}
        children = list(parents - found)
        found |= parents
    return pa.array(sorted(found), pa.string())


def _identities(batches: list[pa.RecordBatch]) -> tuple[pa.Array, list[tuple[str, int]]]:
    """(what tells rows apart, by row; that and the index of every media part)."""
    if not batches:
        return pa.array([], pa.string()), []
    names = pa.concat_arrays(
        [pc.binary_join_element_wise(batch.column("source"), batch.column("id"), "\0") for batch in batches]
    )
    media = pa.concat_arrays([pc.list_value_length(batch.column("media")) for batch in batches])
    index = [k for batch in batches for k in batch.column("media").flatten().field("index").to_pylist()]
    parents = names.take(pa.array(np.repeat(np.arange(len(names)), media.to_numpy(zero_copy_only=False))))
    return names, list(zip(parents.to_pylist(), index, strict=True))


def _described(
    batches: list[pa.RecordBatch], rows: np.ndarray, parts: np.ndarray, step: Dedup
) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in batches:
        first, last = np.searchsorted(rows, [start, start + batch.num_rows])
        for at in range(first, last, _TAKEN_ROWS):
            some = slice(at, min(at + _TAKEN_ROWS, last))
            taken = batch.take(pa.array(rows[some] - start))
            part = parts[some]
            digests = [
                [p["sha256"] for p in media if which < 0 or p["index"] == which]
                for media, which in zip(_digests(taken), part.tolist(), strict=True)
            ]
            nothing = pa.nulls(len(part), pa.large_binary())
            columns = [
                *(taken.column(name) for name in ("id", "source", "url")),
                pa.array(part),
                pa.array(digests, INDEX_ENTRIES.field("media_sha256").type),
                nothing if step.proof else step.evidence(taken, part),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=INDEX_ENTRIES)
        start += batch.num_rows


def _digests(batch: pa.RecordBatch) -> list[list[dict]]:
    media = batch.column("media")
    flat = media.flatten()
    slim = pa.StructArray.from_arrays([flat.field("index"), flat.field("sha256")], ["index", "sha256"])
    bounds = np.append(0, np.cumsum(media.value_lengths().to_numpy(zero_copy_only=False)))
    found: list[list[dict]] = pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), slim).to_pylist()
    return found
