"""Signals: named, versioned columns computed from `text`, shared by every transform that needs them.

A signal may also depend on the row's language, the column `text.lang`; it says so, and what adds that column declares
`edits_text`, so that a signal is never older than the language it was computed for.

A transform declares the signal columns it reads; the engine computes what a recipe needs once a batch, and again only
after a step that edited the text. Rules are then comparisons on columns, and the ledger gets the values for free.

A signal column is `signal.<name>.<variant>`, for example `signal.gopher.word_count.paper`; the variant is the
implementation whose definitions (words, lines, ties) it follows, because implementations disagree about both.
The readable reference computes signals one `Document` a row. A kernel may register as a faster way to compute the same
columns to the last bit; rows that it leaves are the reference's, which is its oracle too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import SchemaError
from schemas.sample import SENTINEL
from transforms.base import append_columns

#: name -> signal; filled by `@signal` when transforms.registry.load_all() walks the package
_SIGNALS: dict[str, Signal] = {}
#: column -> the kernel that computes it; filled by `register_kernel`
_KERNELS: dict[str, Kernel] = {}


class Document:
    """What signals are computed from: a text without its media sentinels, its label of `text.lang` (null without that
    column), and whatever views of it are cached.

    Signal functions keep shared intermediates (words, lines, n-gram counts) with `view`, so that each is made once.
    """

    __slots__ = ("_views", "lang", "text")

    def __init__(self, text: str, lang: str | None = None) -> None:
        self.text = text.replace(SENTINEL, "")
        self.lang = lang
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


def signal_columns() -> list[str]:
    """The columns of all signals in all their variants, sorted."""
    return sorted(column_name(one.name, variant) for one in _SIGNALS.values() for variant in one.variants)


def signal_field(column: str) -> pa.Field:
    """The Arrow field of a signal column."""
    return pa.field(column, resolve(column)[0].dtype)


@dataclass(frozen=True, slots=True)
class Computed:
    """What a kernel made of a text column: a column for each that was asked for, and the rows, bool [rows], that it
    leaves to the reference (their values are of no account)."""

    columns: list[pa.Array]
    undone: np.ndarray


#: (a large_string column without nulls, `text.lang` or nulls, signal columns) -> their values
Kernel = Callable[[pa.Array, pa.Array, Sequence[str]], Computed]


def register_kernel(columns: Iterable[str], kernel: Kernel) -> None:
    """Has a kernel compute these columns; those that a batch needs are asked for in one call."""
    _KERNELS.update(dict.fromkeys(columns, kernel))


def compute_signals(batch: pa.RecordBatch, columns: Iterable[str], *, reference: bool = False) -> pa.RecordBatch:
    """The batch with the given signal columns, computed in one pass over `text`; with `reference`, by no kernel."""
    wanted = sorted(set(columns))
    fields = [signal_field(column) for column in wanted]
    text = batch.column("text")
    known = "text.lang" in batch.schema.names
    langs = batch.column("text.lang") if known else pa.nulls(batch.num_rows, pa.string())
    if reference or text.null_count or text.type != pa.large_string():
        return append_columns(batch, list(zip(fields, _by_reference(text, langs, wanted), strict=True)))
    made: dict[str, pa.Array] = {}
    by_kernel: dict[Kernel, list[str]] = {}
    for column in wanted:
        if column in _KERNELS:
            by_kernel.setdefault(_KERNELS[column], []).append(column)
    for kernel, served in by_kernel.items():
        computed = kernel(text, langs, served)
        values = computed.columns
        if computed.undone.any():
            mask = pa.array(computed.undone)
            instead = _by_reference(text.filter(mask), langs.filter(mask), served)
            values = [pc.replace_with_mask(v, mask, r) for v, r in zip(values, instead, strict=True)]
        made |= zip(served, values, strict=True)
    left = [column for column in wanted if column not in made]
    made |= zip(left, _by_reference(text, langs, left), strict=True)
    return append_columns(batch, [(field, made[field.name]) for field in fields])


def _by_reference(text: pa.Array, langs: pa.Array, columns: Sequence[str]) -> list[pa.Array]:
    found = [resolve(column) for column in columns]
    values: list[list[Any]] = [[] for _ in found]
    rows = zip(text.to_pylist(), langs.to_pylist(), strict=True) if found else ()
    for document in (Document(*row) for row in rows):
        for into, (one, variant) in zip(values, found, strict=True):
            into.append(one.compute(document, variant))
    return [pa.array(v, one.dtype) for v, (one, _) in zip(values, found, strict=True)]
