"""The shape of a source: it plans a file into spans, and reads one span into Outcomes.

A span is the grain of parallelism, retry and resume. Reading yields the engine's one shape, `Outcome`: good rows as
SAMPLE batches, and each row that could not be read as a rejected row with a declared reason, so nothing is lost
between a file and the ledger. A row's `source` (dataset/file#row) must not depend on how a file was cut into spans.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from pydantic import Field, field_validator

from transforms.base import Outcome, Params


@dataclass(frozen=True, slots=True)
class InputFile:
    """One input file: `path` is fsspec-style, `label` is dataset/relative-path (begins `source`), `size` in bytes."""

    path: str
    label: str
    size: int


@dataclass(frozen=True, slots=True)
class Span:
    """A range of a file in the source's own unit (bytes, row groups, members); `stop` None reads to the end."""

    file: InputFile
    start: int = 0
    stop: int | None = None


class SourceParams(Params):
    """What every source takes."""

    #: fsspec-style path or glob, or a list of them; a folder means every matching file below it
    paths: str | list[str]
    #: the dataset's name, first part of every row's `source`; default: the source's registry name
    name: str | None = None
    #: a text longer than this is rejected as `too_long` rather than held in memory
    max_row_bytes: int = Field(default=32 * 2**20, gt=0)

    @field_validator("name")
    @classmethod
    def _name_is_a_relative_path(cls, name: str | None) -> str | None:
        # it begins every label, and labels become file names in places
        if name is not None and (
            re.search(r"[\x00-\x1f\x7f]", name) or not all(part not in ("", ".", "..") for part in name.split("/"))
        ):
            raise ValueError("must be one or more words joined by '/', without '.', '..' or control characters")
        return name


S = TypeVar("S", bound=SourceParams)


class Source(ABC, Generic[S]):
    """Base of the sources; `suffixes` are the file endings it reads, `reasons` what it may reject rows with."""

    name: ClassVar[str]
    version: ClassVar[int]
    Params: ClassVar[type[SourceParams]] = SourceParams
    suffixes: ClassVar[tuple[str, ...]]
    reasons: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, params: S) -> None:
        self.params = params

    @abstractmethod
    def plan(self, file: InputFile, target_bytes: int) -> list[Span]:
        """Cuts a file into spans of about `target_bytes`; every row belongs to exactly one span."""

    @abstractmethod
    def read(self, span: Span, batch_rows: int, batch_bytes: int) -> Iterator[Outcome]:
        """Reads a span into batches of at most `batch_rows` rows and about `batch_bytes` bytes."""
