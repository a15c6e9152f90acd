"""Files read outside a run: for commands that look at rows rather than make a dataset of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from pipeline.discovery import find_files
from pipeline.engine import Step
from pipeline.sources import registry
from pipeline.sources.base import Source
from pipeline.stage import BATCH_BYTES, BATCH_ROWS
from schemas.errors import SluiceError
from schemas.recipe import Recipe, StepSpec
from schemas.sample import SENTINEL
from transforms.base import Outcome
from transforms.dedup.base import Dedup
from transforms.registry import build

_WHOLE_FILE = 2**62


def open_files(paths: Sequence[str], use: str | None = None, column: str | None = None) -> Source:
    """The source that reads `paths`: the one called `use`, else the one that their endings tell.

    `column` is the text column where it is not called text. Raises SluiceError when the endings tell no single source.
    """
    params: dict[str, object] = {"paths": list(paths)}
    if column is not None:
        params["columns"] = {"text": column}
    return registry.build(use or _by_ending(paths), params)


def recipe_sources(recipe: Recipe) -> list[Source]:
    """The sources of a recipe's inputs."""
    return [registry.build(spec.use, dict(spec.params)) for spec in recipe.inputs]


def local_steps(specs: Sequence[StepSpec]) -> list[Step]:
    """The steps of a recipe that judge each row alone: all but the global ones. One that removes spans of text is here,
    since later steps may read its column, but nobody has found it any."""
    return [
        Step(f"{number}:{spec.use}", made, spec.when.modalities() if spec.when else None)
        for number, spec in enumerate(specs, start=1)
        if not isinstance(made := build(spec.use, dict(spec.params)), Dedup)
    ]


def read_all(
    sources: Sequence[Source], batch_rows: int = BATCH_ROWS, batch_bytes: int = BATCH_BYTES
) -> Iterator[Outcome]:
    """Every file of the sources, batch by batch, in the order of their labels."""
    for source in sources:
        for file in find_files(source, source.name):
            for span in source.plan(file, _WHOLE_FILE):
                yield from source.read(span, batch_rows, batch_bytes)


def read_kept(source: Source, unread: Counter[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a source that can be read. The reasons of the others are counted in `unread`."""
    for outcome in read_all([source]):
        if unread is not None:
            parts, reasons = (outcome.rejected.column(name).to_pylist() for name in ("reject.part", "reject.reason"))
            unread.update(reason for part, reason in zip(parts, reasons, strict=True) if part is None)
        yield outcome.kept


def read_texts(source: Source) -> Iterator[str]:
    """Their texts, without media sentinels."""
    for batch in read_kept(source):
        for text in batch.column("text").to_pylist():
            yield text.replace(SENTINEL, "")


def unread_lines(unread: Mapping[str, int]) -> list[str]:
    """What to tell a person of rows that could not be read: nothing, or a line."""
    told = ", ".join(f"{count:,} {reason}" for reason, count in sorted(unread.items()))
    return [f"not read: {told}"] if told else []


def _by_ending(paths: Sequence[str]) -> str:
    found = {path: _formats(path) for path in paths}
    names = set().union(*found.values())
    if len(names) == 1 and all(found.values()):
        return names.pop()
    unclear = next((path for path, formats in found.items() if not formats), None)
    why = (
        f"the name of {unclear!r} does not tell its format"
        if unclear is not None
        else f"the files are of several formats ({', '.join(sorted(names))})"
    )
    raise SluiceError(f"{why}; say which with --source: {', '.join(registry.catalog())}")


def _formats(path: str) -> set[str]:
    """The sources that read a path, or the files below a folder."""
    names = [name for _, _, files in os.walk(path) for name in files] if os.path.isdir(path) else [path]
    return {known for known in map(_source_of, names) if known is not None}


def _source_of(path: str) -> str | None:
    """The source with the longest ending that fits, since x.warc.wet ends like x.wet too."""
    name = os.path.basename(path).lower()
    fitting = [
        (len(suffix), known)
        for known, cls in registry.catalog().items()
        for suffix in cls.suffixes
        if name.endswith(suffix)
    ]
    return max(fitting)[1] if fitting else None
