"""`sluice diff-presets STEP FILES`: how many rows change verdict between presets of a step, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.presets import DEFINITION, PARAMETER, compare, make_variants, preset_names, recipe_step
from pipeline.reading import open_files, read_all, recipe_sources
from pipeline.recipe import load_recipe
from pipeline.report.display import percent, plain, safe_json
from schemas.errors import RecipeError

_CAUSES = {DEFINITION: "how it is counted", PARAMETER: "a parameter"}


def diff_presets(
    step: Annotated[str, typer.Argument(help="A transform, or with --recipe a step of it by name or number.")],
    files: Annotated[list[str] | None, typer.Argument(help="Files, folders or globs [default: the recipe's].")] = None,
    presets: Annotated[str | None, typer.Option(help="Presets to compare: paper,dolma [default: all].")] = None,
    variants: Annotated[
        list[str] | None, typer.Option("--variant", help="Parameters to compare: 'preset: dolma, min_words: 20'.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="A parameter of all: max_words=5000.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Take the step, and the local steps before it, from here.")] = None,
    source: Annotated[str | None, typer.Option(help="The files' format [default: by their names].")] = None,
    column: Annotated[str | None, typer.Option(help="The text column, when it is not called text.")] = None,
    examples: Annotated[int, typer.Option(min=0, help="Rows to name for each kind of change.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Judge every row under several presets or parameters, and count the rows whose verdict changes, by reason."""
    if not files and recipe is None:
        raise RecipeError("name the files to read, or a --recipe that has inputs")
    loaded = None if recipe is None else load_recipe(recipe)
    use, params, before = (step, {}, []) if loaded is None else recipe_step(loaded, step)
    for override in overrides or []:
        name, equals, value = override.partition("=")
        if not equals:
            raise RecipeError(f"--set {override!r}: write it as parameter=value, for example max_words=5000")
        params |= _mapping(f"{name}: {value}", "--set", override)
    changes = [(label, _mapping(label, "--variant", label)) for label in variants or []]
    if presets is not None or not changes:
        chosen = preset_names(use) if presets is None else [name.strip() for name in presets.split(",")]
        changes = [(name, {"preset": name}) for name in chosen] + changes
    made = make_variants(use, params, changes)
    sources = recipe_sources(loaded) if loaded is not None and not files else [open_files(files or [], source, column)]
    found = compare(read_all(sources), made, before, examples)
    if as_json:
        typer.echo(safe_json(found))
    else:
        _print(found)


def _mapping(text: str, option: str, given: str) -> dict[str, Any]:
    """Parameters in YAML's flow style, without the braces."""
    try:
        found = yaml.safe_load("{" + text + "}")
    except yaml.YAMLError:
        found = None
    if ":" not in text or not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise RecipeError(f"{option} {given!r}: this is not a parameter and its value, such as 'min_words: 100'")
    return found


def _print(found: dict[str, Any]) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=160)
    beside = [
        f"{found[key]:,} {what}"
        for key, what in (("rows_unread", "unreadable"), ("rows_lost_before", "rejected by earlier steps"))
        if found[key]
    ]
    console.print(Text(f"{found['step']}, {found['rows']:,} rows", style="bold"), *beside, sep=", ")
    names = [variant["name"] for variant in found["variants"]]
    table = _table("agreement", ">kept", ">share", *(f">{plain(name, 30)}" for name in names))
    for variant, shares in zip(found["variants"], found["agreement"], strict=True):
        share = percent(variant["kept"] / found["rows"]) if found["rows"] else "–"
        table.add_row(plain(variant["name"], 60), f"{variant['kept']:,}", share, *map(percent, shares))
    console.print()
    console.print(table)
    if not found["changes"]:
        console.print(
            "\nEvery row has the same verdict under all of them." if found["rows"] else "\nNo row was judged."
        )
        return
    table = _table("kept by", "rejected by", "reason", "because of", ">rows", "keeps", "rejects", "for example")
    for change in found["changes"]:
        example = change["examples"][0]["id"] if change["examples"] else ""
        table.add_row(
            plain(change["kept_by"], 40),
            plain(change["rejected_by"], 40),
            change["reason"],
            _CAUSES[change["cause"]],
            f"{change['count']:,}",
            _span(change["kept_at"]),
            _span(change["rejected_at"]),
            plain(example, 40),
        )
    console.print()
    console.print(table)


def _span(span: tuple[float, float] | None) -> str:
    """The range of what a variant measured of the rows in a cell."""
    if span is None:
        return ""
    low, high = (f"{value:.4g}" for value in span)
    return low if low == high else f"{low} to {high}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left")
    return table
