"""The files of an index, looked at before anything is done with them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from pipeline.storage import map_arrow
from schemas.errors import SchemaError
from schemas.index import INDEX_ENTRIES, INDEX_KEYS, Index


def check_files(folder: Path, index: Index) -> None:
    """Raises SchemaError when a file that the index lists is missing, torn, or not what `index.json` says."""
    for files in index.files:
        _check(folder / files.keys, INDEX_KEYS, files.num_keys)
        _check(folder / files.entries, INDEX_ENTRIES, files.num_entries)


def _check(path: Path, schema: pa.Schema, num_rows: int) -> None:
    what = "the index is incomplete; restore it, or start another"
    try:
        batches = map_arrow(path)
    except FileNotFoundError:
        raise SchemaError(f"{path} is missing: {what}") from None
    except (OSError, pa.ArrowException) as error:
        raise SchemaError(f"{path} cannot be read as Arrow ({error}): {what}") from error
    found = sum(batch.num_rows for batch in batches)
    if found != num_rows or any(batch.schema != schema for batch in batches):
        raise SchemaError(f"{path} holds {found} rows, not the {num_rows} that index.json lists, or others: {what}")
