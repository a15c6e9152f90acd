"""`sluice report DIR`: recounts a dataset, writes report.json and report.html, and prints the summary."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report.display import compact, duration, percent, plain, safe_json, size
from pipeline.report.write import HTML_NAME, write_report

_BAR = 28
_LANGUAGES = 12
_REASONS = 12


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished dataset folder (it has a manifest.json).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json instead of the summary.")] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open report.html in the browser.")] = False,
) -> None:
    """Recount a dataset from its files and write report.html and report.json."""
    with Console(stderr=True).status(f"recounting {plain(str(folder))}"):
        found = write_report(folder)
    page = folder / HTML_NAME
    if as_json:
        typer.echo(safe_json(found))
    else:
        print_summary(found, page)
    if open_page:
        webbrowser.open(page.resolve().as_uri())


def print_summary(found: dict[str, Any], page: Path) -> None:
    """The report in a terminal; without colours and bars when piped."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=120)
    counts, run = found["counts"], found["run"] or {}
    console.print(Text(plain(found["dataset"]["name"]), style="bold"))
    rows = counts["rows_in"]
    kept = f"{counts['rows_kept']:,} kept" + (f" ({percent(counts['rows_kept'] / rows)})" if rows else "")
    parts = f", {counts['parts_rejected_total']:,} media parts removed" if counts["parts_rejected_total"] else ""
    console.print(f"{rows:,} rows in = {kept} + {counts['rows_rejected']:,} rejected{parts}")
    console.print(
        f"{counts['tokens']:,} tokens in {counts['documents']:,} documents, {counts['sequences']:,} sequences of "
        f"{found['tokens']['sequence_length']:,}, {percent(counts['padding_ratio'])} padding"
    )
    spent = [
        text
        for key, text in (
            ("seconds", f"{duration(run.get('seconds'))}"),
            ("cpu_seconds", f"{duration(run.get('cpu_seconds'))} of CPU"),
            ("peak_rss_bytes", f"{size(run.get('peak_rss_bytes'))} peak memory"),
        )
        if isinstance(run.get(key), (int, float))
    ]
    if spent:
        console.print(", ".join(spent))
    bars = console.is_terminal
    _print_funnel(console, found, bars)
    _print_reasons(console, found)
    _print_groups(console, "language", found["languages"], bars)
    _print_groups(console, "source", found["sources"], bars)
    for entry in found["dedup"]:
        if entry["removed_by_components"] is not None and entry["verified_pairs"] is not None:
            told = f"{plain(entry['step'], 60)}: {entry['removed']:,} rows removed for a verified match; clustering the"
            console.print(f"{told} candidates would remove {entry['removed_by_components']:,}")
    for alarm in found["alarms"]:
        where = f"to {plain(alarm['step'])}" if alarm["kind"] == "dedup" else "in all"
        lost = f"lost {percent(alarm['share'])} of {alarm['rows_in']:,} rows {where}"
        console.print(Text(f"alarm: source {plain(alarm['source'])} {lost}", style="bold red"))
    console.print(Text(f"\n{plain(str(page), 400)}"), soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0), title_justify="left")
    for name in columns:
        right = name.startswith(">")
        table.add_column(name.removeprefix(">"), justify="right" if right else "left", no_wrap=right)
    return table


def _print_funnel(console: Console, found: dict[str, Any], bars: bool) -> None:
    rows_in = found["counts"]["rows_in"]
    if not rows_in:
        console.print("The inputs held no rows.")
        return
    table = _table("step", ">rejected", ">of those it saw", ">rows left", *([""] if bars else []))
    for step in found["funnel"]:
        share = percent(step["rejected"] / step["rows_in"]) if step["rows_in"] else "–"
        cells: list[str | Text] = [
            Text(plain(step["step"], 60)),
            f"{step['rejected']:,}",
            share,
            f"{step['rows_out']:,}",
        ]
        if bars:
            cells.append(_bar(step["rows_out"], step["rejected"], rows_in))
        table.add_row(*cells)
    console.print()
    console.print(table)


def _print_reasons(console: Console, found: dict[str, Any]) -> None:
    entries = sorted(found["rejections"], key=lambda entry: (entry["kind"] == "part", -entry["count"]))
    if not entries:
        return
    table = _table(">count", ">share", "reason", "step", "for example")
    for entry in entries[:_REASONS]:
        first = entry["examples"][0] if entry["examples"] else None
        shown = plain(first["detail"] or first["excerpt"], 44) if first else ""
        unit = " (media part)" if entry["kind"] == "part" else ""
        reason, step = Text(plain(entry["reason"], 40) + unit), Text(plain(entry["step"], 40))
        table.add_row(f"{entry['count']:,}", percent(entry["share"]), reason, step, Text(shown, style="dim"))
    console.print()
    console.print(table)
    if len(entries) > _REASONS:
        console.print(f"… and {len(entries) - _REASONS} more reasons")


def _print_groups(console: Console, name: str, groups: list[dict[str, Any]], bars: bool) -> None:
    if not groups:
        return
    table = _table(name, ">rows in", ">kept", ">acceptance", ">tokens", *([""] if bars else []))
    for group in groups[:_LANGUAGES]:
        label = Text(plain(group["name"], 40))
        cells = [
            f"{group['rows_in']:,}",
            f"{group['rows_kept']:,}",
            percent(group["acceptance"]),
            compact(group["tokens"]),
        ]
        bar = [_bar(group["rows_kept"], group["rows_rejected"], groups[0]["rows_in"])] if bars else []
        table.add_row(label, *cells, *bar)
    console.print()
    console.print(table)
    if len(groups) > _LANGUAGES:
        console.print(f"… and {len(groups) - _LANGUAGES} more")


def _bar(kept: int, lost: int, whole: int) -> Text:
    left = round(kept / whole * _BAR)
    both = round((kept + lost) / whole * _BAR)
    return Text.assemble(("█" * left, "blue"), ("█" * (both - left), "dark_orange3"), ("·" * (_BAR - both), "dim"))
