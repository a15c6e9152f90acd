"""Lines and paragraphs that a document repeats."""

from __future__ import annotations

import pyarrow as pa
from pydantic import Field

from transforms.base import Map, Params, append_columns, append_fields
from transforms.registry import register
from transforms.text.segments import Unit, is_repeat, per_row, segments, without

REMOVED = pa.field("text.line_dedup.removed", pa.int32())


class LineDedupParams(Params):
    """Parameters of text.line_dedup."""

    unit: Unit = "line"
    #: shorter repeats stay: table cells, refrains and closing brackets repeat rightly; letters of unspaced scripts
    #: count as words (transforms.text.words)
    min_words: int = Field(default=4, ge=1)
    min_chars: int = Field(default=1, ge=1)
    #: every number counts as 0: "Page 3 of 7" repeats "Page 2 of 7"
    ignore_numbers: bool = False


@register("text.line_dedup", version=1)
class LineDedup(Map[LineDedupParams]):
    """Removes lines, or paragraphs, that came earlier in the same document; the first one stays.

    They are compared in the normal form of transforms.text.segments (case and white space are no differences). A line
    that holds a media part stays. `text.line_dedup.removed` says how many a row lost.
    """

    Params = LineDedupParams
    edits_text = True

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, [REMOVED])

    def map(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        params = self.params
        at = batch.schema.get_field_index("text")
        text = batch.column(at)
        found = segments(text, params.unit, one_number=params.ignore_numbers)
        gone = is_repeat(found) & ~found.media
        gone &= (found.words >= params.min_words) & (found.chars >= params.min_chars)
        left = without(text, found.row[gone], found.spans[gone])
        counts = pa.array(per_row(batch.num_rows, found.row[gone]), pa.int32())
        return append_columns(batch.set_column(at, batch.schema.field(at), left), [(REMOVED, counts)])
