"""The JSON files beside a checkpoint's weights: inside its folder, of sane size, objects without repeated keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from schemas.errors import SluiceError

#: the index of a model of 10,000 tensors is about 1 MB, a tokenizer of 150,000 tokens about 11 MB
LARGEST_BYTES = 128 << 20


def inside(folder: Path, name: str) -> Path:
    """The file `name` of a folder; raises SluiceError when it lies, or a link leads, outside of it, or is a pipe.

    A snapshot of the hub's cache (models--X/snapshots/REVISION) is links into the blobs folder beside the snapshots;
    those are followed.
    """
    if not name or "/" in name or "\\" in name or name in (".", "..") or "\0" in name:
        raise SluiceError(f"{folder} names a file {name!r}; the files of a checkpoint lie in its folder itself")
    root, path = folder.resolve(), (folder / name).resolve()
    roots = [root] + ([root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [])
    if path.parent not in roots:
        raise SluiceError(
            f"{folder / name} is a link that leads out of the checkpoint's folder, to {path}; copy the file"
        )
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise SluiceError(f"{folder / name} is not a file")
    return folder / name


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object; raises SluiceError saying what is wrong with the file, OSError when it cannot be opened."""
    path = inside(folder, name)
    if path.stat().st_size > LARGEST_BYTES:
        raise SluiceError(f"{path} is larger than {LARGEST_BYTES >> 20} MB; it is no such file of a checkpoint")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise SluiceError(f"{path} cannot be read ({error or 'nested too deeply'}); it is torn, or no JSON") from error
    if not isinstance(raw, dict):
        raise SluiceError(f"{path} must hold a JSON object, not {type(raw).__name__}")
    return raw


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes an object, keys as given."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is there twice")
        found[key] = value
    return found
