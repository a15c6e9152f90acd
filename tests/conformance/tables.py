"""Reading tests/cases/*.yaml: for every transform, rows and what becomes of them.

    transform: image.size
    after: [image.decode]          # steps to run first, for the whole table or one case; {use: NAME, with: {…}} too
    cases:
      - name: one pixel
        params: {min_side_px: 10}  # optional
        row: {media: [{fixture: png_1x1}]}
        expect: too_small          # kept, or the reason

`row` holds SAMPLE's columns as far as they matter, and any others the transform reads; without `text`, media stand
alone in the row. `rows` with a list in `expect` gives several. `columns` are values wanted in the kept row; `survives`
says whether a row that lost a part, or would have, is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from schemas.sample import SENTINEL
from tests.conformance.batches import numbered, with_columns
from tests.fixtures import media_fixture
from transforms.media import media_part
from transforms.registry import build

CASES = Path(__file__).parents[1] / "cases"
_CASE_KEYS = {"name", "params", "row", "rows", "expect", "columns", "after", "survives"}


@dataclass(frozen=True)
class Case:
    """One entry of a table."""

    transform: str
    name: str
    params: dict[str, Any]
    after: list[Any]
    rows: list[dict[str, Any]]
    expect: list[Any]  # one a row: "kept", a reason, or a list of reasons
    columns: dict[str, Any]
    survives: bool | None

    def batch(self) -> pa.RecordBatch:
        """The case's rows, as `after` would read them."""
        rows = [_sample_row(row) for row in self.rows]
        return with_columns(numbered([_only_sample(row) for row in rows]), rows)

    def prerequisites(self) -> list[Any]:
        """The steps of `after`, ready to run."""
        steps = []
        for step in self.after:
            use, params = (step, {}) if isinstance(step, str) else (step["use"], step.get("with", {}))
            steps.append(build(use, params))
            steps[-1].setup()
        return steps


def table_names() -> list[str]:
    """The transforms that have a table."""
    return sorted(path.stem for path in CASES.glob("*.yaml"))


def load_table(name: str) -> list[Case]:
    """The cases of one transform; a table that is not of the form above is an AssertionError that says so."""
    table = yaml.safe_load((CASES / f"{name}.yaml").read_text(encoding="utf-8"))
    assert table["transform"] == name, f"{name}.yaml is about {table['transform']}"
    assert set(table) <= {"transform", "after", "cases"}, f"{name}.yaml: unknown keys in {sorted(table)}"
    cases = [_case(name, table.get("after", []), entry) for entry in table["cases"]]
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), f"{name}.yaml: case names repeat"
    return cases


def _case(transform: str, after: list[Any], entry: dict[str, Any]) -> Case:
    where = f"{transform}.yaml, case {entry.get('name')!r}"
    assert set(entry) <= _CASE_KEYS, f"{where}: unknown keys {sorted(set(entry) - _CASE_KEYS)}"
    assert ("row" in entry) != ("rows" in entry), f"{where}: give either row or rows"
    rows = entry.get("rows") or [entry["row"]]
    expect = entry["expect"] if "rows" in entry and isinstance(entry["expect"], list) else [entry["expect"]] * len(rows)
    assert len(expect) == len(rows), f"{where}: {len(expect)} expectations for {len(rows)} rows"
    return Case(
        transform,
        str(entry["name"]),
        entry.get("params", {}),
        entry.get("after", after),
        rows,
        expect,
        entry.get("columns", {}),
        entry.get("survives"),
    )


def _sample_row(row: dict[str, Any]) -> dict[str, Any]:
    media = [
        media_part(at, media_fixture(part["fixture"]), part.get("kind")) for at, part in enumerate(row.get("media", []))
    ]
    return {"text": SENTINEL * len(media)} | row | {"media": media}


def _only_sample(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name in ("id", "source", "url", "text", "media", "meta")}
