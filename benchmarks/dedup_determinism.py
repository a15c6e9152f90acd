"""bench-dedup's determinism: the same rows, laid out and run otherwise, lose the same rows and make the same shards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dedup_planted import Plan, plant, pools
from benchmarks.dedup_runs import COMPONENTS, EXACT, MINHASH, Curated, Document, curate

#: families of so many members crowd their keys
PLAN = Plan(unrelated=60, exact=20, edits=8, prefixes=3, quotes=10, chains=8, families=1, members=100)
FILES = 8
STEPS = {"verified": [EXACT, MINHASH], "verify: null": [EXACT, COMPONENTS]}
#: what each run does differently: worker processes, input files, the order they are named in, bytes of a work unit
VARIANTS: dict[str, dict[str, Any]] = {
    "1 worker": {"workers": 1},
    "2 workers": {"workers": 2},
    "3 workers": {"workers": 3},
    "files named in another order": {"shuffled": True},
    "work units of 16 kB": {"unit_bytes": 16_384},
    "work units of 100 kB, 3 workers": {"unit_bytes": 100_000, "workers": 3},
    "1 file": {"files": 1},
    "37 files": {"files": 37},
}


def run(data: str | None, size: str, work: Path) -> tuple[dict[str, Any], dict[str, bool]]:
    """(per recipe and variant, whether removals and shards are those of the first; the claims made of it)."""
    documents = plant(PLAN, pools(data)).documents
    results: dict[str, Any] = {}
    for name, steps in STEPS.items() if size == "full" else [("verified", STEPS["verified"])]:
        runs = {variant: _run(documents, steps, work, **how) for variant, how in VARIANTS.items()}
        first = next(iter(runs.values()))
        if not first.removals:
            raise SystemExit("the determinism runs removed nothing, so that they show nothing")
        results[name] = {
            variant: {"removals": made.removals == first.removals, "shards": made.shards == first.shards}
            for variant, made in runs.items()
        }
    claims = {
        f"{recipe}: {variant}: the same {what}": same
        for recipe, variants in results.items()
        for variant, found in variants.items()
        for what, same in found.items()
    }
    return results, claims


def _run(
    documents: Sequence[Document],
    steps: Sequence[dict[str, Any]],
    work: Path,
    *,
    files: int = FILES,
    shuffled: bool = False,
    **options: Any,
) -> Curated:
    folder = work / f"files-{files}"
    if not folder.exists():
        _write(documents, folder, files)
    paths = [str(path) for path in sorted(folder.iterdir())]
    if shuffled:
        paths = [paths[k] for k in np.random.default_rng(17).permutation(len(paths))]
    made = curate([{"name": "rows", "paths": paths}], steps, work / "run", **options)
    _ = made.ledger, made.shards  # the next run takes its place
    return made


def _write(documents: Sequence[Document], folder: Path, files: int) -> None:
    """Plain .jsonl, which a run may cut anywhere."""
    folder.mkdir(parents=True)
    for n in range(files):
        some = documents[len(documents) * n // files : len(documents) * (n + 1) // files]
        lines = "".join(json.dumps({"id": d["id"], "text": d["text"]}, ensure_ascii=False) + "\n" for d in some)
        (folder / f"part-{n:05d}.jsonl").write_text(lines, encoding="utf-8")
