"""What to forget, as a person names it: a matcher over columns, so that ledgers and indexes are asked alike."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from schemas.errors import SluiceError

_SHA256 = re.compile("[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class Hits:
    """Which rows of some columns are named, bool [rows], and by which of the names."""

    rows: np.ndarray
    names: frozenset[str]


class Wanted:
    """Names of rows. Each is an id, a source (file#row), a URL, or a SHA-256 (64 hex digits) of a media part or of the
    text, and names every row that has it in any of those places. Only whole, equal values match."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(dict.fromkeys(names))
        self._strings = pa.array(self.names, pa.string())
        #: the digests among the names, as bytes, and how each was written
        self.digests: dict[bytes, list[str]] = {}
        for name in self.names:
            if _SHA256.fullmatch(name):
                self.digests.setdefault(bytes.fromhex(name), []).append(name)

    def match(self, rows: int, *, strings: Iterable[pa.Array] = (), digests: Iterable[pa.Array] = ()) -> Hits:
        """Looks `rows` rows up: `strings` are columns of ids, sources or URLs; `digests`, columns of binary values or
        of lists of them. Nulls match nothing."""
        found = np.zeros(rows, bool)
        names: set[str] = set()
        for column in strings:
            at = pc.index_in(column, self._strings.cast(column.type))
            found |= at.is_valid().to_numpy(zero_copy_only=False)
            names.update(self.names[k] for k in at.drop_null().unique().to_pylist())
        keys = pa.array(self.digests, pa.binary())
        for column in digests if self.digests else ():
            values, owners = _flat(column)
            at = pc.index_in(values.cast(pa.binary()), keys)
            found[owners[at.is_valid().to_numpy(zero_copy_only=False)]] = True
            names.update(name for k in at.drop_null().unique().to_pylist() for name in self.digests[keys[k].as_py()])
        return Hits(found, frozenset(names))


def _flat(column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """A column's values, lists taken apart, and the row of each."""
    if pt.is_list(column.type) or pt.is_large_list(column.type):
        return column.flatten(), pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
    return column, np.arange(len(column))


def check_names(names: Iterable[str]) -> None:
    """Raises SluiceError on an empty name, and on one that is not Unicode."""
    for name in names:
        if not name:
            raise SluiceError("an empty name names no row; give an id, a source, a URL or a sha256")
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise SluiceError(f"{name!r} is not UTF-8, so it is no row's id, source or URL")


def read_names(path: str | Path) -> list[str]:
    """The names in a text file, one a line; blank lines do not count. Raises SluiceError when it is not UTF-8."""
    try:
        lines = Path(path).read_bytes().decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SluiceError(f"cannot read names from {path} ({error}); it holds one a line, in UTF-8") from error
    return [name for line in lines if (name := line.rstrip("\r")).strip()]
