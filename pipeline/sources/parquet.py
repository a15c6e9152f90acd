"""Parquet files, cut into row groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.sources.base import InputFile, Source, Span
from pipeline.sources.batches import Batches
from pipeline.sources.opening import open_input
from pipeline.sources.registry import register
from pipeline.sources.tables import TableParams, TableRows, damage_detail, step_rows
from transforms.base import Outcome


@register("parquet", version=1)
class Parquet(Source[TableParams]):
    """Reads Parquet; a span is a range of row groups, `source` the file's label, `#`, and the row's number from 0.

    Columns that are not mapped go into `meta`: times and decimals as text, bytes as base64. A row group that does not
    decode is one rejected row (`corrupt`, its detail says which rows are lost), and the next is read; so is a file
    without a readable footer. Raises SluiceError when planning a file that has neither text nor media column.
    """

    Params = TableParams
    suffixes = (".parquet", ".pq")
    reasons = TableRows.reasons

    def plan(self, file: InputFile, target_bytes: int) -> list[Span]:
        with open_input(file) as handle:
            try:
                table = _open(handle)
            except (pa.ArrowException, OSError) as error:
                damage_detail(error, file.path)
                return [Span(file)]  # `read` reports it
            TableRows(self.params, table.schema_arrow, file.path)
            spans, start, num_bytes = [], 0, 0
            for group in range(table.metadata.num_row_groups):
                num_bytes += _compressed_bytes(table.metadata.row_group(group))
                if num_bytes >= target_bytes:
                    spans.append(Span(file, start, group + 1))
                    start, num_bytes = group + 1, 0
            if start < table.metadata.num_row_groups or not spans:
                spans.append(Span(file, start, None))
            return spans

    def read(self, span: Span, batch_rows: int, batch_bytes: int) -> Iterator[Outcome]:
        rows = Batches(batch_rows, batch_bytes)
        label = span.file.label
        with open_input(span.file) as handle:
            try:
                table = _open(handle)
            except (pa.ArrowException, OSError) as error:
                rows.reject(f"{label}#0", "corrupt", damage_detail(error, span.file.path))
                yield rows.take()
                return
            maker = TableRows(self.params, table.schema_arrow, span.file.path)
            sizes = [table.metadata.row_group(group).num_rows for group in range(table.metadata.num_row_groups)]
            for group in range(span.start, len(sizes) if span.stop is None else span.stop):
                row = sum(sizes[:group])
                end = row + sizes[group]
                batches = _batches(table, group)
                while row < end:
                    try:
                        batch = next(batches)
                    except (pa.ArrowException, OSError, StopIteration) as error:
                        detail = damage_detail(error, span.file.path) or "it ends early"
                        rows.reject(f"{label}#{row}", "corrupt", f"rows {row} to {end - 1} are lost: {detail}")
                        break
                    yield from maker.add(batch, lambda k, first=row: f"{label}#{first + k}", rows)  # type: ignore[misc]
                    row += batch.num_rows
        if len(rows):
            yield rows.take()


def _open(handle: Any) -> pq.ParquetFile:
    # not pre-buffered: a row group is read page by page, not held whole
    return pq.ParquetFile(handle, pre_buffer=False, buffer_size=2**20, page_checksum_verification=True)


def _batches(table: pq.ParquetFile, group: int) -> Iterator[pa.RecordBatch]:
    metadata = table.metadata.row_group(group)
    step = step_rows(metadata.total_byte_size, metadata.num_rows)
    return table.iter_batches(batch_size=step, row_groups=[group], use_threads=False)


def _compressed_bytes(group: Any) -> int:
    return sum(group.column(k).total_compressed_size for k in range(group.num_columns))
