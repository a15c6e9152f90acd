"""The run's intermediate files, under `.work` in the output folder. Everything is named by what it was made from, so
a rerun finds what is already there, and a changed recipe or input does not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.storage import map_arrow, write_arrow
from transforms.dedup.spans import SPANS

WORK = ".work"

#: what a global step takes from a unit's kept rows: `row` in the unit's kept file, `part` (media.index) or -1 for the
#: whole row, and the kept row it duplicates; or, without a reason, `spans` of the row's text
DROPS = pa.schema(
    [
        pa.field("row", pa.uint32(), nullable=False),
        pa.field("part", pa.int32(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("match_id", pa.string()),
        pa.field("spans", SPANS.type),
    ]
)


@dataclass(frozen=True, slots=True)
class UnitFiles:
    """Files of one unit after one stage: kept rows, ledger rows of the rejected, keys of the global steps."""

    folder: Path

    @property
    def kept(self) -> Path:
        return self.folder / "kept.arrow"

    @property
    def ledger(self) -> Path:
        return self.folder / "rejected.arrow"

    @property
    def marker(self) -> Path:
        """Written last: the stage's counts. No marker, no stage."""
        return self.folder / "unit.json"

    def keys(self, label: str) -> Path:
        """Keys of the global step `label`."""
        return self.folder / f"keys.{label.replace(':', '_')}.arrow"

    def counts(self) -> dict[str, Any] | None:
        """What the marker says, or None while the stage is not finished."""
        try:
            found: dict[str, Any] = json.loads(self.marker.read_bytes())
        except FileNotFoundError:
            return None
        return found


def unit_files(work: Path, stage: int, fingerprint: str) -> UnitFiles:
    """Where a unit's stage goes."""
    return UnitFiles(work / f"stage{stage}" / fingerprint)


def read_drops(path: str | None) -> pa.Table:
    """A unit's drops; none when there was no global step."""
    if path is None:
        return DROPS.empty_table()
    return pa.Table.from_batches(map_arrow(path), schema=DROPS)


def carry_drops(before: str | None, after: str) -> None:
    """Commits a unit's drops unchanged: what a global step that found nothing leaves."""
    write_arrow(after, DROPS, iter(read_drops(before).to_batches()))
