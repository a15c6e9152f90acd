"""Reading benchmark files: JSON lines, Parquet, or plain text; each item with its name and its words."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from schemas.errors import RecipeError
from transforms.base import Params
from transforms.registry import nearest
from transforms.text.lists import open_binary, read_lines

_STEP = "text.decontaminate"
_TEXT, _PARQUET, _JSON = (".txt", ".text"), (".parquet",), (".jsonl", ".json", ".ndjson")


class Benchmark(Params):
    """One benchmark file."""

    #: names it in the ledger and in the column `decontamination.benchmark`
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    #: .jsonl, .parquet or .txt (one item a line); .jsonl and .txt may be gzipped
    path: str
    #: the columns that make up an item, in reading order, the prompt first: [question, choices, answer] for MMLU,
    #: [prompt, canonical_solution] for HumanEval. Lists are read in their order. Not for .txt.
    columns: tuple[str, ...] = ()
    #: the column that names an item; rows without it are named by their number, from 0
    id_column: str = "id"


@dataclass(frozen=True, slots=True)
class Item:
    """One benchmark item: the text of all its columns, and of its first one."""

    benchmark: str
    name: str
    text: str
    prompt: str

    @property
    def match_id(self) -> str:
        """`benchmark:item`, as the ledger has it."""
        return f"{self.benchmark}:{self.name}"


def read_items(benchmark: Benchmark) -> Iterator[Item]:
    """The items of a benchmark; raises RecipeError when its file or columns are not as the recipe says."""
    where = f"{_STEP}: benchmark {benchmark.name!r}"
    suffix = Path(benchmark.path.removesuffix(".gz")).suffix.lower()
    if suffix in _TEXT:
        if benchmark.columns:
            raise RecipeError(f"{where} is a text file, one item a line; it has no columns")
        for number, line in enumerate(read_lines(benchmark.path, _STEP)):
            yield Item(benchmark.name, str(number), line, line)
        return
    if suffix not in _PARQUET + _JSON:
        raise RecipeError(f"{where}: {benchmark.path!r} is none of {', '.join(_JSON + _PARQUET + _TEXT)}")
    if not benchmark.columns:
        raise RecipeError(f"{where}: say which columns of {benchmark.path!r} make up an item, the prompt first")
    rows = _parquet(benchmark, where) if suffix in _PARQUET else _json(benchmark, where)
    for number, row in enumerate(rows):
        absent = [name for name in benchmark.columns if name not in row]
        if absent:
            hint = nearest(absent[0], list(row))
            raise RecipeError(f"{where}: row {number} of {benchmark.path!r} has no column {absent[0]!r}; {hint}")
        parts = [_text(row[name]) for name in benchmark.columns]
        name = row.get(benchmark.id_column)
        yield Item(benchmark.name, str(number if name is None else name), "\n".join(parts), parts[0])


def _parquet(benchmark: Benchmark, where: str) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(benchmark.path) as file:
            wanted = [*benchmark.columns, benchmark.id_column]
            columns = [name for name in file.schema_arrow.names if name in wanted]
            for batch in file.iter_batches(columns=columns):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise RecipeError(f"{where}: {benchmark.path!r} cannot be read as Parquet ({error})") from error


def _json(benchmark: Benchmark, where: str) -> Iterator[dict[str, Any]]:
    number = 0
    try:
        with open_binary(benchmark.path, _STEP) as lines:
            for line in lines:
                number += 1
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError("not an object")
                    yield row
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        if isinstance(error, RecipeError):
            raise
        raise RecipeError(f"{where}: line {number} of {benchmark.path!r} cannot be read as JSON ({error})") from error


def _text(value: Any) -> str:
    """A value's words: lists and objects in their order, null as nothing."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return "\n".join(map(_text, value))
    if isinstance(value, dict):
        return "\n".join(map(_text, value.values()))
    return str(value)
