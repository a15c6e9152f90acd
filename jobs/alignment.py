"""`sluice alignment train RECIPE`: the lexicon that pair.score reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.alignment import train_lexicon
from pipeline.recipe import load_recipe
from pipeline.storage import check_writable

app = typer.Typer(help="Score pairs of translations.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def alignment() -> None:
    """Score pairs of translations."""


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe with a step pair.score.")],
    out: Annotated[Path, typer.Option("--out", help="The lexicon to write.")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Change a value of the recipe.")] = None,
    max_pairs: Annotated[int, typer.Option(min=1, help="Pairs to learn from, chosen by hash.")] = 200_000,
) -> None:
    """Learn a lexicon (IBM Model 1, both directions) from the pairs that RECIPE's steps before pair.score keep."""
    check_writable(out)
    made = train_lexicon(load_recipe(recipe, overrides), out, max_pairs)
    print(
        f"{out}: {made.translations:,} translations from {made.learned_from:,} pairs"
        f" ({made.rows:,} rows read, {made.pairs:,} kept)"
    )
