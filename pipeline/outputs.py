"""The output folder: one run at a time, nobody else's files, and no report of another dataset beside a manifest."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.report import write_report
from pipeline.workdir import WORK
from schemas.errors import SluiceError
from schemas.manifest import MANIFEST_NAME, Manifest, read_manifest

#: the folders a dataset owns in its output folder, replaced whole by a commit
OWNED = ("shards", "ledger", "tokenizer")
REPORTS = ("report.html", "report.json")
_LOCK = ".lock"
_COMMITTING = "committing"


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """One run at a time in an output folder; the lock dies with its process, its file stays."""
    out.mkdir(parents=True, exist_ok=True)
    handle = os.open(out / _LOCK, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise SluiceError(f"another sluice run is using {out}; wait for it, or name another folder") from error
    try:
        yield
    finally:
        os.close(handle)


def finished(out: Path, fingerprint: str, overwrite: bool) -> Manifest | None:
    """The manifest of a dataset this run would make again, with its report; None when there is work to do.

    Raises SluiceError when the folder holds another dataset (unless `overwrite`) or files that are not a dataset's.
    """
    if (out / MANIFEST_NAME).exists():
        existing = read_manifest(out)
        if existing.run_fingerprint == fingerprint:
            if not all((out / name).exists() for name in REPORTS):  # killed between the commit and its report
                write_report(out)
            return existing
        if not overwrite:
            raise SluiceError(
                f"{out} holds the dataset {existing.name!r} of another recipe, input, index or version; choose another "
                "--out, or pass --overwrite to replace it"
            )
    elif not (out / WORK / _COMMITTING).exists():
        strangers = [name for name in OWNED if (out / name).exists()]
        if strangers:
            raise SluiceError(
                f"{out} has {' and '.join(strangers)} but no {MANIFEST_NAME}, so they are no dataset of sluice's "
                "and would be overwritten; choose another --out, or move them away"
            )
    return None


def claim(out: Path) -> None:
    """Marks a commit as begun, and takes the old dataset's manifest and reports away: at no moment does a manifest
    stand beside another dataset's files."""
    (out / WORK / _COMMITTING).touch()
    for name in (MANIFEST_NAME, *REPORTS):
        (out / name).unlink(missing_ok=True)
