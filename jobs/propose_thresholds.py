"""`sluice propose-thresholds --good FILES --bad FILES`: filters from a high-quality and a low-quality corpus."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.reading import local_steps, open_files, read_all
from pipeline.recipe import load_recipe
from pipeline.report.display import percent, plain, safe_json
from pipeline.thresholds import Measured, chosen_steps, find_proposals, measure, metric_names, snippet, together
from transforms.select.proposal import Proposal


def propose_thresholds(
    good: Annotated[list[str], typer.Option("--good", help="High-quality files, folders or globs; repeatable.")],
    bad: Annotated[list[str], typer.Option("--bad", help="Low-quality ones.")],
    steps: Annotated[str | None, typer.Option(help="A recipe whose steps' numbers are metrics too.")] = None,
    max_good_loss: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of the good that a cut may remove [default: best Youden index]."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Proposals to print.")] = 20,
    steps_out: Annotated[int, typer.Option("--num-steps", min=1, help="Steps in the recipe snippet.")] = 5,
    max_rows: Annotated[int, typer.Option(min=2, help="Documents to measure of each corpus.")] = 50_000,
    num_resamples: Annotated[int, typer.Option("--resamples", min=20, help="Bootstrap resamples.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the sample and the bootstrap.")] = 17,
    source: Annotated[str | None, typer.Option(help="The files' format [default: by their names].")] = None,
    column: Annotated[str | None, typer.Option(help="The text column, when it is not called text.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Rank all metrics by how far apart they set two corpora, propose a threshold for each, and the steps to paste."""
    before = [] if steps is None else local_steps(load_recipe(steps).steps)
    metrics = metric_names(before)
    measured = {
        name: measure(read_all([open_files(files, source, column)]), before, metrics, max_rows, seed)
        for name, files in (("good", good), ("bad", bad))
    }
    found = find_proposals(
        measured["good"],
        measured["bad"],
        metrics,
        max_good_loss=max_good_loss,
        num_resamples=num_resamples,
        seed=seed,
    )
    chosen = chosen_steps(found, steps_out)
    removed = {name: together(chosen, corpus, metrics) for name, corpus in measured.items()}
    if as_json:
        corpora = {name: {"rows": c.rows_read, "measured": len(c.keys)} for name, c in measured.items()}
        result = {
            "corpora": corpora,
            "proposals": [asdict(proposal) for proposal in found],
            "steps": snippet(chosen),
            "steps_remove": removed,
        }
        typer.echo(safe_json(result))
    else:
        _print(measured, found[:top], chosen, removed)


def _print(
    measured: dict[str, Measured], shown: list[Proposal], chosen: list[Proposal], removed: dict[str, float]
) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=160)
    sizes = ", ".join(f"{len(c.keys):,} of {c.rows_read:,} {name} documents" for name, c in measured.items())
    console.print(Text(sizes, style="bold"))
    if not shown:
        console.print("No metric parts the two corpora.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("metric", "keep", "threshold", "distance", "good removed", "bad removed"):
        table.add_column(name, justify="left" if name in ("metric", "keep") else "right")
    for proposal in shown:
        low, high = proposal.intervals["threshold"]
        table.add_row(
            plain(proposal.metric, 60),
            "at least" if proposal.bound == "min" else "at most",
            f"{proposal.threshold:.6g} ({low:.4g} to {high:.4g})",
            f"{proposal.distance:.3f} ({_numbers(proposal, 'distance')})",
            f"{percent(proposal.good_removed)} ({_shares(proposal, 'good_removed')})",
            f"{percent(proposal.bad_removed)} ({_shares(proposal, 'bad_removed')})",
        )
    console.print()
    console.print(table)
    rates = f"{percent(removed['good'])} of the good, {percent(removed['bad'])} of the bad"
    console.print(f"\n# the best {len(chosen)}, each signal once; together they remove {rates}", soft_wrap=True)
    console.print(snippet(chosen), end="", soft_wrap=True)


def _numbers(proposal: Proposal, name: str) -> str:
    low, high = proposal.intervals[name]
    return f"{low:.3f} to {high:.3f}"


def _shares(proposal: Proposal, name: str) -> str:
    low, high = proposal.intervals[name]
    return f"{percent(low)} to {percent(high)}"
