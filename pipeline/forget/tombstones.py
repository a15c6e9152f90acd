"""What stands in the ledger in a forgotten row's stead: that there was a row, and nothing about it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.ledger import REJECTED

STEP = "forget"
REASON = "forgotten"
#: the columns a tombstone has; every other one is null
FILLED = ("id", "source", "part", "modality", "verdict", "step", "reason")
#: the columns that a row can be found by
NAMES = ("id", "source", "url")
DIGESTS = ("text_sha256", "media_sha256")
IDENTIFYING = (*NAMES, *DIGESTS)
_PREFIX = "forgotten-"


def tombstone_id(name: str, salt: str) -> str:
    """`forgotten-` and 16 hex digits of sha256(salt + name). Without a salt, whoever guesses the name can check it."""
    return _PREFIX + hashlib.sha256((salt + name).encode()).hexdigest()[:16]


def tombstone_source(source: str, salt: str) -> str:
    """A source that says which dataset the row was of, and no more. Sources that differ go on differing."""
    dataset, slash, _ = source.partition("/")
    return f"{dataset if slash else 'forgotten'}/{tombstone_id(source, salt)}"


def is_tombstone(batch: pa.RecordBatch) -> np.ndarray:
    """Which ledger lines are tombstones, bool [lines]."""
    return np.asarray(pc.fill_null(pc.equal(batch.column("step"), STEP), False))


@dataclass
class Burial:
    """The ledger lines to forget, and how the others have to change.

    `rows`: (source, id) of rows, forgotten with all their lines; `parts`: (source, id, part) of single lines. `had`:
    by ledger column (id, source, url, text_sha256, media_sha256), what those lines had; `gone`: what of it no other
    line has.
    """

    salt: str = ""
    rows: set[tuple[str, str]] = field(default_factory=set)
    parts: set[tuple[str, str, int]] = field(default_factory=set)
    had: dict[str, set[Any]] = field(default_factory=lambda: {name: set() for name in IDENTIFYING})
    gone: dict[str, set[Any]] = field(default_factory=lambda: {name: set() for name in IDENTIFYING})

    @cached_property
    def _ids(self) -> set[str]:
        return {row_id for _, row_id in self.rows} | {row_id for _, row_id, _ in self.parts}

    def lines(self, batch: pa.RecordBatch) -> np.ndarray:
        """Which lines become tombstones, bool [lines]."""
        found = np.zeros(batch.num_rows, bool)
        for at in np.flatnonzero(_among(batch.column("id"), self._ids) & ~is_tombstone(batch)).tolist():
            source, row_id, part = (batch.column(name)[at].as_py() for name in ("source", "id", "part"))
            found[at] = (source, row_id) in self.rows or (source, row_id, part) in self.parts
        return found

    def quoting(self, batch: pa.RecordBatch) -> np.ndarray:
        """Which other lines name a forgotten row as what they were matched with, bool [lines]: their excerpt is likely
        the same text."""
        return _among(batch.column("match_id"), self.had["id"]) & ~self.lines(batch)

    def bury(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The ledger lines as they shall be."""
        lines, quoting = self.lines(batch), self.quoting(batch)
        columns = {name: batch.column(name) for name in batch.schema.names}
        for name in columns:
            if name not in FILLED:
                columns[name] = _without(columns[name], lines)
        columns |= {
            "id": _replaced(columns["id"], lines, lambda name: tombstone_id(name, self.salt)),
            "source": _replaced(columns["source"], lines, lambda name: tombstone_source(name, self.salt)),
        }
        for name, value in (("verdict", REJECTED), ("step", STEP), ("reason", REASON)):
            columns[name] = _replaced(columns[name], lines, lambda _, value=value: value)
        if quoting.any():
            dead = quoting & _among(columns["match_id"], self.gone["id"])
            columns["match_id"] = _replaced(columns["match_id"], dead, lambda name: tombstone_id(name, self.salt))
            columns["excerpt"] = _without(columns["excerpt"], quoting)
            if "text_sha256" in columns:
                same = np.array(
                    [value in self.had["text_sha256"] for value in columns["text_sha256"].to_pylist()], bool
                )
                columns["text_sha256"] = _without(columns["text_sha256"], quoting & same)
                columns["media_sha256"] = self._other_media(columns["media_sha256"], quoting)
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.schema)

    def _other_media(self, column: pa.Array, quoting: np.ndarray) -> pa.Array:
        values = column.to_pylist()
        for at in np.flatnonzero(quoting).tolist():
            values[at] = [digest for digest in values[at] or [] if digest not in self.had["media_sha256"]] or None
        return pa.array(values, column.type)


def _among(column: pa.Array, names: set[str]) -> np.ndarray:
    return np.asarray(pc.is_in(column, pa.array(list(names), column.type)))


def _without(column: pa.Array, rows: np.ndarray) -> pa.Array:
    return pc.if_else(pa.array(rows), pa.scalar(None, column.type), column) if rows.any() else column


def _replaced(column: pa.Array, rows: np.ndarray, new: object) -> pa.Array:
    if not rows.any():
        return column
    values: Sequence[str] = [new(value) for value in column.filter(pa.array(rows)).to_pylist()]  # type: ignore[operator]
    return pc.replace_with_mask(column, pa.array(rows), pa.array(values, column.type))
