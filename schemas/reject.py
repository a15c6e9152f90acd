"""Rejected rows: the row's columns as far as they were computed, plus why it was rejected."""

from __future__ import annotations

import pyarrow as pa

#: Appended to a batch's columns in `Outcome.rejected`. `reject.part` names a media part (`media.index`) that was
#: removed while its document lives on; null means the whole row was rejected. `reject.detail` is free text for a
#: person. `reject.match_id` names the other row in a decision about two rows (dedup anchor, benchmark item).
REJECT_FIELDS = (
    pa.field("reject.part", pa.int32()),
    pa.field("reject.reason", pa.string(), nullable=False),
    pa.field("reject.detail", pa.string()),
    pa.field("reject.match_id", pa.string()),
)
REJECT_COLUMNS = tuple(field.name for field in REJECT_FIELDS)


def rejected_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of rejected rows for a step whose kept rows have `schema`."""
    for field in REJECT_FIELDS:
        schema = schema.append(field)
    return schema
