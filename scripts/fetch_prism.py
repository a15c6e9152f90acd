#!/usr/bin/env python3
"""Builds Beam's Prism runner, of the same release as the installed apache-beam, and prints the path of the binary.

    .venv/bin/python scripts/fetch_prism.py
    sluice curate RECIPE --runner prism -- --prism_location=PATH

The ordinary Go client fetches the module and builds it (minutes the first time, nothing after that). Left to itself
Beam downloads a release binary instead, which a closed network or a pinned build does not allow.

Exit codes: 0 built or already there; 3 it cannot be had on this machine (no Go, no module, no network), with the
reason on stderr.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = "github.com/apache/beam/sdks/v2/go/cmd/prism"
CACHE = Path(__file__).resolve().parent.parent / ".cache" / "prism"
TIMEOUT_S = 900
UNAVAILABLE = 3


def unavailable(why: str) -> SystemExit:
    """Says why Prism cannot be had here."""
    print(f"Prism is not available: {why}", file=sys.stderr)
    return SystemExit(UNAVAILABLE)


def build(release: str, binary: Path) -> None:
    """Builds `release` at `binary`; the finished file appears there by rename, so a torn build is never used."""
    go = shutil.which("go")
    if go is None:
        raise unavailable("it is built with Go, and there is no `go` on the PATH; install Go, 1.21 or later")
    # GOOS and GOARCH would ask for another machine's binary, which go refuses to put into GOBIN
    environment = {name: value for name, value in os.environ.items() if name not in ("GOOS", "GOARCH")}
    binary.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=binary.parent) as folder:
        print(f"building Prism {release} with {go}; this takes minutes the first time", file=sys.stderr)
        try:
            built = subprocess.run(
                [go, "install", f"{PACKAGE}@v{release}"],
                env={**environment, "GOBIN": folder},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise unavailable(f"`go install {PACKAGE}@v{release}` did not finish in {TIMEOUT_S} s") from None
        if built.returncode != 0:
            said = "\n".join(line for line in built.stdout.splitlines() if "downloading" not in line)[-2000:]
            raise unavailable(
                f"`go install {PACKAGE}@v{release}` failed; the module proxy may be out of reach. Go said:\n{said}"
            )
        os.replace(Path(folder) / binary.name, binary)


def main() -> None:
    """Prints the path of the binary, building it when it is not there."""
    try:
        release = version("apache-beam")
    except PackageNotFoundError:
        raise unavailable(
            f"apache-beam is not installed for {sys.executable}; run this with .venv/bin/python"
        ) from None
    binary = CACHE / release / ("prism.exe" if os.name == "nt" else "prism")
    if not binary.is_file():
        build(release, binary)
    print(binary)


if __name__ == "__main__":
    main()
