"""The contract, over every registered transform and every batch of conformance.batches."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from tests.conformance.batches import contract_batches, nulled, prepare
from tests.conformance.contract import check_all, check_dedup
from tests.conformance.tables import load_table, table_names
from transforms.dedup.base import Dedup
from transforms.registry import build, catalog

#: different parameters of one transform that are tried; tables have more
_MAX_SETTINGS = 4


@cache
def settings(name: str) -> list[tuple[dict[str, Any], list[Any]]]:
    """Params and prerequisites to try a transform with: the first different ones of its table, else the defaults."""
    found: list[tuple[dict[str, Any], list[Any]]] = []
    # A case that gives the columns itself (`after: []` under a table with steps) says nothing about a recipe.
    cases = load_table(name) if name in table_names() else []
    steps = max((case.after for case in cases), key=len, default=[])
    for case in cases:
        if case.after == steps and (case.params, steps) not in found:
            found.append((case.params, steps))
    return found[:_MAX_SETTINGS] or [({}, [])]


def instances(name: str) -> list[tuple[Any, list[Any]]]:
    """Transforms ready to run, with their prerequisites."""
    ready = []
    for params, after in settings(name):
        transform = build(name, params)
        transform.setup()
        cases = [case for case in load_table(name) if case.after == after] if after else []
        ready.append((transform, cases[0].prerequisites() if cases else []))
    return ready


@pytest.mark.parametrize("name", list(catalog()))
@pytest.mark.parametrize("kind", list(contract_batches()))
def test_keeps_the_contract(name: str, kind: str) -> None:
    for transform, after in instances(name):
        batch = prepare(contract_batches()[kind], transform, after)
        if isinstance(transform, Dedup):
            check_dedup(transform, batch)
            continue
        check_all(transform, batch)
        if after:
            check_all(transform, nulled(batch))


@pytest.mark.parametrize("name", [name for name, cls in catalog().items() if not issubclass(cls, Dedup)])
def test_chained_twice_keeps_the_contract(name: str) -> None:
    """A recipe may name a step twice: the second run meets the columns of the first."""
    transform, after = instances(name)[0]
    batch = prepare(contract_batches()["good media"], transform, after)
    again = transform.apply(batch).kept
    check_all(transform, prepare(again, transform, []))


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
        transform, after = instances(name)[0]
        for kind, batch in contract_batches().items():
            prepared = prepare(batch, transform, after)
            if isinstance(transform, Dedup):
                keys = transform.keys(prepared)
                seen = repr((keys.row.tolist(), keys.part.tolist(), keys.band.tolist(), keys.key.tolist()))
            else:
                outcome = transform.apply(prepared)
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
