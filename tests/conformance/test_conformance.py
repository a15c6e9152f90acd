"""The contract, over every registered transform and every batch of conformance.batches."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa
import pytest

from tests.conformance.batches import contract_batches, nulled, prepare, with_columns
from tests.conformance.contract import check_all, check_dedup
from tests.conformance.tables import Case, load_table, table_names
from transforms.dedup.base import Dedup
from transforms.dedup.spans import SpanDedup
from transforms.registry import build, catalog

#: different parameters of one transform that are tried; tables have more
_MAX_SETTINGS = 4


@dataclass(frozen=True)
class Setting:
    """A transform ready to run, and what comes before it in a recipe."""

    transform: Any
    after: list[Any]
    rows: list[dict[str, Any]]  # of the case it was taken from: they may give columns that no step of ours makes

    def batch(self, kind: str) -> pa.RecordBatch:
        return prepare(with_columns(contract_batches()[kind], self.rows), self.transform, self.after)


@cache
def cases(name: str) -> list[Case]:
    """The cases whose params are worth trying: the first different ones of a transform's table."""
    table = load_table(name) if name in table_names() else []
    # A case that gives the columns itself, under a table with steps that make them, says nothing about a recipe.
    steps = max((case.after for case in table), key=len, default=[])
    found: list[Case] = []
    for case in table:
        if case.after == steps and case.params not in [other.params for other in found]:
            found.append(case)
    return found[:_MAX_SETTINGS]


def settings(name: str) -> list[Setting]:
    """Ready transforms of one name: as its table has them, else with the defaults."""
    found = [Setting(build(name, case.params), case.prerequisites(), case.rows) for case in cases(name)]
    found = found or [Setting(build(name, {}), [], [])]
    for setting in found:
        setting.transform.setup()
    return found


@pytest.mark.parametrize("name", list(catalog()))
@pytest.mark.parametrize("kind", list(contract_batches()))
def test_keeps_the_contract(name: str, kind: str) -> None:
    for setting in settings(name):
        batch = setting.batch(kind)
        if isinstance(setting.transform, Dedup | SpanDedup):
            check_dedup(setting.transform, batch)
        if not isinstance(setting.transform, Dedup):
            check_all(setting.transform, batch)
            check_all(setting.transform, nulled(batch))


@pytest.mark.parametrize("name", [name for name, cls in catalog().items() if not issubclass(cls, Dedup)])
def test_chained_twice_keeps_the_contract(name: str) -> None:
    """A recipe may name a step twice: the second run meets the columns of the first."""
    setting = settings(name)[0]
    again = setting.transform.apply(setting.batch("good media")).kept
    check_all(setting.transform, prepare(again, setting.transform, []))


@pytest.mark.parametrize("name", list(catalog()))
def test_registration_is_in_order(name: str) -> None:
    cls = catalog()[name]
    assert cls.name == name
    assert cls.version >= 1
    assert cls.__doc__, "a transform says what it does"
    assert "kept" not in cls.reasons
    assert all(reason == reason.lower() and reason.replace("_", "").isalnum() for reason in cls.reasons)
    assert cls.Params.model_config["extra"] == "forbid" and cls.Params.model_config["frozen"]


def outcome_digest() -> str:
    """A digest of what every transform makes of every batch."""
    digest = hashlib.sha256()
    for name in catalog():
        setting = settings(name)[0]
        for kind in contract_batches():
            batch = setting.batch(kind)
            if isinstance(setting.transform, Dedup):
                keys = setting.transform.keys(batch)
                seen = repr((keys.row.tolist(), keys.part.tolist(), keys.band.tolist(), keys.key.tolist()))
            else:
                outcome = setting.transform.apply(batch)
                seen = repr((outcome.kept.to_pylist(), outcome.rejected.to_pylist()))
            digest.update(f"{name}/{kind}/{hashlib.sha256(seen.encode('utf-8', 'surrogatepass')).hexdigest()}".encode())
    return digest.hexdigest()


def test_hash_seed_changes_nothing() -> None:
    """Another process with another PYTHONHASHSEED gives the same."""
    program = "from tests.conformance.test_conformance import outcome_digest; print(outcome_digest())"
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    environment = os.environ | {"PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1] == outcome_digest()
