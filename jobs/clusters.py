"""`sluice clusters train RECIPE`: the centroids that embedding.semantic_dedup compares rows within."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.clusters import train_centroids
from pipeline.recipe import load_recipe
from pipeline.storage import check_writable

app = typer.Typer(help="Cluster embeddings.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def clusters() -> None:
    """Cluster embeddings."""


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe with a step embedding.semantic_dedup.")],
    out: Annotated[Path, typer.Option("--out", help="The centroids to write.")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Change a value of the recipe.")] = None,
    number: Annotated[int, typer.Option("--clusters", min=2, help="How many clusters to make.")] = 1000,
    max_rows: Annotated[int, typer.Option(min=2, help="Rows to learn from, chosen by hash.")] = 200_000,
) -> None:
    """Cluster (spherical k-means) the vectors of the rows that RECIPE's steps before the dedup keep."""
    check_writable(out)
    made = train_centroids(load_recipe(recipe, overrides), out, number, max_rows)
    print(
        f"{out}: {number:,} centroids of {made.learned_from:,} vectors"
        f" ({made.rows:,} rows read, {made.vectors:,} with a vector)"
    )
