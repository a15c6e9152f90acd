"""report.html: one self-contained page. No scripts, no network; a content security policy says so to the browser."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from pipeline.report import display
from pipeline.report.charts import bar, histogram, ticks
from pipeline.report.close_calls import CLOSE_MARGIN

_ASSETS = Path(__file__).with_name("assets")
#: reasons a funnel bar tells apart; the rest of a step's rejections share one segment
_SHADES = 4
#: rows of the tables by language and source that are shown at once, and of the step heat map
MAX_ROWS = 30
MAX_HEAT_ROWS = 18


def render(report: dict[str, Any]) -> str:
    """The page for a report's data (see pipeline.report.summary)."""
    return _template().render(
        r=report,
        counts=report["counts"],
        css=Markup((_ASSETS / "report.css").read_text(encoding="utf-8")),
        tiles=_tiles(report),
        funnel=[_funnel_row(step, report["counts"]["rows_in"]) for step in report["funnel"]],
        heats=_heats(report),
        max_rows=MAX_ROWS,
        close_margin=CLOSE_MARGIN,
        recipe_yaml=yaml.safe_dump(report["recipe"], sort_keys=False, allow_unicode=True, width=100),
    )


@cache
def _template() -> jinja2.Template:
    environment = display.environment(_ASSETS)
    environment.filters |= {
        "block": display.markup_block,
        "breakable": _breakable,
        "compact": display.compact,
        "percent": display.percent,
        "size": display.size,
        "duration": display.duration,
    }
    environment.globals |= {
        "bar": bar,
        "fate_bar": _fate_bar,
        "share_bar": _share_bar,
        "histogram": histogram,
        "ticks": ticks,
    }
    return environment.get_template("report.html")


def _tiles(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The headline numbers: (name, value, what it is a share of or made of)."""
    counts, tokens, run = report["counts"], report["tokens"], report["run"] or {}
    rows = counts["rows_in"]
    share = (lambda n: display.percent(n / rows)) if rows else (lambda n: "–")
    tiles = [
        (
            "rows in",
            display.number(rows),
            f"{report['inputs']['files']:,} files, {display.size(report['inputs']['bytes'])}",
        ),
        ("kept", display.number(counts["rows_kept"]), f"{share(counts['rows_kept'])} of rows"),
        ("rejected", display.number(counts["rows_rejected"]), f"{share(counts['rows_rejected'])} of rows"),
        ("tokens", display.compact(counts["tokens"]), f"{counts['tokens']:,} in {counts['documents']:,} documents"),
        (
            "sequences",
            display.number(counts["sequences"]),
            f"of {tokens['sequence_length']:,}; {display.percent(counts['padding_ratio'])} padding",
        ),
    ]
    if counts["parts_rejected_total"]:
        tiles.append(("media parts removed", display.number(counts["parts_rejected_total"]), "their documents live on"))
    if isinstance(run.get("seconds"), (int, float)):
        cpu = run.get("cpu_seconds")
        detail = f"{display.duration(cpu)} of CPU" if isinstance(cpu, (int, float)) else "wall clock"
        tiles.append(("time", display.duration(run["seconds"]), detail))
    if isinstance(run.get("peak_rss_bytes"), (int, float)):
        tiles.append(("peak memory", display.size(run["peak_rss_bytes"]), "resident"))
    return tiles


def _funnel_row(step: dict[str, Any], rows_in: int) -> dict[str, Any]:
    """A funnel bar over the width of all input rows: survivors, then what this step took, by reason."""
    number, _, use = step["step"].partition(":")
    reasons = list(step["reasons"].items())
    segments = [(step["rows_out"], "kept", f"{step['rows_out']:,} rows left")]
    segments += [
        (count, f"lost shade{shade}", f"{count:,} {reason}") for shade, (reason, count) in enumerate(reasons[:_SHADES])
    ]
    rest = sum(count for _, count in reasons[_SHADES:])
    segments.append((rest, "lost shade9", f"{rest:,} for other reasons"))
    title = f"{step['step']}: {step['rows_in']:,} rows in, {step['rejected']:,} rejected, {step['rows_out']:,} left"
    shares = [(count / rows_in if rows_in else 0.0, style, name) for count, style, name in segments]
    return step | {
        "number": number,
        "use": use,
        "bar": bar(shares, title),
        "named": reasons[:_SHADES],
        "rest": rest,
        "lost_share": step["rejected"] / step["rows_in"] if step["rows_in"] else None,
        "left_share": step["rows_out"] / rows_in if rows_in else None,
    }


def _heats(report: dict[str, Any]) -> list[dict[str, Any]]:
    """What share of the rows that reached a step it took, by language and by source: where a rule treats one
    language unlike the others, its column shows it."""
    steps = [step["step"] for step in report["funnel"] if step["rejected"]]
    found = []
    for title, key in (("language", "languages"), ("source", "sources")):
        rows = [
            {
                "name": group["name"],
                "cells": [
                    (lost["rejected"] / lost["rows_in"] if lost["rows_in"] else None, lost)
                    for lost in (group["steps"][step] for step in steps)
                ],
            }
            for group in report[key][:MAX_HEAT_ROWS]
        ]
        if len(rows) > 1 and steps:
            found.append({"by": title, "steps": steps, "rows": rows, "left_out": len(report[key]) - len(rows)})
    return found


def _fate_bar(group: dict[str, Any], most: int) -> Markup:
    """Kept and rejected rows of a group, as long as the group is large next to the largest."""
    segments = [
        (group["rows_kept"] / most, "kept", f"{group['rows_kept']:,} kept"),
        (group["rows_rejected"] / most, "lost shade0", f"{group['rows_rejected']:,} rejected"),
    ]
    return bar(
        segments, f"{display.plain(group['name'], 60)}: {group['rows_kept']:,} of {group['rows_in']:,} rows kept"
    )


def _breakable(label: str) -> Markup:
    """A dotted or underscored name that may wrap after its joints, not inside its words."""
    text = display.markup(label, 60)
    for joint in (":", ".", "_"):
        text = text.replace(joint, Markup(f"{joint}<wbr>"))
    return text


def _share_bar(share: float, style: str, title: str) -> Markup:
    return bar([(share, style, title)], title)
