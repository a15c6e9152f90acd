"""From counted cells to the report's tables: the funnel, who lost what where, and what to be alarmed about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pipeline.report.tally import Cell, Sums, Tally, is_kept, is_rejected, is_removed_part, is_row

#: a dataset that loses more than this share of the rows that reach a dedup step, or of all its rows, is flagged:
#: published audits found template-sharing sources all but erased by dedup, unnoticed in the totals
DEDUP_ALARM = 0.5
TOTAL_ALARM = 0.9


def step_labels(recipe: dict[str, Any], tally: Tally) -> list[str]:
    """Every step that judged rows, in order: inputs, the recipe's steps (`<number>:<use>`, from 1), then whatever
    else the ledger names (the token step)."""
    named = {cell.step for cell in tally.cells if cell.step}
    declared = [f"{number}:{step['use']}" for number, step in enumerate(recipe.get("steps") or [], start=1)]
    return sorted(named.union(declared), key=_place)


def _place(label: str) -> tuple[int, int, str]:
    number, _, _ = label.partition(":")
    if number.isdigit():
        return (1, int(number), label)
    return (0 if number == "input" else 2, 0, label)


def is_dedup(step: str, reasons: Iterable[str] = ()) -> bool:
    """Whether a step removes rows for resembling other rows."""
    return "dedup" in step or any(reason.startswith("duplicate") for reason in reasons)


def funnel(labels: list[str], tally: Tally) -> list[dict[str, Any]]:
    """Per step: rows that reached it, rows it rejected by reason, rows left, media parts it removed by reason."""
    rejected = _nested(tally, is_rejected)
    parts = _nested(tally, is_removed_part)
    reaching = tally.total(is_row).rows
    steps = []
    for label in labels:
        reasons = rejected.get(label, {})
        lost = sum(reasons.values())
        steps.append(
            {
                "step": label,
                "rows_in": reaching,
                "rejected": lost,
                "rows_out": reaching - lost,
                "reasons": reasons,
                "parts_rejected": parts.get(label, {}),
                "dedup": is_dedup(label, reasons),
            }
        )
        reaching -= lost
    return steps


def groups(tally: Tally, key: Callable[[Cell], str], labels: list[str]) -> list[dict[str, Any]]:
    """Per language, modality or dataset: rows in, kept, rejected, kept tokens and characters, and what each step
    took from it; most rows first."""
    total = tally.by(key, is_row)
    kept = tally.by(key, is_kept)
    by_step = tally.by(lambda cell: (key(cell), cell.step), is_rejected)
    found = []
    for name, sums in sorted(total.items(), key=lambda item: (-item[1].rows, item[0])):
        survived = kept.get(name, Sums())
        reaching, steps = sums.rows, {}
        for label in labels:
            lost = by_step.get((name, label), Sums()).rows
            steps[label] = {"rows_in": reaching, "rejected": lost}
            reaching -= lost
        found.append(
            {
                "name": name,
                "rows_in": sums.rows,
                "rows_kept": survived.rows,
                "rows_rejected": sums.rows - survived.rows,
                "acceptance": survived.rows / sums.rows,
                "tokens": survived.tokens,
                "chars_kept": survived.chars,
                "steps": steps,
            }
        )
    return found


def alarms(sources: list[dict[str, Any]], steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Datasets that lost more than they should have to one dedup step, or nearly everything altogether."""
    dedups = [step["step"] for step in steps if step["dedup"]]
    found: list[dict[str, Any]] = []
    for source in sources:
        for label in dedups:
            lost = source["steps"][label]
            if lost["rejected"] > DEDUP_ALARM * lost["rows_in"]:
                found.append({"kind": "dedup", "source": source["name"], "step": label, **lost})
        if source["rows_rejected"] > TOTAL_ALARM * source["rows_in"]:
            lost = {"rows_in": source["rows_in"], "rejected": source["rows_rejected"]}
            found.append({"kind": "total", "source": source["name"], "step": None, **lost})
    for alarm in found:
        alarm["share"] = alarm["rejected"] / alarm["rows_in"]
    return found


def _nested(tally: Tally, chosen: Callable[[Cell], bool]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (step, reason), sums in tally.by(lambda cell: (cell.step, cell.reason), chosen).items():
        nested.setdefault(step, {})[reason] = sums.rows
    return {
        step: dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))) for step, reasons in nested.items()
    }
