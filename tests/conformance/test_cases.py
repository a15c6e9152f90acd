"""The tables of tests/cases: every row meets the fate its case says, and every declared reason has a case."""

from __future__ import annotations

from functools import cache

import pyarrow.compute as pc
import pytest

from tests.conformance.batches import prepare
from tests.conformance.tables import Case, load_table, table_names
from transforms.dedup.base import Dedup
from transforms.registry import build, catalog


@cache
def _cases() -> list[Case]:
    return [case for name in table_names() for case in load_table(name)]


def _judging() -> list[str]:
    """Transforms that judge or change rows; global steps do neither, their fate is tested in tests/unit."""
    return [name for name, cls in catalog().items() if not issubclass(cls, Dedup)]


@pytest.mark.parametrize("case", _cases(), ids=lambda case: f"{case.transform}: {case.name}")
def test_case(case: Case) -> None:
    transform = build(case.transform, case.params)
    transform.setup()
    batch = prepare(case.batch(), transform, case.prerequisites())
    assert batch.num_rows == len(case.rows), "a step of `after` rejected the row this case is about"
    outcome = transform.apply(batch)
    kept = {row["source"]: row for row in outcome.kept.to_pylist()}
    for source, expected in zip(batch.column("source").to_pylist(), case.expect, strict=True):
        mine = outcome.rejected.filter(pc.equal(outcome.rejected.column("source"), source))
        reasons = mine.column("reject.reason").to_pylist()
        wanted = [] if expected == "kept" else expected if isinstance(expected, list) else [expected]
        assert sorted(set(reasons)) == sorted(wanted), mine.column("reject.detail").to_pylist()
        if case.survives is not None:
            assert (source in kept) == case.survives
        if not wanted:
            assert source in kept
    if case.columns:
        assert len(kept) == 1, "columns are given for one kept row"
        row = next(iter(kept.values()))
        assert {name: _close(row[name], value) for name, value in case.columns.items()} == case.columns


def _close(value: object, expected: object) -> object:
    """`expected` itself when the value is that up to rounding, else the value."""
    if isinstance(value, list) and isinstance(expected, list) and len(value) == len(expected):
        return [_close(a, b) for a, b in zip(value, expected, strict=True)]
    if isinstance(value, float) and isinstance(expected, int | float) and value == pytest.approx(expected, abs=1e-6):
        return expected
    return value


@pytest.mark.parametrize("name", _judging())
def test_every_transform_has_a_table(name: str) -> None:
    assert name in table_names(), f"write tests/cases/{name}.yaml"


@pytest.mark.parametrize("name", table_names())
def test_every_table_has_a_transform(name: str) -> None:
    assert name in catalog()


@pytest.mark.parametrize("name", [name for name in _judging() if name in table_names()])
def test_every_reason_has_a_case(name: str) -> None:
    reached, declared = set(), {"kept"} | catalog()[name].reasons
    for case in load_table(name):
        declared |= build(name, case.params).reasons  # params may name a reason of their own
        for expected in case.expect:
            reached |= set(expected) if isinstance(expected, list) else {expected}
    assert reached == declared
