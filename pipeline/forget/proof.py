"""Everything in a dataset's folder read back and searched for what was forgotten."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipeline.forget.documents import documents_in
from pipeline.forget.tombstones import DIGESTS, FILLED, IDENTIFYING, NAMES, Burial, is_tombstone
from pipeline.forget.wanted import Wanted
from pipeline.report.page import render
from pipeline.report.summary import RUN_NAME
from pipeline.report.tally import read_ledger
from pipeline.report.write import HTML_NAME, JSON_NAME
from schemas.manifest import MANIFEST_NAME, read_manifest
from schemas.shard import open_shard

#: a shorter name stands in too many places by chance to be searched for inside other text
MIN_MENTION = 8
_MAX_SHOWN = 100


@dataclass
class Needles:
    """What to search for, as plain JSON data.

    `names`: as asked for. By ledger column, what no other row had. `tokens` and `media`: SHA-256 (hex) of what was cut
    out of the shards, which other rows may well hold.
    """

    names: list[str] = field(default_factory=list)
    id: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    url: list[str] = field(default_factory=list)
    text_sha256: list[str] = field(default_factory=list)
    media_sha256: list[str] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=dict)  # and the number of tokens
    media: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, names: list[str], burial: Burial) -> Needles:
        """The needles of what a burial leaves nowhere."""
        made = cls(names)
        for name in IDENTIFYING:
            values = burial.gone[name]
            setattr(made, name, sorted(values if name in NAMES else (value.hex() for value in values)))
        return made

    def data(self) -> dict[str, Any]:
        """For the journal."""
        return asdict(self)


@dataclass
class Search:
    """What was read, and what was found. `found`: what ought not to be there; `copies`: documents that stay and have
    the same tokens or media as one that was cut out; `mentions`: places of the reports and the manifest where other
    text contains a name."""

    shards: int = 0
    documents: int = 0
    media: int = 0
    ledger_files: int = 0
    ledger_lines: int = 0
    tombstones: int = 0
    reports: int = 0
    other_files: int = 0
    found: list[str] = field(default_factory=list)
    copies: list[dict[str, Any]] = field(default_factory=list)
    num_copies: int = 0
    mentions: list[str] = field(default_factory=list)


def search(folder: Path, needles: Needles, but: str) -> Search:
    """Searches every file in the folder but the tokenizer's, and `but` one."""
    manifest = read_manifest(folder)
    result = Search()
    _search_ledger(folder, [entry.path for entry in manifest.ledger], manifest.forgotten, needles, result)
    for entry in manifest.shards:
        _search_shard(folder, entry.path, needles, result)
    reports = [name for name in (MANIFEST_NAME, JSON_NAME, RUN_NAME) if (folder / name).exists()]
    for name in reports:
        result.reports += 1
        _search_json(name, json.loads((folder / name).read_bytes()), needles, result)
    if (
        folder / HTML_NAME
    ).exists() and JSON_NAME in reports:  # it shows report.json, so it holds what that holds; and must hold no more
        result.reports += 1
        page = render(json.loads((folder / JSON_NAME).read_bytes()))
        if (folder / HTML_NAME).read_bytes() != page.encode():
            result.found.append(f"{HTML_NAME} shows other than {JSON_NAME}")
    listed = {entry.path for entry in manifest.ledger} | {entry.path for entry in manifest.shards}
    listed |= {*reports, HTML_NAME, but}
    _search_others(folder, listed, manifest.tokenizer.path, needles, result)
    return result


def _search_ledger(folder: Path, paths: list[str], forgotten: int, needles: Needles, result: Search) -> None:
    given = Wanted(needles.names)
    gone = {name: Wanted([*getattr(needles, name)]) for name in IDENTIFYING}
    rows = 0
    for path in paths:
        result.ledger_files += 1
        for _, batch in read_ledger([folder / path]):
            result.ledger_lines += batch.num_rows
            has = set(batch.schema.names)
            hits = {
                name: gone[name].match(batch.num_rows, strings=[batch.column(name)]) for name in NAMES if name in has
            }
            hits |= {
                name: gone[name].match(batch.num_rows, digests=[batch.column(name)]) for name in DIGESTS if name in has
            }
            hits["match_id"] = gone["id"].match(batch.num_rows, strings=[batch.column("match_id")])
            hits["a name"] = given.match(
                batch.num_rows,
                strings=[batch.column(name) for name in NAMES if name in has],
                digests=[batch.column(name) for name in DIGESTS if name in has],
            )
            result.found += [f"{path}: {name} {value!r}" for name, hit in hits.items() for value in sorted(hit.names)]
            dead = is_tombstone(batch)
            result.tombstones += int(dead.sum())
            rows += int((dead & batch.column("part").is_null().to_numpy(zero_copy_only=False)).sum())
            for name in has - set(FILLED):
                if (dead & batch.column(name).is_valid().to_numpy(zero_copy_only=False)).any():
                    result.found.append(f"{path}: a tombstone has a value in {name}")
    if rows != forgotten:
        result.found.append(f"the ledger has the tombstones of {rows} rows, the manifest says {forgotten}")


def _search_shard(folder: Path, path: str, needles: Needles, result: Search) -> None:
    result.shards += 1
    names = Wanted({*needles.id, *needles.names})
    media = {bytes.fromhex(digest) for digest in needles.media}
    forbidden = {bytes.fromhex(digest) for digest in needles.media_sha256} | set(Wanted(needles.names).digests)
    tokens = {bytes.fromhex(digest) for digest in needles.tokens}
    lengths = np.array(sorted(set(needles.tokens.values())), np.int64)
    for batch in open_shard(path=folder / path).to_batches():
        ids = batch.column("source_ids").flatten()
        result.documents += len(ids)
        hits = names.match(len(ids), strings=[ids]).names
        result.found += [f"{path}: a document of {name!r}" for name in sorted(hits)]
        sizes = batch.column("document_lengths").flatten().to_numpy(zero_copy_only=False)
        rows = pc.list_parent_indices(batch.column("source_ids")).to_numpy(zero_copy_only=False)
        like = set(np.unique(rows[np.isin(sizes, lengths)]).tolist())
        for row in range(batch.num_rows):
            held = _media_in(batch, row)
            result.media += len(held)
            result.found += [f"{path}: media {digest.hex()}" for digest in sorted(forbidden & held)]
            if row not in like and not media & held:
                continue
            for document in documents_in(batch.slice(row, 1)):
                shares = ["tokens"] if document.tokens in tokens else []
                shares += ["media_sha256"] if not media.isdisjoint(document.media) else []
                if shares:
                    result.num_copies += 1
                    if len(result.copies) < _MAX_SHOWN:
                        result.copies.append({"id": document.source_id, "shard": path, "shares": shares})


def _media_in(batch: Any, row: int) -> set[bytes]:
    """The SHA-256 of a sequence's pictures and sounds."""
    held = set()
    for name in ("images", "audios"):
        for data in batch.column(name)[row].values.field("data") if len(batch.column(name)[row]) else ():
            held.add(hashlib.sha256(data.as_buffer()).digest())
    return held


def _search_json(name: str, data: Any, needles: Needles, result: Search) -> None:
    """Rows shown must not be those; other text that contains a name is another row's, or the recipe's, and is told."""
    rows = {*needles.names, *needles.id, *needles.source}
    long = [n for n in {*rows, *needles.url, *needles.text_sha256, *needles.media_sha256} if len(n) >= MIN_MENTION]
    for place, holder, value in _strings(name, data, {}):
        key = place.rpartition(".")[2]
        is_row = key in ("id", "source") and "verdict" in holder
        if (is_row and value in rows) or (key == "match_id" and value in needles.id):
            result.found.append(f"{place}: {value!r}")
        elif any(n in value and re.search(rf"(?<!\w){re.escape(n)}(?!\w)", value) for n in long):
            result.mentions.append(place)


def _strings(place: str, value: Any, holder: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    if isinstance(value, str):
        yield place, holder, value
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _strings(f"{place}[{number}]", inner, holder)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _strings(f"{place}.{key}", inner, value)


def _search_others(folder: Path, listed: set[str], tokenizer: str, needles: Needles, result: Search) -> None:
    """Files that are none of the dataset's: their bytes must not contain a name."""
    texts = {*needles.names, *needles.id, *needles.source, *needles.url, *needles.text_sha256, *needles.media_sha256}
    names = [name.encode() for name in sorted(texts) if len(name.encode()) >= MIN_MENTION]
    for place, folders, files in os.walk(folder):
        here = Path(place).relative_to(folder)
        folders[:] = [name for name in folders if (here / name).as_posix() != tokenizer]
        for file in files:
            path = (here / file).as_posix()
            if path in listed or (folder / path).is_symlink() or not (folder / path).is_file():
                continue
            result.other_files += 1
            if (folder / path).stat().st_size == 0:
                continue
            with (folder / path).open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
                result.found += [f"{path}: {name.decode()!r}" for name in names if data.find(name) >= 0]
