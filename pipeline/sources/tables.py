"""Rows from Arrow record batches, whichever file format they came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.types as pt
from pydantic import Field

from pipeline.sources.base import SourceParams
from pipeline.sources.batches import Batches
from pipeline.sources.columns import Columns, RowMaker
from pipeline.sources.opening import unreadable
from schemas.errors import SluiceError
from transforms.base import Outcome
from transforms.registry import nearest

#: Rows are turned into Python objects in steps of about this many bytes.
STEP_BYTES = 4 * 2**20
MAX_STEP_ROWS = 1024


class TableColumns(Columns):
    """As Columns; `image` and `audio` are taken by themselves when columns of these names hold bytes."""

    image: str | None = "image"
    audio: str | None = "audio"


class TableParams(SourceParams):
    """Parameters of sources of tables."""

    columns: TableColumns = Field(default_factory=TableColumns)


class TableRows:
    """Turns record batches of one schema into rows; raises SluiceError when the schema lacks the text and media."""

    reasons = RowMaker.reasons | {"invalid_utf8", "corrupt"}

    def __init__(self, params: TableParams, schema: pa.Schema, path: str) -> None:
        columns = _taken(params.columns, schema)
        _check(columns, schema, path)
        as_text = {columns.text, columns.id, columns.url}
        self.types = [pa.string() if f.name in as_text and _is_bytes(f.type) else _plain(f.type) for f in schema]
        self.maker = RowMaker(columns, params.max_row_bytes)

    def add(self, batch: pa.RecordBatch, source_of: Callable[[int], str], rows: Batches) -> Iterator[Outcome]:
        """Adds every row, yielding Outcomes as they fill; `source_of(k)` is the source of the batch's row k."""
        step = step_rows(batch.nbytes, batch.num_rows)
        for start in range(0, batch.num_rows, step):
            part = batch.slice(start, step)
            columns = [_convert(column, to) for column, to in zip(part.columns, self.types, strict=True)]
            part = pa.RecordBatch.from_arrays(columns, names=part.schema.names)
            for row, record in enumerate(_records(part), start):
                if record is None:
                    # which column is at fault is known only by trying them
                    detail = f"column {_undecodable(part.slice(row - start, 1))!r}"
                    rows.reject(source_of(row), "invalid_utf8", detail)
                else:
                    self.maker.add(record, source_of(row), rows)
                if rows.full:
                    yield rows.take()


def step_rows(num_bytes: int, num_rows: int) -> int:
    """How many rows of a table to hold at once. Depends on the file alone, never on batch settings."""
    return max(1, min(MAX_STEP_ROWS, STEP_BYTES * num_rows // max(1, num_bytes)))


def damage_detail(error: BaseException, path: str) -> str:
    """What an Arrow reader's error says about the bytes; raises SluiceError when it was about access to the file."""
    if isinstance(error, OSError) and error.errno is not None:
        raise unreadable(path, error) from error
    return " ".join(str(error).split())[:300]


def _records(batch: pa.RecordBatch) -> Iterator[dict | None]:
    """The rows as dictionaries; None for one with a string that is not UTF-8."""
    try:
        yield from batch.to_pylist()
        return
    except UnicodeDecodeError:
        pass  # to_pylist gives all or nothing, so no row has been yielded yet
    for row in range(batch.num_rows):
        try:
            yield batch.slice(row, 1).to_pylist()[0]
        except UnicodeDecodeError:
            yield None


def _undecodable(row: pa.RecordBatch) -> str:
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            column.to_pylist()
        except UnicodeDecodeError:
            return name
    raise AssertionError("a row failed to decode, but none of its columns does")


def _taken(columns: TableColumns, schema: pa.Schema) -> TableColumns:
    """The mapping without `image` and `audio` where they are only defaults and no bytes stand there."""
    absent = {
        kind: None
        for kind in ("image", "audio")
        if kind not in columns.model_fields_set and not (kind in schema.names and _holds_bytes(schema.field(kind).type))
    }
    return columns.model_copy(update=absent)


def _check(columns: TableColumns, schema: pa.Schema, path: str) -> None:
    if columns.text is None:
        return
    wanted = [name for name in (columns.text, columns.image, columns.audio) if name is not None]
    if not any(name in schema.names or name.split(".")[0] in schema.names for name in wanted):
        raise SluiceError(
            f"{path} has no column {columns.text!r}; {nearest(columns.text, schema.names)}; say which column holds the"
            " text with columns: {text: NAME}"
        )


def _holds_bytes(dtype: pa.DataType) -> bool:
    if pt.is_list(dtype) or pt.is_large_list(dtype):
        return _holds_bytes(dtype.value_type)
    if pt.is_struct(dtype):
        return dtype.get_field_index("bytes") >= 0 and _is_bytes(dtype.field("bytes").type)
    return _is_bytes(dtype)


def _is_bytes(dtype: pa.DataType) -> bool:
    return pt.is_binary(dtype) or pt.is_large_binary(dtype) or pt.is_fixed_size_binary(dtype)


def _plain(dtype: pa.DataType) -> pa.DataType:
    """The type to read a column as, so that its values have a JSON form: times and decimals as text."""
    if isinstance(dtype, pa.BaseExtensionType):
        return _plain(dtype.storage_type)
    if pt.is_duration(dtype):
        return pa.int64()
    if pt.is_temporal(dtype) or pt.is_decimal(dtype):
        return pa.string()
    if pt.is_float16(dtype):
        return pa.float32()
    if pt.is_dictionary(dtype):
        return _plain(dtype.value_type)
    if pt.is_struct(dtype):
        return pa.struct([field.with_type(_plain(field.type)) for field in dtype])
    if pt.is_map(dtype):
        return pa.map_(_plain(dtype.key_type), _plain(dtype.item_type))
    if pt.is_fixed_size_list(dtype):
        return pa.list_(_plain(dtype.value_type), dtype.list_size)
    if pt.is_list(dtype):
        return pa.list_(_plain(dtype.value_type))
    if pt.is_large_list(dtype):
        return pa.large_list(_plain(dtype.value_type))
    return dtype


def _convert(column: pa.Array, dtype: pa.DataType) -> pa.Array:
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    if column.type.equals(dtype):
        return column
    if _is_bytes(column.type) and pt.is_string(dtype):
        # checked when the rows are made, one by one; a cast would fail for all of them
        return column.cast(pa.binary()).view(dtype)
    try:
        return column.cast(dtype)
    except pa.ArrowNotImplementedError:
        return column
