"""What was planted where: one `Truth` a record, written to truth.jsonl beside the corpus."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Expected = Literal["kept", "rejected", "either"]


@dataclass(frozen=True, slots=True)
class Truth:
    """The truth about one record.

    id: as the ledger knows it: the record's own, or dataset/file#row where it has none. file: relative to the folder.
    row: lines (text) or samples (tar) before it in its file. kind: what it is (`clean`, `exact_duplicate`,
    `broken:bad_json`, ...). of: id of the record it copies. lang: ISO 639-1, of captions and transcripts too.
    expected: what recipes/demo.yaml should make of it. reason: what kind of step should reject it (`language`,
    `quality`, `duplicate`, `decode`, `size`, ...). note: details for a person. jaccard: of the word 5-grams of a copy
    and its original.
    """

    id: str
    file: str
    row: int
    modality: Literal["text", "image", "audio"]
    kind: str
    expected: Expected
    lang: str | None = None
    reason: str | None = None
    of: str | None = None
    jaccard: float | None = None
    note: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Without the fields that are empty."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def write_truth(path: Path, records: Iterable[Truth]) -> dict[str, int]:
    """Writes one JSON line a record; returns how many there are of each modality and kind ("text/clean")."""
    counts: Counter[str] = Counter()
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        for record in records:
            counts[f"{record.modality}/{record.kind}"] += 1
            handle.write(json.dumps(record.as_json(), ensure_ascii=False) + "\n")
    return dict(sorted(counts.items()))
