"""The shape of a global step that removes spans of text: lines, paragraphs, or any other pieces that recur.

Like a `Dedup`, it signs rows locally and the pipeline brings equal keys together; unlike one, it goes on as a local
step: at the head of the next stage `apply` cuts what was found out of the text and judges what is left.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.base import Outcome, P, Transform, Verdicts, append_columns, append_fields, partition
from transforms.dedup.base import GlobalStep
from transforms.text.segments import edited, per_row, without

#: on its way from the pipeline to `apply` only: the spans of each row's text that go, null where none does
SPANS = pa.field(
    "dedup.spans",
    pa.list_(
        pa.struct([pa.field("start", pa.uint32(), nullable=False), pa.field("stop", pa.uint32(), nullable=False)])
    ),
)

_BLANKS = b" \t"


@dataclass(frozen=True, slots=True)
class SpanKeys:
    """Keys of a batch; parallel arrays, one entry a span, rows and each row's spans in ascending order.

    row: uint32 [n], batch row · start, stop: uint32 [n], bytes of the row's text; spans may overlap ·
    key: uint64 [n, 2], 128 bits. Equal keys mean: the same text.
    """

    row: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    key: np.ndarray


class SpanDedup(GlobalStep, Transform[P]):
    """Base of the global steps that remove spans. Rows are other rows afterwards, so it ends its stage."""

    edits_text = True
    #: a key that comes twice in a row counts twice for `max_rows`
    by_occurrence: ClassVar[bool] = False

    @property
    @abstractmethod
    def max_rows(self) -> int | None:
        """A key that is in more rows loses all of its spans; None: all but the first in canonical order."""

    @property
    def proof(self) -> bool:
        """Whether the spans that go are those of equal keys; otherwise keys that come again only propose where to look
        for them, and `proven` gives theirs."""
        return True

    @abstractmethod
    def span_keys(self, batch: pa.RecordBatch) -> SpanKeys:
        """The batch's spans; text without any is never removed."""

    def proven(self, batch: pa.RecordBatch, shared: np.ndarray) -> SpanKeys:
        """Keys of the spans that may recur, given the keys of `span_keys` that come again, uint64 [n, 2]."""
        raise TypeError(f"{self.name}: equal keys are proof")

    @abstractmethod
    def judge(self, batch: pa.RecordBatch, num_spans: np.ndarray) -> Verdicts:
        """One verdict a row as it is without its spans, of which there were `num_spans`, int64 [rows]."""

    def removed_field(self) -> pa.Field:
        """The column that says how many spans each row lost."""
        return pa.field(f"{self.name}.removed", pa.int32())

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        at = schema.get_field_index(SPANS.name)
        return append_fields(schema if at < 0 else schema.remove(at), [self.removed_field()])

    def edit(
        self, batch: pa.RecordBatch, row: np.ndarray, spans: np.ndarray
    ) -> tuple[pa.RecordBatch, pa.Array, np.ndarray]:
        """(the batch with columns of the step's own, the texts without the spans, how many each row lost int64 [rows]).
        Each span's row, int64 [n], and spans, int64 [n, 2], ascend."""
        return batch, without(batch.column("text"), row, spans), per_row(batch.num_rows, row)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        batch, text, counts = self.edit(*_found(batch))
        counted = append_columns(batch, [(self.removed_field(), pa.array(self._so_far(batch) + counts, pa.int32()))])
        verdicts = self.judge(edited(counted, text), counts)
        return partition(edited(counted, text, verdicts.arrays()[0]), verdicts)

    def _so_far(self, batch: pa.RecordBatch) -> np.ndarray:
        """What the same step, earlier in the recipe, has removed from each row, int64 [rows]."""
        at = batch.schema.get_field_index(self.removed_field().name)
        if at < 0:
            return np.zeros(batch.num_rows, np.int64)
        return batch.column(at).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)


def _found(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray, np.ndarray]:
    """(the batch without SPANS, the row int64 [n] and bytes int64 [n, 2] of each)."""
    at = batch.schema.get_field_index(SPANS.name)
    if at < 0:
        return batch, np.empty(0, np.int64), np.empty((0, 2), np.int64)
    found = batch.column(at)
    counts = pc.fill_null(pc.list_value_length(found), 0).to_numpy().astype(np.int64)
    flat = found.flatten()
    spans = np.stack([flat.field(side).to_numpy().astype(np.int64) for side in ("start", "stop")], axis=1)
    return batch.remove_column(at), np.repeat(np.arange(batch.num_rows), counts), spans


def with_blanks(text: pa.Array, row: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Spans of tokens, int64 [n, 2], with the blanks that would be left over where they go: those after one that has
    white space before it, or those before it where a line ends after; a line that is all span goes with its end."""
    wider = np.array(spans, np.int64)
    last = -1
    data = b""
    for k, (of, (start, stop)) in enumerate(zip(row.tolist(), spans.tolist(), strict=True)):
        if of != last:
            last, data = of, text[of].as_py().encode("utf-8", "surrogatepass")
        if start == 0 or data[start - 1] in b" \t\n":
            while stop < len(data) and data[stop] in _BLANKS:
                stop += 1
            if stop == len(data) or data[stop] == 0x0A:
                while start and data[start - 1] in _BLANKS:
                    start -= 1
                if stop < len(data) and (start == 0 or data[start - 1] == 0x0A):
                    stop += 1
        wider[k] = start, stop
    return wider
