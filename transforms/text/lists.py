"""Lists that a recipe names by path: words, domains, URLs; one entry a line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from schemas.errors import RecipeError

_MAX_LINE_BYTES = 1 << 16


def read_lines(path: str | Path, step: str) -> Iterator[str]:
    """The entries of a file, plain or gzip (told by its first bytes): stripped, without blank lines and `#` comments.

    Bytes that are no UTF-8 become U+FFFD: one bad line must not cost the list. Raises RecipeError, in the name of
    `step`, when there is no such file, it cannot be read, or a line is longer than 64 kB (so it is no list).
    """
    with open_binary(path, step) as lines:
        try:
            while line := lines.readline(_MAX_LINE_BYTES + 1):
                if len(line) > _MAX_LINE_BYTES:
                    raise RecipeError(f"{step}: {str(path)!r} has a line of more than 64 kB; one entry a line is meant")
                entry = line.decode("utf-8-sig", "replace").strip()
                if entry and not entry.startswith("#"):
                    yield entry
        except (OSError, EOFError, zlib.error) as error:
            raise RecipeError(f"{step}: {str(path)!r} cannot be read to its end ({error})") from error


def open_binary(path: str | Path, step: str) -> IO[bytes]:
    """A file, decompressed if it is gzip; raises RecipeError when there is none."""
    try:
        with open(path, "rb") as file:
            magic = file.read(2)
        return gzip.open(path, "rb") if magic == b"\x1f\x8b" else open(path, "rb")  # type: ignore[return-value]
    except OSError as error:
        raise RecipeError(f"{step}: cannot open {str(path)!r} ({error.strerror}); give a path to a file") from error
