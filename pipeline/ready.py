"""Imported, it makes the text transforms ready: a fork server does, once for all the workers it forks.

Tables of code points take a second to make, compiled kernels another to load, or a minute to compile when that was
never done; workers that are forked afterwards have them. Who comes without makes what it needs on first use.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from schemas.errors import SluiceError
from schemas.sample import sample_batch
from transforms.base import append_columns
from transforms.dedup.base import Dedup
from transforms.dedup.spans import SpanDedup
from transforms.registry import build, catalog
from transforms.signals import compute_signals


def _make_ready() -> None:
    # a line that is cut as a repeat, and a language, as steps after text.language find it
    batch = sample_batch([{"id": "ready", "source": "ready#0", "text": "A page of text.\nA page of text."}])
    batch = append_columns(batch, [(pa.field("text.lang", pa.string()), ["en"])])
    for name in catalog():
        if not name.startswith("text."):
            continue
        try:
            made = build(name, {})
            made.setup()
            if isinstance(made, Dedup):
                made.keys(batch)
                if not made.proof:
                    evidence = made.evidence(batch, np.full(1, -1, np.int32))
                    made.similarity(evidence, *np.zeros((2, 1), np.int64))
            elif isinstance(made, SpanDedup):
                made.span_keys(batch)
            else:
                made.output_schema(batch.schema)
                made.apply(compute_signals(batch, made.signals()))
        except SluiceError:  # it must be told something first, or wants another step's column or a library
            continue


_make_ready()
