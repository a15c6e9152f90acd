"""Arrow IPC: files (cut into record batches) and streams (read whole), as `datasets` and polars write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from pipeline.sources.base import InputFile, Source, Span
from pipeline.sources.batches import Batches
from pipeline.sources.opening import open_input
from pipeline.sources.registry import register
from pipeline.sources.tables import TableParams, TableRows, damage_detail
from transforms.base import Outcome

_FILE_MAGIC = b"ARROW1"


@register("arrow", version=1)
class Arrow(Source[TableParams]):
    """Reads Arrow IPC files and streams; `source` is the file's label, `#`, and `BATCH.ROW`, both from 0.

    Which of the two formats a file has is seen from its first bytes. A record batch that does not decode is one
    rejected row (`corrupt`); in a stream it is the last, since nothing says where the next one starts. Raises
    SluiceError when planning a file that has neither text nor media column.
    """

    Params = TableParams
    suffixes = (".arrow", ".feather", ".ipc", ".arrows")
    reasons = TableRows.reasons

    def plan(self, file: InputFile, target_bytes: int) -> list[Span]:
        with _opened(file) as reader:
            if isinstance(reader, str):
                return [Span(file)]  # `read` reports it
            TableRows(self.params, reader.schema, file.path)
            if not isinstance(reader, pa.RecordBatchFileReader):
                return [Span(file)]
            # The footer does not say how large its batches are; writers make them about equal.
            total = reader.num_record_batches
            num_spans = max(1, min(total, round(file.size / target_bytes)))
            cuts = [total * k // num_spans for k in range(num_spans)]
            return [Span(file, start, stop) for start, stop in zip(cuts, [*cuts[1:], None], strict=True)]

    def read(self, span: Span, batch_rows: int, batch_bytes: int) -> Iterator[Outcome]:
        rows = Batches(batch_rows, batch_bytes)
        label = span.file.label
        with _opened(span.file) as reader:
            if isinstance(reader, str):
                rows.reject(f"{label}#0.0", "corrupt", reader)
                yield rows.take()
                return
            maker = TableRows(self.params, reader.schema, span.file.path)
            for number, batch in _batches(reader, span):
                if isinstance(batch, str):
                    rows.reject(f"{label}#{number}.0", "corrupt", f"record batch {number}: {batch}")
                else:
                    prefix = f"{label}#{number}."
                    yield from maker.add(batch, lambda k, prefix=prefix: prefix + str(k), rows)  # type: ignore[misc]
        if len(rows):
            yield rows.take()


@contextmanager
def _opened(file: InputFile) -> Iterator[Any]:
    """A reader of the file, or what is wrong with its bytes."""
    with open_input(file) as handle:
        try:
            magic = handle.read(len(_FILE_MAGIC))
            handle.seek(0)
            source = pa.PythonFile(handle, "r")
            reader = pa.ipc.open_file(source) if magic == _FILE_MAGIC else pa.ipc.open_stream(source)
        except (pa.ArrowException, OSError) as error:
            reader = damage_detail(error, file.path)
        yield reader


def _batches(reader: Any, span: Span) -> Iterator[tuple[int, pa.RecordBatch | str]]:
    """The span's record batches with their numbers, or what is wrong with one."""
    is_file = isinstance(reader, pa.RecordBatchFileReader)
    stop = span.stop
    if stop is None and is_file:
        stop = reader.num_record_batches
    number = span.start
    while stop is None or number < stop:
        try:
            batch = reader.get_batch(number) if is_file else reader.read_next_batch()
            yield number, _checked(batch)
        except StopIteration:
            return
        except (pa.ArrowException, OSError) as error:
            yield number, damage_detail(error, span.file.path)
            if not is_file:
                return
        number += 1


def _checked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, once its offsets are known to lie inside its buffers; raises ArrowInvalid else.

    A reader takes them as the file has them, and using a wrong one reads foreign memory. Strings are checked as bytes:
    one that is not UTF-8 costs its own row only, later.
    """
    for column in batch.columns:
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            column.view(_as_bytes(column.type)).validate(full=True)
    return batch


def _as_bytes(dtype: pa.DataType) -> pa.DataType:
    if pa.types.is_string(dtype):
        return pa.binary()
    if pa.types.is_large_string(dtype):
        return pa.large_binary()
    if pa.types.is_struct(dtype):
        return pa.struct([field.with_type(_as_bytes(field.type)) for field in dtype])
    if pa.types.is_list(dtype):
        return pa.list_(dtype.value_field.with_type(_as_bytes(dtype.value_type)))
    if pa.types.is_large_list(dtype):
        return pa.large_list(dtype.value_field.with_type(_as_bytes(dtype.value_type)))
    return dtype
