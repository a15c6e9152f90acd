"""Languages that the model could hardly tell apart: rows whose runner-up came close."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.report.tally import LANGUAGE
from schemas.ledger import KEPT

#: how much more probable than the runner-up a language may be to be in doubt
CLOSE_MARGIN = 0.2
_COLUMNS = (LANGUAGE, f"{LANGUAGE}_score", f"{LANGUAGE}_2", f"{LANGUAGE}_2_score")
_MAX_PAIRS = 30


class CloseCalls:
    """Counts of rows by (language, runner-up, whether it was kept)."""

    def __init__(self) -> None:
        self._rows: Counter[tuple[str, str, bool]] = Counter()

    def add(self, batch: pa.RecordBatch) -> None:
        """Counts a ledger batch's rows (never parts); one without the runner-up's columns has none to count."""
        if not set(_COLUMNS) <= set(batch.schema.names):
            return
        rows = batch.filter(pc.is_null(batch.column("part")))
        margin = pc.subtract(rows.column(_COLUMNS[1]), rows.column(_COLUMNS[3]))
        close = rows.filter(pc.fill_null(pc.less(margin, CLOSE_MARGIN), False))
        kept = np.asarray(pc.equal(close.column("verdict"), KEPT))
        pairs = (close.column(name).to_pylist() for name in (_COLUMNS[0], _COLUMNS[2]))
        self._rows.update(zip(*pairs, kept.tolist(), strict=True))

    def table(self) -> list[dict[str, Any]]:
        """The pairs with the most rows, at most 30."""
        pairs: Counter[tuple[str, str]] = Counter()
        for (language, other, _), rows in self._rows.items():
            pairs[language, other] += rows
        most = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:_MAX_PAIRS]
        return [
            {"language": pair[0], "runner_up": pair[1], "rows": rows, "kept": self._rows[(*pair, True)]}
            for pair, rows in most
        ]
