"""Files, committed whole: written beside their place, flushed, and moved there by rename. A torn file is never read."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from schemas.errors import SluiceError


@contextmanager
def committed(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to; on leaving without an error it becomes `path`, atomically and durably."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_writable(path: str | Path) -> None:
    """Raises SluiceError when no file can be written to `path`: before the work that it shall hold, not after it. Makes
    its folder."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise SluiceError(f"cannot write {str(path)!r} ({error.strerror}); choose another --out") from error
    if path.is_dir():
        raise SluiceError(f"{str(path)!r} is a folder; give --out a file in it")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Writes a small file atomically."""
    with committed(path) as temporary:
        temporary.write_bytes(data)


def write_arrow(path: str | Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> int:
    """Writes an uncompressed (memory-mappable) Arrow IPC file atomically; returns its number of rows."""
    rows = 0
    with committed(path) as temporary, pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in batches:
            if batch.num_rows:
                writer.write_batch(batch)
                rows += batch.num_rows
    return rows


def map_arrow(path: str | Path) -> list[pa.RecordBatch]:
    """The record batches of an Arrow IPC file, memory-mapped: nothing is read until it is touched."""
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        return [reader.get_batch(k) for k in range(reader.num_record_batches)]


def sha256_file(path: str | Path) -> str:
    """Hex digest of a file's bytes."""
    with Path(path).open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
