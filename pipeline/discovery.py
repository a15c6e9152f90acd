"""From the `paths` of a recipe's input to the list of files it means."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from fsspec.core import url_to_fs
from fsspec.utils import glob_translate

from pipeline.sources.base import InputFile, Source
from pipeline.sources.opening import unreadable
from schemas.errors import SluiceError

_MAGIC = re.compile(r"[*?\[]")
#: Names that writers use for what is not data: `.crc`, `._x.jpg`, `_SUCCESS`, `_temporary/`, the convention of
#: Hadoop, Spark and Arrow's dataset reader.
_HIDDEN = (".", "_")


def find_files(source: Source, where: str) -> list[InputFile]:
    """The files that `source.params.paths` names, sorted by label, each once.

    A path is a file, a folder (every file below it with one of the source's suffixes) or a glob (`*`, `?`, `[ab]`, and
    `**` for any depth); local paths take `~`, others are fsspec URLs (`s3://…`, `memory://…`). Below a folder or a
    wildcard, hidden names (`.x`, `_SUCCESS`, `_temporary/`) and `*.tmp` do not count unless the pattern spells them.
    A label is the dataset's name, `/`, and the path relative to the folder or to the glob's part without wildcards.
    `where` names the input in errors. Raises SluiceError when a path matches nothing, a file cannot be read, or two
    files would have one label.
    """
    dataset = source.params.name or source.name
    paths = [source.params.paths] if isinstance(source.params.paths, str) else source.params.paths
    if not paths:
        raise SluiceError(f"{where}: paths is an empty list; name at least one file, folder or glob")
    files: dict[str, InputFile] = {}
    labels: dict[str, str] = {}
    for path in paths:
        for file in _expand(path, dataset, source.suffixes, where):
            if file.path in files:
                continue
            if file.label in labels:
                raise SluiceError(
                    f"{where}: {labels[file.label]} and {file.path} would both be called {file.label!r} in the ledger;"
                    " make them two inputs with different `name`s, or name their common folder or a glob over it"
                )
            files[file.path] = file
            labels[file.label] = file.path
    return sorted(files.values(), key=lambda file: file.label)


def _expand(given: str, dataset: str, suffixes: tuple[str, ...], where: str) -> Iterator[InputFile]:
    """The files one path means, in no particular order."""
    fs, path = _open_filesystem(given, where)
    try:
        if fs.isfile(path) or _is_special(fs, path):
            root, found = path.rpartition("/")[0], {path: _info(fs, path)}
        elif fs.isdir(path):
            root = path.rstrip("/")
            found = {p: info for p, info in _walk(fs, root, None) if _wanted(p, root, suffixes)}
        elif _MAGIC.search(path):
            root, found = _glob(fs, path, where, given)
        else:
            root, found = path, {}
        if not found:
            raise SluiceError(f"{where}: nothing matches {given!r}{_nearby(fs, path, suffixes)}")
    except OSError as error:
        raise unreadable(given, error) from error
    for path, info in found.items():
        yield _input_file(fs, path, info, f"{dataset}/{_relative(path, root)}", where)


def _open_filesystem(given: str, where: str) -> tuple[Any, str]:
    if "::" in given:
        raise SluiceError(f"{where}: {given!r} is a chain of file systems, which sluice does not read; copy it first")
    try:
        fs, path = url_to_fs(given)
    except (ImportError, ValueError) as error:
        raise SluiceError(f"{where}: {given!r} cannot be opened: {error}") from error
    return fs, os.path.abspath(path) if _is_local(fs) else path


def _is_local(fs: Any) -> bool:
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def _is_special(fs: Any, path: str) -> bool:
    """Whether a local path is there without being a file or a folder: a pipe, a device, a link to nowhere."""
    return _is_local(fs) and os.path.lexists(path) and not os.path.isdir(path)


def _info(fs: Any, path: str) -> dict[str, Any]:
    """`type` and `size` of a file; of a local one as its links lead, "missing" when they lead nowhere."""
    if not _is_local(fs):
        return fs.info(path)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return {"type": "missing", "size": 0}
    return {"type": "file" if stat.S_ISREG(status.st_mode) else "other", "size": status.st_size}


def _glob(fs: Any, pattern: str, where: str, given: str) -> tuple[str, dict[str, Any]]:
    parts = pattern.split("/")
    first = next(at for at, part in enumerate(parts) if _MAGIC.search(part))
    root, wild = "/".join(parts[:first]), parts[first:]
    try:
        matches = re.compile(glob_translate("/".join(wild))).match
    except ValueError as error:
        raise SluiceError(f"{where}: {given!r} is not a pattern: {error}") from error
    depth = None if "**" in wild else len(wild)
    spelled = any(part.startswith(_HIDDEN) for part in wild)
    found = {
        path: info
        for path, info in _walk(fs, root, depth)
        if matches(_relative(path, root)) and (spelled or not _hidden(_relative(path, root)))
    }
    return root, found


def _walk(fs: Any, root: str, depth: int | None) -> Iterator[tuple[str, Any]]:
    """Every non-folder below `root`, at most `depth` levels down; links to folders are followed, each folder once."""
    if not _is_local(fs):
        yield from fs.find(root, maxdepth=depth, detail=True).items()
        return
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root or "/", onerror=_raise, followlinks=True):
        status = os.stat(folder)
        level = 1 if folder == root else _relative(folder, root).count("/") + 2
        if (status.st_dev, status.st_ino) in seen or (depth is not None and level >= depth):
            folders.clear()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()  # of two ways to one folder, the first by name counts
        for name in names:
            path = os.path.join(folder, name)
            yield path, _info(fs, path)


def _raise(error: OSError) -> None:
    raise error


def _wanted(path: str, root: str, suffixes: tuple[str, ...]) -> bool:
    return path.lower().endswith(suffixes) and not _hidden(_relative(path, root))


def _hidden(relative: str) -> bool:
    return relative.endswith(".tmp") or any(part.startswith(_HIDDEN) for part in relative.split("/"))


def _relative(path: str, root: str) -> str:
    return path.removeprefix(root).lstrip("/")


def _input_file(fs: Any, path: str, info: dict[str, Any], label: str, where: str) -> InputFile:
    if ".." in label.split("/"):
        raise SluiceError(f"{where}: {path} has a '..' in its name, which cannot stand in a row's source; rename it")
    if _is_local(fs):
        if info["type"] != "file":
            what = "is a link to nothing" if info["type"] == "missing" else "is not a regular file"
            raise SluiceError(f"{where}: {path} {what}; restore it or take it out of the recipe's paths")
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise unreadable(path, error) from error
        url = path
    else:
        url = fs.unstrip_protocol(path)
    if info.get("size") is None:
        raise SluiceError(f"{where}: the server does not say how large {url} is; download it first")
    # Bytes of a file name that are not UTF-8 arrive as lone surrogates, which no Arrow string can hold.
    label = label.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return InputFile(url, label, info["size"])


def _nearby(fs: Any, path: str, suffixes: tuple[str, ...]) -> str:
    """What there is instead of what was asked for, as the rest of an error's sentence."""
    folder = path
    while folder and (_MAGIC.search(folder) or not fs.isdir(folder)):
        folder = folder.rpartition("/")[0]
    if not folder:
        return "; no part of that path exists"
    if folder == path:
        names = [_relative(p, folder) for p, _ in _walk(fs, folder, None)]
        wanted = f"; looked for files ending {', '.join(suffixes)}"
    else:
        names = sorted(entry.rstrip("/").rpartition("/")[2] for entry in fs.ls(folder, detail=False))
        missing = _relative(path, folder).partition("/")[0]
        close = get_close_matches(missing, names, n=3, cutoff=0.5)
        if close:
            return f"; {folder} exists; did you mean {' or '.join(repr(name) for name in close)} in it?"
        wanted = ""
    if not names:
        return f"{wanted}; the folder {folder} exists, but is empty"
    endings = Counter(os.path.splitext(name)[1] or "without an ending" for name in names)
    listed = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(5))
    return f"{wanted}; the folder {folder} exists and holds {len(names)} entries ({listed})"
