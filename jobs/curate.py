"""`sluice curate`: a recipe over its inputs, into a dataset."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from jobs.leave import leaving_on_interrupt
from jobs.progress import RunProgress
from schemas.errors import SluiceError
from schemas.index import read_index
from schemas.manifest import Counts


def curate(
    recipe: Annotated[str, typer.Argument(help="The recipe, a YAML file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value: tokens.sequence_length=512, steps.text.language.min_score=0.5."),
    ] = None,
    out: Annotated[str | None, typer.Option("--out", help="The dataset's folder, instead of the recipe's.")] = None,
    runner: Annotated[str, typer.Option(help="direct, prism, flink, spark, dataflow or portable.")] = "direct",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes of a direct run [default: all cores].")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a dataset of another recipe.")] = False,
    against: Annotated[
        str | None,
        typer.Option(
            help="A dedup index, made if it is not there: what it holds is dropped from this data, what this run keeps "
            "is added to it."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest's counts as JSON.")] = False,
    flags: Annotated[list[str] | None, typer.Argument(help="After --: flags for the Beam runner.")] = None,
) -> None:
    """Run RECIPE: read, judge, deduplicate, tokenize, pack; explain every dropped row.

    Killed or stopped, the same command goes on where it was. Finished, it has nothing to do and says so.
    """
    # worker processes import this module too: Beam stays out of them
    from pipeline.curate import curate as run_recipe
    from pipeline.graph import Launcher
    from pipeline.recipe import load_recipe
    from pipeline.runners import runner_name
    from transforms.kernels.compiled import kernels_cached

    runner_name(runner)
    places = list(overrides or [])
    if out is not None:
        places.append(f"output.path={out}")
    launcher = Launcher(runner, workers or os.cpu_count() or 1, list(flags or []))
    console = Console(stderr=True)
    resolved = load_recipe(recipe, places)
    if resolved.output.path.startswith("~"):
        raise SluiceError(f"output.path {resolved.output.path!r}: write the folder out; ~ is not expanded in a recipe")
    compiling = "first run here: text kernels are compiled, which takes a minute once"
    with (
        RunProgress(console, opening=None if kernels_cached() else compiling) as progress,
        leaving_on_interrupt(progress.stop),
    ):
        result = run_recipe(resolved, launcher, overwrite=overwrite, listener=progress, index=against)
    if as_json:
        print(result.manifest.counts.model_dump_json())
    elif result.unchanged:
        print(f"{result.folder} is up to date: same recipe, same input; nothing to do.")
    else:
        _summary(result.manifest.counts, len(result.manifest.shards), str(result.folder / "report.html"), against)


def _summary(counts: Counts, shards: int, report: str, index: str | None) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    rows = [
        ("rows in", counts.rows_in),
        ("rows kept", counts.rows_kept),
        ("rows rejected", counts.rows_rejected),
        ("media parts removed", counts.parts_rejected_total),
        ("tokens", counts.tokens),
        ("sequences", counts.sequences),
    ]
    for name, value in rows:
        table.add_row(name, f"{value:,}")
    table.add_row("padding", f"{counts.padding_ratio:.2%}")
    table.add_row("shards", f"{shards}")
    table.add_row("report", report)
    if index is not None:
        found = read_index(index)
        table.add_row(
            "index", f"{index}: {len(found.segments)} runs, {sum(f.num_entries for f in found.files):,} entries"
        )
    Console().print(table)
