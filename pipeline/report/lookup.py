"""One row's story: every ledger line of it, what it was matched with, and where in the shards it went."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline.report.scan import find_rows
from pipeline.report.tally import open_ledger
from schemas.errors import SchemaError, SluiceError
from schemas.ledger import KEPT, LEDGER_COLUMNS
from schemas.manifest import read_manifest
from schemas.shard import open_shard

#: prefix matches and near misses an error names
_NAMED = 5
_CANDIDATES = 2000


def explain_rows(folder: str | Path, query: str) -> list[dict[str, Any]]:
    """The stories of the rows that `query` names: an id, a source, or a prefix of either that fits one row only.

    Several rows may share an id; then there are several stories, by source. Each has `row` (the fixed ledger
    columns; None when the ledger has lines of its parts only), `scores` (computed columns that are not null), `parts`
    (lines of removed media parts), `match` (the ledger row it was matched with) and `places` ({shard, sequence,
    document, offset, tokens} of every packed piece of a kept row; sequence and document count from 0).
    Raises SluiceError when no row or more than one is meant, SchemaError when the folder is not a sound dataset.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    ledger = [folder / entry.path for entry in manifest.ledger]
    lines = _lines(ledger, (ds.field("id") == query) | (ds.field("source") == query))
    if not lines:
        row_id, source = _by_prefix(ledger, query, folder)
        lines = _lines(ledger, (ds.field("id") == row_id) & (ds.field("source") == source))
    stories: dict[tuple[str, str], dict[str, Any]] = {}
    for line in sorted(
        lines, key=lambda line: (line["source"], line["id"], line["part"] is not None, line["part"] or 0)
    ):
        blank: dict[str, Any] = {"row": None, "scores": {}, "parts": [], "match": None, "places": []}
        story = stories.setdefault((line["source"], line["id"]), blank)
        fixed = {name: value for name, value in line.items() if name in LEDGER_COLUMNS}
        if line["part"] is not None:
            story["parts"].append(fixed)
            continue
        story["row"] = fixed
        story["scores"] = {n: v for n, v in line.items() if n not in LEDGER_COLUMNS and v is not None}
    matches = find_rows(ledger, {story["row"]["match_id"] for story in stories.values() if story["row"]} - {None})
    for story in stories.values():
        if story["row"] is None:
            continue
        match = matches.get(story["row"]["match_id"])
        story["match"] = match and _readable(match)
        if story["row"]["verdict"] == KEPT:
            names = {story["row"]["id"], story["row"]["source"]}
            story["places"] = [place for entry in manifest.shards for place in _places(folder, entry.path, names)]
    return list(stories.values())


def _lines(ledger: list[Path], where: ds.Expression) -> list[dict[str, Any]]:
    """All columns of the lines that match; files and row groups that cannot match are not read."""
    return [_readable(line) for batch in _scan(ledger, where, None) for line in batch.to_pylist()]


def _readable(line: dict[str, Any]) -> dict[str, Any]:
    """A line with its digests in hex."""
    text, media = line.get("text_sha256"), line.get("media_sha256")
    hexed = {"text_sha256": text and text.hex(), "media_sha256": media and [digest.hex() for digest in media]}
    return line | {name: value for name, value in hexed.items() if name in line}


def _scan(ledger: list[Path], where: ds.Expression | None, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    for path in ledger:
        open_ledger(path).close()  # the clear error, for a file that is torn or is something else
        try:
            found = ds.dataset(path, format="parquet")
            # Little read-ahead: a look-up must not hold much of a ledger of any size in memory.
            yield from found.to_batches(
                filter=where, columns=columns, batch_size=16384, batch_readahead=1, fragment_readahead=1
            )
        except (pa.ArrowInvalid, OSError) as error:
            raise SchemaError(f"{path} is damaged ({error}); run the recipe again to rebuild it") from error


def _by_prefix(ledger: list[Path], query: str, folder: Path) -> tuple[str, str]:
    """The one (id, source) that starts with `query`; raises SluiceError naming several, or what comes near."""
    found: set[tuple[str, str]] = set()
    starts = pc.starts_with(ds.field("id"), query) | pc.starts_with(ds.field("source"), query)
    for batch in _scan(ledger, starts, ["id", "source"]) if query else ():
        found.update(zip(*(batch.column(name).to_pylist() for name in ("id", "source")), strict=True))
        if len(found) > _CANDIDATES:
            break
    if len(found) == 1:
        return found.pop()
    if found:
        names = ", ".join(repr(row_id) for row_id, _ in sorted(found)[:_NAMED])
        count = f"more than {_CANDIDATES}" if len(found) > _CANDIDATES else str(len(found))
        raise SluiceError(f"{query!r} begins the ids or sources of {count} rows in {folder}: {names}…; give more of it")
    near = _near(ledger, query)
    hint = (
        f"did you mean {' or '.join(map(repr, near))}?" if near else "the ledger's columns `id` and `source` list them"
    )
    raise SluiceError(f"{folder} has no row with the id or source {query!r}; {hint}")


def _near(ledger: list[Path], query: str) -> list[str]:
    """Ids and sources like `query`. One typing mistake leaves either its first or its second half intact, so those
    that hold a half are candidates: a plain substring search, not an edit distance to every row."""
    half = len(query) // 2
    if half < 2:
        return []
    candidates: set[str] = set()
    for name in ("id", "source"):
        column = ds.field(name)
        where = pc.match_substring(column, query[:half]) | pc.match_substring(column, query[half:])
        for batch in _scan(ledger, where, [name]):
            candidates.update(batch.column(name).to_pylist())
            if len(candidates) > _CANDIDATES:
                break
    ordered = sorted(candidates, key=lambda value: (abs(len(value) - len(query)), value))[:_CANDIDATES]
    return difflib.get_close_matches(query, ordered, n=3, cutoff=0.6)


def _places(folder: Path, path: str, names: set[str]) -> list[dict[str, Any]]:
    """Where in a shard the documents of these source ids lie."""
    found = []
    start = 0
    for batch in open_shard(folder / path).select(["document_lengths", "source_ids"]).to_batches():
        lengths, ids = batch.column("document_lengths"), batch.column("source_ids")
        hits = pc.is_in(ids.flatten(), pa.array(sorted(names), pa.string())).to_numpy(zero_copy_only=False)
        rows = pc.list_parent_indices(ids).to_numpy(zero_copy_only=False)
        for row in np.unique(rows[hits]).tolist():
            offset = 0
            for document, (tokens, name) in enumerate(zip(lengths[row].as_py(), ids[row].as_py(), strict=True)):
                if name in names:
                    place = {"shard": path, "sequence": start + row, "document": document}
                    found.append(place | {"offset": offset, "tokens": tokens})
                offset += tokens
        start += batch.num_rows
    return found
