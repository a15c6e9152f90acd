"""`sluice explain DIR ID`: why a row was kept or rejected, and where it went."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from pipeline.report.display import plain, safe_json, size
from pipeline.report.lookup import explain_rows
from schemas.ledger import KEPT

_NAME_WIDTH = 12


def explain(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished dataset folder (it has a manifest.json).")],
    row_id: Annotated[
        str, typer.Argument(metavar="ID", help="A row's id or source, or the beginning of one that fits a single row.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the ledger lines as JSON.")] = False,
) -> None:
    """Tell one row's story: verdict, reason, scores, media parts, and the shard it went to."""
    stories = explain_rows(folder, row_id)
    if as_json:
        typer.echo(safe_json(stories))
        return
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for number, story in enumerate(stories):
        if number:
            console.print()
        _print_story(console, story)


def _print_story(console: Console, story: dict[str, Any]) -> None:
    row = story["row"]
    named = row or story["parts"][0]
    console.print(Text(plain(named["id"], 400), style="bold"))
    _line(console, "source", named["source"])
    if named.get("url"):
        _line(console, "url", named["url"])
    if row is not None:
        _print_verdict(console, row, story)
    for part in story["parts"]:
        detail = f": {plain(part['detail'], 200)}" if part["detail"] else ""
        match = f", same as in {plain(part['match_id'])}" if part["match_id"] else ""
        text = f"{plain(part['modality'])} {part['part']} removed by {plain(part['step'])}, {plain(part['reason'])}"
        _line(console, "media part", text + detail + match)
    for place in story["places"]:
        where = f"sequence {place['sequence']}, document {place['document']}"
        _line(
            console, "shard", f"{place['shard']}, {where}: {place['tokens']:,} tokens from position {place['offset']}"
        )
    if story["scores"]:
        console.print(Text("scores", style="dim"))
        width = max(len(plain(name)) for name in story["scores"])
        for name, value in story["scores"].items():
            console.print(Text(f"  {plain(name):<{width}}  {_value(value)}"))


def _print_verdict(console: Console, row: dict[str, Any], story: dict[str, Any]) -> None:
    if row["verdict"] == KEPT:
        _line(console, "verdict", "kept", "bold blue")
    else:
        _line(console, "verdict", f"rejected by {row['step']}: {row['reason']}", "bold dark_orange3")
        if row["detail"]:
            _line(console, "detail", row["detail"])
    if row["match_id"]:
        _line(console, "matched with", row["match_id"])
        match = story["match"]
        if match is None:
            _line(console, "", "(not a row of this ledger)")
        else:
            state = KEPT if match["verdict"] == KEPT else f"itself rejected by {match['step']}: {match['reason']}"
            _line(console, "", f"{state}, {match['source']}")
            _line(console, "", match["excerpt"] or "(no text)")
    media = f", {size(row['num_media_bytes'])} of media" if row["num_media_bytes"] else ""
    _line(console, "content", f"{row['modality']}, {row['num_chars'] or 0:,} characters{media}")
    _line(console, "text", row["excerpt"] or "(none)")


def _line(console: Console, name: str, value: str, style: str = "") -> None:
    console.print(Text.assemble((f"{name:<{_NAME_WIDTH}}  ", "dim"), (plain(value, 400), style)))


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else plain(str(value), 200)
