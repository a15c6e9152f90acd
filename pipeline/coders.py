"""The coder of record batches: Arrow IPC. Without it Beam pickles them, and a pickled slice carries its parent."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from apache_beam.coders import Coder
from apache_beam.coders.typecoders import registry
from apache_beam.typehints import typehints


class RecordBatchCoder(Coder):
    """One record batch as an Arrow IPC stream of its own rows only."""

    def encode(self, value: pa.RecordBatch) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_batch(value)
        return sink.getvalue().to_pybytes()

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        with pa.ipc.open_stream(pa.py_buffer(encoded)) as reader:
            return reader.read_next_batch()

    def estimate_size(self, value: pa.RecordBatch) -> int:
        return int(value.get_total_buffer_size())  # Beam samples sizes; encoding again to count would double the work

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> Any:
        return pa.RecordBatch


def register_coders() -> None:
    """Makes Beam use the coder wherever a transform declares pa.RecordBatch as its output type."""
    registry.register_coder(pa.RecordBatch, RecordBatchCoder)


register_coders()

#: a batch under a number: what global steps group by
KEYED_BATCH = typehints.Tuple[int, pa.RecordBatch]
