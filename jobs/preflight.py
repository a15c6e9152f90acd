"""Before a command runs: our top-level names belong to us alone.

`schemas`, `transforms`, `pipeline`, `jobs` and `model` are words other packages ship too. pip lets a second one write
into the same folder without a word, and uninstalling it deletes our files, so the command line looks first.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

from schemas.errors import SluiceError

DISTRIBUTION = "sluice"
TOP_LEVEL = ("schemas", "transforms", "pipeline", "jobs", "model")

_RECORDED = re.compile(rf"^({'|'.join(TOP_LEVEL)})(?:/|\.py,)", re.MULTILINE)


def check(path: list[str] | None = None) -> None:
    """Raises SluiceError when another distribution or folder on the import path (default: sys.path) has our names."""
    clashes = {name: owners for name, owners in owners_of_names(path).items() if owners - {DISTRIBUTION}}
    if clashes:
        said = "; ".join(
            f"{name!r} belongs to {' and '.join(sorted(owners))}" for name, owners in sorted(clashes.items())
        )
        others = " and ".join(sorted(set().union(*clashes.values()) - {DISTRIBUTION}))
        raise SluiceError(
            f"installed packages own the same top-level names as {DISTRIBUTION}: {said}. Whichever was installed last "
            f"has overwritten the other's files. Uninstall {others} and reinstall {DISTRIBUTION}, or give "
            f"{DISTRIBUTION} a virtual environment of its own"
        )
    homes = {name: home for name in TOP_LEVEL if (home := _home(name)) is not None}
    strangers = {name: home for name, home in homes.items() if home != homes.get("jobs")}
    if strangers:
        found = "; ".join(f"{name!r} comes from {home}" for name, home in sorted(strangers.items()))
        raise SluiceError(
            f"{DISTRIBUTION} runs from {homes.get('jobs')}, but {found}: another folder of that name is earlier on the "
            "import path. Run from a different folder, or take that one out of PYTHONPATH"
        )


def owners_of_names(path: list[str] | None = None) -> dict[str, set[str]]:
    """Our top-level names and the distributions that ship them, as importlib.metadata.packages_distributions tells.

    That function parses every file list there is, over a second in an ordinary environment; this reads the same two
    files of a distribution and looks for our names only. A clone that is not installed has no owners, which is fine.
    """
    found = distributions() if path is None else distributions(path=path)
    owners: dict[str, set[str]] = {}
    for distribution in found:
        for name in _shipped(distribution):
            owners.setdefault(name, set()).add(distribution.metadata["Name"] or "a package without a name")
    return owners


def _shipped(distribution: Distribution) -> Iterable[str]:
    declared = distribution.read_text("top_level.txt")
    if declared:
        return set(declared.split()) & set(TOP_LEVEL)
    return set(_RECORDED.findall(distribution.read_text("RECORD") or ""))


def _home(name: str) -> Path | None:
    """The folder a top-level package is in, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))).resolve().parent
