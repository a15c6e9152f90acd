"""bench-dedup's speed: MinHash deduplication of the same documents with the same parameters, ours and datatrove's.

Ours verifies every candidate and writes token shards, the ledger and the report; datatrove's four stages write the
documents that are left. "MinHash alone" is what the step adds to our run, and datatrove's run less its start-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.corpus import copies, load, write
from benchmarks.dedup_runs import MINHASH, Peers, curate
from benchmarks.harness import Cost, Stage, typical
from benchmarks.peers.clock import load as load_rows

PEER = "datatrove"
PER_CPU_S = "documents per CPU second"
TARGET = {PEER: 20}
#: (runs of ours, documents, times as many by copies)
PLANS = {"small": (1, 1_000, 1), "full": (3, 2_400, 16)}
START = 8
FILES = 8


def run(data: str | None, size: str, peers: Peers, work: Path) -> tuple[dict[str, Stage], dict[str, Any]]:
    """(table, facts); without the peer, a table of ours alone."""
    runs, most, times = PLANS[size]
    pages = load(str(Path(data) / "text" / "jsonl") if data else None)
    corpora = {
        "all": write(copies(pages.english[:most], times), work / "pages", FILES),
        "start": write(pages.english[:START], work / "start", FILES),
    }
    documents, removed = corpora["all"].documents, {}
    costs: dict[tuple[str, str], list[Cost]] = {}
    for _ in range(runs):
        for name, corpus in corpora.items():
            for how, steps in {"with": [MINHASH], "without": []}.items():
                made = curate([{"name": "pages", "paths": f"{corpus.folder}/*.jsonl.gz"}], steps, work / "run")
                costs.setdefault((name, how), []).append(made.cost)
                if (name, how) == ("all", "with"):
                    removed["sluice"] = len(made.removals)
    ours = {key: typical(found).cpu_s for key, found in costs.items()}
    theirs: dict[str, float] = {}
    if PEER in peers.pythons:
        for name in ("start", "all"):
            cost, out = peers.minhash(PEER, corpora[name].folder, work)
            theirs[name] = cost.cpu_s
        removed[PEER] = documents - len(load_rows(out / "kept"))
    seconds = {"sluice": {" ".join(key): cpu_s for key, cpu_s in ours.items()}, PEER: theirs}
    facts = {"data": pages.name, "text_bytes": corpora["all"].text_bytes, "removed": removed, "cpu_s": seconds}
    return table(documents, ours, theirs), facts


def table(documents: int, ours: Mapping[tuple[str, str], float], theirs: Mapping[str, float]) -> dict[str, Stage]:
    """Rates, from CPU seconds of runs over `all` documents and over next to nothing (`start`); ours also `with` and
    `without` the step."""
    whole = ours["all", "with"] - ours["start", "with"]
    alone = whole - (ours["all", "without"] - ours["start", "without"])
    if min(alone, whole, theirs.get("all", 1) - theirs.get("start", 0)) <= 0:
        raise SystemExit(
            "a run over more work took less time than one over less: this machine is too busy to measure on. "
            "Try again when it is idle, or with SIZE=full"
        )
    peer = {PEER: documents / (theirs["all"] - theirs["start"])} if theirs else {}
    started = {PEER: documents / theirs["all"]} if theirs else {}
    return {
        "MinHash alone": Stage.of(documents / alone, peer, PER_CPU_S, target=TARGET if theirs else {}),
        "whole run, without start-up": Stage.of(documents / whole, peer, PER_CPU_S),
        f"whole run, {documents:,} documents": Stage.of(documents / ours["all", "with"], started, PER_CPU_S),
    }
