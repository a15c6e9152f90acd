"""Ledger rows from judged batches."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine import modality
from schemas.ledger import KEPT, REJECTED
from schemas.sample import SENTINEL

#: characters of the text a ledger row shows a person
EXCERPT_CHARS = 200


def kept_rows(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Ledger rows of a kept batch, in the run's ledger schema."""
    nulls = pa.nulls(batch.num_rows, pa.string())
    columns = {"part": pa.nulls(batch.num_rows, pa.int32()), "modality": pa.array(modality(batch), pa.string())}
    columns |= {"verdict": pa.array([KEPT] * batch.num_rows, pa.string()), "step": nulls, "reason": nulls}
    return _assemble(batch, columns | {"detail": nulls, "match_id": nulls}, schema)


def rejected_rows(label: str, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Ledger rows of rejected rows and removed parts (a batch with REJECT columns), in the run's ledger schema."""
    parts = batch.column("reject.part")
    found = modality(batch)
    for row in np.flatnonzero(parts.is_valid().to_numpy(zero_copy_only=False)):
        held = batch.column("media")[row].as_py()
        # a part that a source could not read is not there: the row's own modality has to do
        found[row] = next((part["kind"] for part in held if part["index"] == parts[row].as_py()), found[row])
    columns = {
        "part": parts,
        "modality": pa.array(found, pa.string()),
        "verdict": pa.array([REJECTED] * batch.num_rows, pa.string()),
        "step": pa.array([label] * batch.num_rows, pa.string()),
        "reason": batch.column("reject.reason"),
        "detail": batch.column("reject.detail"),
        "match_id": batch.column("reject.match_id"),
    }
    return _assemble(batch, columns, schema)


def fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Ledger rows of an earlier plan in this one's schema: a reused stage may not know the scores of later steps."""
    arrays = []
    for field in schema:
        at = batch.schema.get_field_index(field.name)
        arrays.append(batch.column(at).cast(field.type) if at >= 0 else pa.nulls(batch.num_rows, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _assemble(batch: pa.RecordBatch, columns: dict[str, pa.Array], schema: pa.Schema) -> pa.RecordBatch:
    text = pc.replace_substring(batch.column("text"), SENTINEL, "")
    columns["id"] = batch.column("id")
    columns["source"] = batch.column("source")
    columns["num_chars"] = pc.utf8_length(text).cast(pa.int64())
    columns["num_media_bytes"] = _media_bytes(batch)
    columns["excerpt"] = pc.utf8_slice_codeunits(text, 0, EXCERPT_CHARS).cast(pa.string())
    columns["media_sha256"] = _media_digests(batch, columns["part"])
    columns["text_sha256"] = _text_digests(text, columns["part"])
    arrays = []
    for field in schema:
        if field.name in columns:
            arrays.append(columns[field.name])
        else:
            at = batch.schema.get_field_index(field.name)
            arrays.append(batch.column(at) if at >= 0 else pa.nulls(batch.num_rows, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _media_bytes(batch: pa.RecordBatch) -> pa.Array:
    media = batch.column("media")
    sizes = pc.binary_length(media.flatten().field("data")).to_numpy(zero_copy_only=False)
    rows = pc.list_parent_indices(media).to_numpy(zero_copy_only=False)
    return pa.array(np.bincount(rows, weights=sizes, minlength=batch.num_rows).astype(np.int64))


def _media_digests(batch: pa.RecordBatch, parts: pa.Array) -> pa.Array:
    """The sha256 of each row's media parts; of a line about one part, that part's only. Null instead of none."""
    media = batch.column("media")
    flat = media.flatten()
    rows = pc.list_parent_indices(media)
    named = pc.fill_null(pc.equal(parts.take(rows), flat.field("index")), True)  # a line about the row names them all
    held = np.bincount(rows.filter(named).to_numpy(zero_copy_only=False), minlength=batch.num_rows)
    borders = pa.array(np.concatenate([[0], np.cumsum(held)]).astype(np.int32))
    return pa.ListArray.from_arrays(borders, flat.field("sha256").filter(named), mask=pa.array(held == 0))


def _text_digests(text: pa.Array, parts: pa.Array) -> pa.Array:
    """The sha256 of each row's text; null of a line about a part, and where there is no text."""
    _, borders, data = text.buffers()
    if not len(text) or data is None:
        return pa.nulls(len(text), pa.binary(32))
    bounds = np.frombuffer(borders, np.int64)[text.offset : text.offset + len(text) + 1].tolist()
    whole = memoryview(data)  # not one copy of a text
    found = [
        hashlib.sha256(whole[start:stop]).digest() if stop > start and is_row else None
        for start, stop, is_row in zip(bounds[:-1], bounds[1:], parts.is_null().to_pylist(), strict=True)
    ]
    return pa.array(found, pa.binary(32))
