"""Signals: named, versioned columns computed from `text`, shared by every transform that needs them.

A transform declares the signal columns it reads; the engine computes what a recipe needs once a batch, and again only
after a step that edited the text. Rules are then comparisons on columns, and the ledger gets the values for free.

A signal column is `signal.<name>.<variant>`, for example `signal.gopher.word_count.paper`; the variant is the
implementation whose definitions (words, lines, ties) it follows, because implementations disagree about both.
This module computes signals with the readable reference, one `Document` a row. A kernel may register as a faster
way to compute the same columns; the reference stays as its oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from schemas.errors import SchemaError
from schemas.sample import SENTINEL
from transforms.base import append_columns

#: name -> signal; filled by `@signal` when transforms.registry.load_all() walks the package
_SIGNALS: dict[str, Signal] = {}


class Document:
    """What signals are computed from: a text without its media sentinels, and whatever views of it are cached.

    Signal functions keep shared intermediates (words, lines, n-gram counts) with `view`, so that each is made once.
    """

    __slots__ = ("_views", "text")

    def __init__(self, text: str) -> None:
        self.text = text.replace(SENTINEL, "")
        self._views: dict[Any, Any] = {}

    def view(self, make: Callable[..., Any], *args: Any) -> Any:
        """`make(self, *args)`, computed once a document."""
        key = (make, args)
        if key not in self._views:
            self._views[key] = make(self, *args)
        return self._views[key]


@dataclass(frozen=True)
class Signal:
    """One registered signal: `compute(document, variant)` gives its value."""

    name: str
    version: int
    dtype: pa.DataType
    variants: tuple[str, ...]
    compute: Callable[[Document, str], Any]


def signal(
    name: str, *, version: int, dtype: pa.DataType, variants: tuple[str, ...]
) -> Callable[[Callable[[Document, str], Any]], Callable[[Document, str], Any]]:
    """Registers a signal function `f(document, variant) -> value`."""

    def file(function: Callable[[Document, str], Any]) -> Callable[[Document, str], Any]:
        if name in _SIGNALS and _SIGNALS[name].compute.__qualname__ != function.__qualname__:
            raise AssertionError(f"signal {name} is registered twice")
        _SIGNALS[name] = Signal(name, version, dtype, variants, function)
        return function

    return file


def column_name(name: str, variant: str) -> str:
    """The column of a signal in one variant."""
    return f"signal.{name}.{variant}"


def resolve(column: str) -> tuple[Signal, str]:
    """The signal and variant behind a column name; raises SchemaError when there is none."""
    prefix, _, variant = column.rpartition(".")
    found = _SIGNALS.get(prefix.removeprefix("signal."))
    if found is None or variant not in found.variants:
        raise SchemaError(f"no signal makes the column {column!r}; known signals: {', '.join(sorted(_SIGNALS))}")
    return found, variant


def signal_field(column: str) -> pa.Field:
    """The Arrow field of a signal column."""
    return pa.field(column, resolve(column)[0].dtype)


def compute_signals(batch: pa.RecordBatch, columns: Iterable[str]) -> pa.RecordBatch:
    """The batch with the given signal columns, computed in one pass over `text`."""
    wanted = [(column, *resolve(column)) for column in sorted(set(columns))]
    if not wanted:
        return batch
    values: list[list[Any]] = [[] for _ in wanted]
    for text in batch.column("text").to_pylist():
        document = Document(text)
        for into, (_, found, variant) in zip(values, wanted, strict=True):
            into.append(found.compute(document, variant))
    return append_columns(batch, [(signal_field(column), v) for (column, _, _), v in zip(wanted, values, strict=True)])
