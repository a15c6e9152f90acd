"""The ledger: one Parquet row for every input row and every removed media part, kept or not.

After the fixed columns come the scalar columns the steps computed (`text.lang_score`,
`signal.gopher.word_count.paper`, …), null where a row was rejected before they were known.

Version 2 has `url`, `media_sha256` and `text_sha256`; a ledger of version 1 is read as one that does not know them.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as pt

from schemas.reject import REJECT_COLUMNS
from schemas.sample import SAMPLE_COLUMNS

LEDGER_VERSION = 2

LEDGER_FIELDS = (
    pa.field("id", pa.string(), nullable=False),
    pa.field("source", pa.string(), nullable=False),
    pa.field("part", pa.int32()),  # media.index of a removed part; null for the row itself
    pa.field("modality", pa.string(), nullable=False),  # of the row: text | image | audio | mixed; of a part: its kind
    pa.field("verdict", pa.string(), nullable=False),  # kept | rejected
    pa.field("step", pa.string()),  # "3:text.gopher_quality" or "input:jsonl"; null when kept
    pa.field("reason", pa.string()),
    pa.field("detail", pa.string()),
    pa.field("match_id", pa.string()),
    pa.field("num_chars", pa.int64()),  # of the text at the decision
    pa.field("num_media_bytes", pa.int64()),
    pa.field("excerpt", pa.string()),  # the first characters of the text at the decision, for a person
    pa.field("url", pa.string()),  # as the source gave it
    # of the media parts the row had at the decision, in order; of a removed part, its own; null when there are none
    pa.field("media_sha256", pa.list_(pa.binary(32))),
    pa.field("text_sha256", pa.binary(32)),  # of the UTF-8 text at the decision, media marks left out; null of a part
)
LEDGER_COLUMNS = frozenset(field.name for field in LEDGER_FIELDS)

KEPT = "kept"
REJECTED = "rejected"


def score_fields(schema: pa.Schema) -> list[pa.Field]:
    """The columns of a batch that go into the ledger: scalars (no lists, no bytes) that a step computed."""
    return [
        pa.field(field.name, field.type)
        for field in schema
        if field.name not in SAMPLE_COLUMNS
        and field.name not in REJECT_COLUMNS
        and not (pt.is_nested(field.type) or pt.is_binary(field.type) or pt.is_large_binary(field.type))
    ]


def ledger_schema(scores: list[pa.Field]) -> pa.Schema:
    """The full ledger schema for a run whose steps compute `scores`."""
    metadata = {b"sluice.schema": b"ledger", b"sluice.version": str(LEDGER_VERSION).encode()}
    return pa.schema([*LEDGER_FIELDS, *scores], metadata=metadata)
