"""Files whose bytes depend on their content alone: no clock, no user, no file names of this machine."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

#: a member of a sample: its ending and its bytes
Member = tuple[str, bytes]


def write_gzip_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Writes lines, each ended by a newline, as a gzip file without name or time."""
    with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as out:
        for line in lines:
            out.write(line + b"\n")


def write_webdataset(path: Path, samples: Iterable[tuple[str, list[Member]]]) -> int:
    """Writes samples (key, members) as a WebDataset tar; returns how many."""
    count = 0
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for key, members in samples:
            for ending, data in members:
                info = tarfile.TarInfo(f"{key}.{ending}")
                info.size = len(data)  # mtime, uid, gid and mode are constants of TarInfo
                archive.addfile(info, io.BytesIO(data))
            count += 1
    return count


def json_bytes(value: dict[str, Any]) -> bytes:
    """Compact UTF-8 JSON, keys in the order given."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
