"""Writes constraints.txt: the exact versions, in the running environment, of all the package and its extras need.

    .venv/bin/python scripts/pin.py > constraints.txt

Run it in an environment where the suite passes. Only the closure of setup.py's requirements is written, so what else
happens to be installed stays out; a requirement that is missing is an error.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import distutils

ROOT = Path(__file__).resolve().parent.parent


def declared() -> list[Requirement]:
    """What setup.py asks for, every extra included; read from the file, as installed metadata may be out of date."""
    setup = distutils.core.run_setup(str(ROOT / "setup.py"), stop_after="init")
    lines = [*setup.install_requires, *(line for extra in setup.extras_require.values() for line in extra)]
    return [Requirement(line) for line in lines]


def closure(roots: list[Requirement]) -> dict[str, str]:
    """Installed versions by canonical name of everything `roots` need on this machine."""
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    queue = [(root, "setup.py") for root in roots]
    while queue:
        requirement, wanted_by = queue.pop()
        name = canonicalize_name(requirement.name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            raise SystemExit(f"{wanted_by} needs {requirement}, which is not installed here") from None
        if not requirement.specifier.contains(found.version, prereleases=True):
            raise SystemExit(f"{wanted_by} needs {requirement}, but {found.version} is installed here")
        versions[name] = found.version.partition("+")[0]  # a local label (+cpu) names a build, not a release
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for line in found.requires or []:
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    queue.append((needed, name))
    return versions


def main() -> None:
    """Prints the file."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    print(f"# Exact versions the suite passes with, on {sys.platform} and Python {python}; ranges are in setup.py.")
    print("# pip install -c constraints.txt -e '.[dev]'      Written by scripts/pin.py: do not edit.")
    for name, version in sorted(closure(declared()).items()):
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
