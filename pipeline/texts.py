"""Texts of files that no recipe names, for training tokenizers and classifiers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePath

import pyarrow as pa

from pipeline.discovery import find_files
from pipeline.sources.base import Source
from pipeline.sources.registry import build, catalog
from schemas.sample import SENTINEL

_BATCH_ROWS, _BATCH_BYTES = 1024, 16 * 2**20
_DEFAULT = "jsonl"


def text_source(paths: list[str], source: str | None = None, column: str | None = None) -> Source:
    """A source over these files, folders or globs, of which `column` is the text (null: `text`).

    Without a format it is told by how the first path ends; a folder is taken to hold jsonl. Raises RecipeError for an
    unknown format, or one that has no columns.
    """
    params: dict[str, object] = {"paths": paths}
    if column is not None:
        params["columns"] = {"text": column}
    return build(source or _format_of(paths[0]), params)


def _format_of(path: str) -> str:
    name = PurePath(path).name.lower()
    return next((known for known, made in catalog().items() if name.endswith(made.suffixes)), _DEFAULT)


def read_batches(source: Source, unread: Counter[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of all files of a source that can be read, in the order of the files' labels. The reasons of the others
    are counted in `unread`."""
    for file in find_files(source, source.name):
        for span in source.plan(file, 2**62):
            for outcome in source.read(span, _BATCH_ROWS, _BATCH_BYTES):
                if unread is not None:
                    parts, reasons = (
                        outcome.rejected.column(name).to_pylist() for name in ("reject.part", "reject.reason")
                    )
                    unread.update(reason for part, reason in zip(parts, reasons, strict=True) if part is None)
                yield outcome.kept


def unread_lines(unread: Mapping[str, int]) -> list[str]:
    """What to tell a person of rows that could not be read: nothing, or a line."""
    told = ", ".join(f"{count:,} {reason}" for reason, count in sorted(unread.items()))
    return [f"not read: {told}"] if told else []


def read_texts(source: Source) -> Iterator[str]:
    """Their texts, without media sentinels."""
    for batch in read_batches(source):
        for text in batch.column("text").to_pylist():
            yield text.replace(SENTINEL, "")
