"""bench-dedup's tables in Markdown, as they stand in docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = [columns, ["---", *("---:" for _ in columns[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def quality(found: Mapping[str, Any]) -> str:
    """The tables of benchmarks.dedup_quality, by corpus."""
    return "\n\n".join(part for name, each in found.items() for part in _corpus(name, each))


def _corpus(name: str, found: Mapping[str, Any]) -> list[str]:
    columns = ["", "removed", "right", "missed", "precision", "recall", "S-curve's", "pair precision", "pair recall"]
    rows = [
        [
            tool,
            *(f"{score[key]:,}" for key in ("removed", "right", "missed")),
            *(f"{score[key]:.3f}" for key in ("precision", "recall", "expected_recall", "pair_precision")),
            f"{score['pair_recall']:.3f}",
        ]
        for tool, score in found["tools"].items()
    ]
    heading = f"**{name.capitalize()}**: {found['documents']:,} documents, {found['true_pairs']:,} pairs of J ≥ 0.8."
    parts = [heading, table(columns, rows)]
    for key, what in (("removed_by_source", "source"), ("removed_by_kind", "kind")):
        by = found[key]
        if len(by["due"]) > 1:
            parts.append(f"Removed share by {what}; due is what has an earlier kept document of J ≥ 0.8:")
            names = list(by["due"])
            parts.append(table(["", *names], [[tool, *(f"{by[tool][n]:.1%}" for n in names)] for tool in by]))
    curves = found["removed_by_similarity"]
    bands = list(next(iter(curves.values())))
    curve = next(iter(curves.values()))
    rows = [["pairs", *(f"{curve[band]['pairs']:,}" for band in bands)]]
    rows += [["S-curve", *(f"{curve[band]['s_curve']:.3f}" for band in bands)]]
    rows += [[tool, *(f"{by_band[band]['removed']:.3f}" for band in bands)] for tool, by_band in curves.items()]
    parts.append("Pairs that lost one of the two, by their exact Jaccard similarity:")
    parts.append(table(["J", *bands], rows))
    parts += [f"The report of {tool} warns of {', '.join(names)}." for tool, names in found["alarms"].items() if names]
    return parts


def claims(must_hold: Mapping[str, bool], targets: Mapping[str, bool]) -> list[str]:
    """What must hold and what is aimed at, each with pass or FAIL."""
    return [
        table([name, ""], [[claim, "pass" if holds else "**FAIL**"] for claim, holds in made.items()])
        for name, made in {"must hold": must_hold, "target": targets}.items()
        if made
    ]


def absent(reasons: Mapping[str, str]) -> str:
    """Why peers are missing, or nothing."""
    return "\n".join(f"{name} is missing: {reason}." for name, reason in reasons.items())
