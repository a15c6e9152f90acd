"""Whether all sides did the same work on the same documents: what must be equal stops the benchmark, the rest is told.

A side is what its stage script reports: {stage: {"documents", "bytes", "cpu_s", ...}}.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

Side = Mapping[str, Mapping[str, Any]]

#: dolma strips the white space at a text's ends
_TOKENS_MAY_DIFFER = 1e-3
_DEDUP_STEPS = ("text.exact_dedup", "text.minhash_dedup")


def check_stages(ours: Side, peers: Mapping[str, Side], pages: Collection[str], english: Collection[str]) -> Any:
    """Compares the stages alone over the peers' documents, given by id; returns the shares that agree.

    Raises SystemExit when a side did not see every document it was given, or tokens differ in number.
    """
    agreed: dict[str, dict[str, float]] = {}
    kept = set(ours["filters"]["kept"])
    expected = sum(ours["tokens"]["tokens"][id] for id in pages)
    for name, theirs in peers.items():
        labels = theirs["language"]["labels"]
        if set(labels) != set(pages):
            raise SystemExit(f"{name} labelled {len(labels)} documents, not the {len(pages)} it was given")
        found = theirs["tokens"]["tokens"]
        if abs(found - expected) > _TOKENS_MAY_DIFFER * expected:
            raise SystemExit(f"{name} made {found:,} tokens of what sluice made {expected:,}")
        agreed[name] = {
            "same_language": share(labels[id] == ours["language"]["labels"][id] for id in pages),
            "tokens": found / expected,
        }
        if "kept" in theirs["filters"]:
            passed = set(theirs["filters"]["kept"])
            agreed[name]["same_filter_verdict"] = share((id in passed) == (id in kept) for id in english)
            agreed[name]["filters_kept_ratio"] = share(id in passed for id in english)
    ratio = share(id in kept for id in english)
    return {"sluice": {"filters_kept_ratio": ratio}, **agreed}


def check_curated(ours: Mapping[str, str], theirs: Mapping[str, str], read: int, given: Collection[str]) -> Any:
    """The same of the whole pipelines, by our verdicts and datatrove's; we `read` so many, it was given these."""
    if len(ours) != read:
        raise SystemExit(f"sluice accounts for {len(ours)} documents, not the {read} it was given")
    if set(theirs) != set(given):
        raise SystemExit(f"datatrove read {len(theirs)} documents, not the {len(given)} it was given")
    return {
        "same_filter_verdict": share((ours[id] == "rejected") == (theirs[id] == "rejected") for id in theirs),
        "sluice_kept_ratio": share(fate == "kept" for fate in ours.values()),
        "datatrove_kept_ratio": share(fate == "kept" for fate in theirs.values()),
    }


def our_verdicts(dataset: Path) -> dict[str, str]:
    """Every document read: "rejected" by a filter, dropped as a "duplicate", or "kept"."""
    rows = pq.read_table(dataset / "ledger", columns=["id", "verdict", "step"]).to_pylist()
    return {row["id"]: _fate(row["verdict"], row["step"]) for row in rows}


def datatrove_verdicts(out: Path) -> dict[str, str]:
    """The same of a run of peers/datatrove_curate.py."""
    read, filtered, kept = (
        {line for path in out.glob(f"{name}-*.txt") for line in path.read_text().splitlines()}
        for name in ("read", "filtered", "kept")
    )
    return {id: "kept" if id in kept else "duplicate" if id in filtered else "rejected" for id in read}


def share(claims: Any) -> float:
    """The share of claims that are true."""
    counted = [bool(claim) for claim in claims]
    return sum(counted) / len(counted)


def _fate(verdict: str, step: str | None) -> str:
    if verdict == "kept":
        return "kept"
    return "duplicate" if str(step).partition(":")[2] in _DEDUP_STEPS else "rejected"
