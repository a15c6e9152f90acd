"""SAMPLE, the one row type: a document of ordered text, image and audio parts.

`text` holds one `SENTINEL` character for every media part, in place; `media` lists the parts in sentinel
order. Plain text, caption pairs, transcripts and interleaved pages are all this row. Transforms append dotted
columns (`text.lang`, `image.width_px`). A column about media parts is a list aligned with `media` and says so
in its field metadata (`part_field`), so that removing a part removes its measurements with it.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import SchemaError

SAMPLE_VERSION = 1

#: U+FFFC OBJECT REPLACEMENT CHARACTER: Unicode's own mark for an embedded object in running text.
SENTINEL = "\ufffc"

#: One media part. `index` is the part's ordinal in the document as it was read: it names the part in the ledger
#: and never changes when earlier parts are removed. `sha256` is the digest of `data`.
MEDIA = pa.struct(
    [
        pa.field("index", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # "image" | "audio"
        pa.field("data", pa.large_binary(), nullable=False),
        pa.field("mime", pa.string(), nullable=False),  # as sniffed from the bytes, not as claimed
        pa.field("sha256", pa.binary(32), nullable=False),
    ]
)

SAMPLE = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # the source's own id, else `source`
        pa.field("source", pa.string(), nullable=False),  # dataset/file#row: unique, independent of run order
        pa.field("url", pa.string()),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("media", pa.list_(MEDIA), nullable=False),
        pa.field("meta", pa.string(), nullable=False),  # JSON object as received
    ],
    metadata={b"sluice.schema": b"sample", b"sluice.version": str(SAMPLE_VERSION).encode()},
)

#: The columns no transform may add or replace; everything else in a batch was computed by a step.
SAMPLE_COLUMNS = frozenset(SAMPLE.names)


def part_field(name: str, value_type: pa.DataType) -> pa.Field:
    """A column measured per media part: list<value_type>, aligned with `media` (null where it does not apply)."""
    return pa.field(name, pa.list_(value_type), metadata={b"sluice.per": b"part"})


def is_part_field(field: pa.Field) -> bool:
    """Whether a column is aligned with `media` (made by `part_field`)."""
    return (field.metadata or {}).get(b"sluice.per") == b"part"


def sample_batch(rows: list[dict]) -> pa.RecordBatch:
    """Builds a SAMPLE batch from dictionaries; `url`, `media` and `meta` may be left out."""
    filled = [{"url": None, "media": [], "meta": "{}"} | row for row in rows]
    return pa.RecordBatch.from_pylist(filled, schema=SAMPLE)


def check_sample(batch: pa.RecordBatch, where: str) -> None:
    """Raises SchemaError unless the batch starts with SAMPLE's columns and every sentinel has its part."""
    for field in SAMPLE:
        position = batch.schema.get_field_index(field.name)
        if position < 0:
            raise SchemaError(f"{where}: column {field.name!r} is missing; a SAMPLE batch has {SAMPLE.names}")
        if not batch.schema.field(position).type.equals(field.type):
            got = batch.schema.field(position).type
            raise SchemaError(f"{where}: column {field.name!r} is {got}, expected {field.type}")
        if not field.nullable and batch.column(position).null_count:
            raise SchemaError(f"{where}: column {field.name!r} has nulls")
    sentinels = pc.count_substring(batch.column("text"), SENTINEL).cast(pa.int32())
    parts = pc.list_value_length(batch.column("media"))
    if batch.num_rows and not pc.all(pc.equal(sentinels, parts)).as_py():
        row = pc.index(pc.equal(sentinels, parts), False).as_py()
        raise SchemaError(
            f"{where}: row {batch.column('id')[row]} has {sentinels[row]} sentinels for {parts[row]} media parts"
        )
