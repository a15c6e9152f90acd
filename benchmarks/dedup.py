"""bench-dedup: what deduplication removes and whether it should have, how fast, how far, and always the same.

    [DATA=folder] [SIZE=small|full] make bench-dedup        or: python -m benchmarks.dedup [PART…]

DATA holds `text/jsonl/*.jsonl.gz` (sentences to plant duplicates in) and `dedup/` (revisions of real documents with all
their true pairs); without it documents are generated, and natural pairs are left out. Ours runs as `sluice curate`.
With PARTs (quality, speed, scale, determinism, and those of EXTRAS) only these are run, and no result is written. Ends
with an error when something that must hold does not; targets are only told.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import dedup_determinism, dedup_quality, dedup_scale, dedup_speed, dedup_tables
from benchmarks.dedup_runs import DISTRIBUTIONS, Peers
from benchmarks.harness import (
    CACHE,
    ROOT,
    Stage,
    machine,
    markdown,
    our_versions,
    peer_versions,
    size,
    write_result,
    write_section,
)
from benchmarks.text import tokenizer

#: further parts, each a benchmark benchmarks.dedup_PART that can be run alone, and whether it needs DATA
EXTRAS = {"theory": False, "semantic": False, "images": True, "audio": True}


@dataclass
class Bench:
    """What a run of the benchmark has found so far."""

    data: str | None
    size: str
    work: Path
    peers: Peers
    stages: dict[str, Stage] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    #: what must hold, and what is aimed at
    claims: dict[str, bool] = field(default_factory=dict)
    targets: dict[str, bool] = field(default_factory=dict)

    def quality(self) -> None:
        """Removals and pairs, right and wrong."""
        work = self.folder("quality")
        self.facts["quality"], claims, targets = dedup_quality.run(self.data, self.size, self.peers, work)
        self.claims |= claims
        self.targets |= targets

    def speed(self) -> None:
        """The same documents with the same parameters, ours and datatrove's."""
        stages, self.facts["speed"] = dedup_speed.run(self.data, self.size, self.peers, self.folder("speed"))
        self.stages |= stages

    def scale(self) -> None:
        """Up to a million documents."""
        work = self.folder("scale")
        stages, claims, targets = dedup_scale.run(
            self.size, work, lambda sample: str(tokenizer(sample, work)["tokenizer"])
        )
        self.stages |= stages
        self.claims |= claims
        self.targets |= targets

    def determinism(self) -> None:
        """The same rows, laid out and run in other ways."""
        found, claims = dedup_determinism.run(self.data, self.size, self.folder("determinism"))
        self.facts["determinism"] = found
        self.claims |= claims

    def extra(self, name: str) -> None:
        """A part of EXTRAS, a benchmark of its own: it prints its tables itself and writes its own result."""
        module = f"benchmarks.dedup_{name}"
        print(module, file=sys.stderr, flush=True)
        done = subprocess.run([sys.executable, "-m", module], cwd=ROOT, check=False)
        self.claims[f"{module} ends without an error"] = done.returncode == 0

    def folder(self, name: str) -> Path:
        """An empty folder for a part."""
        print(name, file=sys.stderr, flush=True)
        made = self.work / name
        made.mkdir()
        return made

    def section(self) -> str:
        """The tables, in Markdown."""
        parts = [markdown(self.stages)] if self.stages else []
        if "quality" in self.facts:
            parts.append(dedup_tables.quality(self.facts["quality"]))
        return "\n\n".join(
            [*parts, dedup_tables.absent(self.peers.absent), *dedup_tables.claims(self.claims, self.targets)]
        )


def parts(bench: Bench) -> dict[str, Callable[[], None]]:
    """Every part there is, by name."""
    found: dict[str, Callable[[], None]] = {
        "quality": bench.quality,
        "determinism": bench.determinism,
        "speed": bench.speed,
        "scale": bench.scale,
    }
    for name, needs_data in EXTRAS.items():
        if find_spec(f"benchmarks.dedup_{name}") and (bench.data or not needs_data):
            found[name] = partial(bench.extra, name)
    return found


def main(names: list[str]) -> None:
    """Runs the parts; prints their tables and writes benchmarks/results/dedup.json and the section of the docs."""
    where, chosen = machine(), size()
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        bench = Bench(os.environ.get("DATA") or None, chosen, Path(folder), Peers())
        known = parts(bench)
        if unknown := set(names) - set(known):
            raise SystemExit(f"no part {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        for name in names or known:
            known[name]()
    pythons = bench.peers.pythons
    versions = {
        **our_versions(["sluice", "apache-beam", "pyarrow", "numpy", "numba"]),
        **{k: v for name in pythons for k, v in peer_versions(pythons[name], [DISTRIBUTIONS[name]]).items()},
    }
    taken = f"{chosen}, {'real' if bench.data else 'generated'} text, load {where['load']} on {where['processor']}."
    print(f"{taken}\n\n{bench.section()}")
    if not names:
        more = bench.facts | {"claims": bench.claims, "targets": bench.targets, "absent": bench.peers.absent}
        path = write_result("dedup", bench.stages, machine=where, versions=versions, size=chosen, **more)
        write_section(ROOT / "docs" / "benchmarks.md", "dedup", f"{taken}\n\n{bench.section()}")
        print(path)
    if failed := [claim for claim, holds in bench.claims.items() if not holds]:
        raise SystemExit(f"{len(failed)} claims do not hold: {'; '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
