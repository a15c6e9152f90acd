"""A pair: one row that holds a text in two languages.

`text` is what a tokenizer sees, the source, a newline, and the target. The sides themselves are in one nested column,
which stays out of the ledger; `pair.split` makes it, and every other step of this folder reads it. A row whose column
is null (a guarded step passed it by) is no pair, and none of them judges it.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import SchemaError

SIDES = pa.field("pair.sides", pa.struct([("source", pa.large_string()), ("target", pa.large_string())]))
SOURCE_LANG = pa.field("pair.source_lang", pa.string())
TARGET_LANG = pa.field("pair.target_lang", pa.string())
NAMES = ("source", "target")


def require_pairs(schema: pa.Schema, step: str) -> None:
    """Raises SchemaError unless a batch of this schema holds pairs."""
    for field in (SIDES, SOURCE_LANG, TARGET_LANG):
        if field.name not in schema.names:
            raise SchemaError(f"{step}: there is no column {field.name!r} at this step; put pair.split before this")


def side(batch: pa.RecordBatch, name: str) -> pa.Array:
    """The "source" or "target" column: large_string, null where the row is no pair."""
    return pc.struct_field(batch.column(SIDES.name), name)


def side_texts(batch: pa.RecordBatch) -> list[tuple[str, str] | None]:
    """(source, target) of each row; None where it is no pair."""
    sides = zip(*(side(batch, name).to_pylist() for name in NAMES), strict=True)
    return [None if source is None or target is None else (source, target) for source, target in sides]


def sides_array(pairs: list[tuple[str, str] | None]) -> pa.Array:
    """The `pair.sides` column of these pairs."""
    return pa.array([None if pair is None else dict(zip(NAMES, pair, strict=True)) for pair in pairs], SIDES.type)


def joined(source: str, target: str) -> str:
    """What `text` is for a pair."""
    return f"{source}\n{target}"
