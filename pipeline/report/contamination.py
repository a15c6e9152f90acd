"""How much of each benchmark stands in the rows: counted from the columns that text.decontaminate adds."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pyarrow as pa

from schemas.ledger import KEPT

BENCHMARK, ITEM, NUM_NGRAMS = (f"decontamination.{name}" for name in ("benchmark", "item", "num_ngrams"))


class Contamination:
    """Counts of contaminated rows by benchmark; its state is one entry a benchmark item that was found."""

    def __init__(self) -> None:
        self._judged = 0
        self._rows: dict[str, int] = defaultdict(int)
        self._kept: dict[str, int] = defaultdict(int)
        self._items: dict[str, set[str]] = defaultdict(set)

    def add(self, rows: pa.RecordBatch) -> None:
        """Counts a ledger batch of whole rows; one of a run without the step counts nothing."""
        if NUM_NGRAMS not in rows.schema.names:
            return
        self._judged += rows.num_rows - rows.column(NUM_NGRAMS).null_count
        found = rows.select(["verdict", BENCHMARK, ITEM]).filter(rows.column(BENCHMARK).is_valid())
        grouped = (
            pa.table(found).group_by([BENCHMARK, ITEM, "verdict"], use_threads=False).aggregate([([], "count_all")])
        )
        for line in grouped.to_pylist():
            name, count = line[BENCHMARK], line["count_all"]
            self._rows[name] += count
            self._kept[name] += count if line["verdict"] == KEPT else 0
            self._items[name].add(line[ITEM])

    def entries(self) -> list[dict[str, Any]]:
        """One entry a benchmark that was found, most rows first. `share` is of the rows that were looked at;
        `items_found`, different items of the benchmark; `rows_kept`, contaminated rows in the dataset."""
        names = sorted(self._rows, key=lambda name: (-self._rows[name], name))
        return [
            {
                "benchmark": name,
                "rows": self._rows[name],
                "rows_judged": self._judged,
                "share": self._rows[name] / self._judged,
                "rows_kept": self._kept[name],
                "items_found": len(self._items[name]),
            }
            for name in names
        ]
