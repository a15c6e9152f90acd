"""`sluice ablate`: which recipe made better data, by the models trained on it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.leave import leaving_on_interrupt
from jobs.progress import RunProgress
from schemas.errors import SluiceError

#: tokens an arm trains on when nobody says: what the smallest dataset holds, and at most this many
_MAX_DEFAULT_TOKENS = 2_000_000
#: comparisons whose groups are printed too; of more than this, the page has them
_MAX_DETAILED = 3


def ablate(
    recipes: Annotated[
        list[str], typer.Argument(help="Recipes to compare; the first one's tokens section is for all.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The experiment's folder; run again, it goes on where it was.")],
    heldout: Annotated[
        list[str],
        typer.Option(
            help="Documents to judge by: files, folders or globs, repeatable; or one recipe that chooses them."
        ),
    ],
    raw: Annotated[bool, typer.Option("--raw", help="Also the first recipe without its filters.")] = False,
    leave_one_out: Annotated[
        bool, typer.Option("--leave-one-out", help="One recipe: raw, and the recipe without each of its filters.")
    ] = False,
    step: Annotated[
        list[str] | None, typer.Option(help="With --leave-one-out: only this filter, by name or number; repeatable.")
    ] = None,
    train: Annotated[Path | None, typer.Option("--train", help="The proxy's training configuration [nano].")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens each model is trained on.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Models an arm.")] = 3,
    tokenizer: Annotated[str | None, typer.Option(help="For all arms [the first recipe's own].")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Change a value in every recipe, as in curate.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that curate [all cores].")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads that train [physical cores].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print ablate.json, and nothing else.")] = False,
) -> None:
    """Curate each of RECIPES, train the same small models on their data, and compare them on held-out documents."""
    from jobs.ablation.arms import leave_one_out as without_each
    from jobs.ablation.arms import named_arms
    from pipeline.recipe import load_recipe

    if leave_one_out and len(recipes) > 1:
        raise SluiceError("--leave-one-out takes one recipe apart; give one")
    if step and not leave_one_out:
        raise SluiceError("--step names the filters of --leave-one-out; give that too")
    if len(recipes) == 1 and not (raw or leave_one_out):
        raise SluiceError("one recipe has nothing to be compared with: give another, --raw or --leave-one-out")
    out = out.absolute()
    loaded = [load_recipe(path, overrides) for path in recipes]
    arms = without_each(loaded[0], step or []) if leave_one_out else named_arms(loaded, with_raw=raw)
    given = _configuration(train)
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    for label, why in arms.skipped:
        console.print(f"{label} cannot be left out: {why}", soft_wrap=True)
    data = _curated(arms, heldout, tokenizer, out, workers or os.cpu_count() or 1, console)
    found = _trained(data, given, tokens, seeds, out, threads, console)
    found |= {"skipped": [{"step": label, "why": why} for label, why in arms.skipped]}
    page = _write(found, out)
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        print_result(found, page)


def _configuration(path: Path | None) -> tuple[dict[str, Any], str]:
    from jobs.ablation.training import PROXY
    from jobs.train import _read

    return (PROXY, "the proxy's configuration") if path is None else (_read(path), str(path))


def _curated(arms: Any, heldout: list[str], tokenizer: str | None, out: Path, workers: int, console: Console) -> Any:
    """The data; Beam is loaded here and torch after it, so that workers are forked before torch's threads are there."""
    from jobs.ablation.data import prepare
    from pipeline.curate import curate as run_recipe
    from pipeline.graph import Launcher
    from transforms.kernels.compiled import kernels_cached

    compiling = None if kernels_cached() else "first run here: text kernels are compiled, which takes a minute once"

    def curate(recipe: Any, title: str) -> None:
        console.print(title)
        with RunProgress(console, opening=compiling) as progress, leaving_on_interrupt(progress.stop):
            run_recipe(recipe, Launcher("direct", workers), overwrite=True, listener=progress)

    if tokenizer is not None and Path(tokenizer).exists():
        tokenizer = str(Path(tokenizer).absolute())
    return prepare(arms, heldout, tokenizer, out, curate)


def _trained(
    data: Any,
    given: tuple[dict[str, Any], str],
    tokens: int | None,
    seeds: int,
    out: Path,
    threads: int | None,
    console: Console,
) -> dict[str, Any]:
    from jobs.ablation.result import result
    from jobs.ablation.training import Budget, Trainer, configuration
    from jobs.train import _Interrupt, import_model
    from pipeline.outputs import locked

    modules = import_model()
    modules.torch.set_num_threads(threads or psutil.cpu_count(logical=False) or 1)
    config = configuration(*given, modules)
    smallest = min(arm.manifest.counts.tokens for arm in data.arms)
    budget = Budget(tokens or min(smallest, _MAX_DEFAULT_TOKENS), config.batch_sequences * config.accumulate)
    chosen = [config.seed + number for number in range(seeds)]

    def say(line: str) -> None:
        console.print(line, soft_wrap=True)

    with locked(out / "runs"), _Interrupt() as interrupt:
        trainer = Trainer(modules, config, budget, data.held_out, out, say, lambda: interrupt.asked)
        trained = [trainer.train(arm, chosen) for arm in data.arms]
    return result(trained, budget, chosen, data.facts, {"model": config.model, "configuration": given[1]})


def _write(found: dict[str, Any], out: Path) -> Path:
    from jobs.ablation.page import render
    from pipeline.report.display import safe_json
    from pipeline.storage import write_bytes

    write_bytes(out / "ablate.json", (safe_json(found) + "\n").encode())
    page = out / "ablate.html"
    write_bytes(page, render(found).encode())
    return page


def print_result(found: dict[str, Any], page: Path) -> None:
    """The arms, and how they differ, in a terminal."""
    from jobs.ablation.result import verdict
    from pipeline.report.display import plain

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=140)
    held_out = found["held_out"]
    console.print(
        f"{held_out['documents']:,} held-out documents; {len(found['seeds'])} models an arm, each trained on about "
        f"{found['budget_tokens']:,} tokens. Of the recipes' inputs, {held_out['same_id']:,} rows with the id of a "
        f"held-out document and {held_out['alike']:,} alike were taken out."
    )
    table = _table("arm", ">rows kept", ">tokens", ">epochs", ">loss", ">over seeds", ">bits/byte")
    for arm in found["arms"]:
        deviation = "–" if arm["loss_deviation"] is None else f"±{arm['loss_deviation']:.4f}"
        bits = "–" if arm["bits_per_byte"] is None else f"{arm['bits_per_byte']:.4f}"
        kept = f"{arm['rows_kept']:,} of {arm['rows_in']:,}"
        seen = (f"{arm['dataset_tokens']:,}", f"{arm['epochs']:.2f}")
        table.add_row(Text(plain(arm["name"], 60)), kept, *seen, f"{arm['loss']:.4f}", deviation, bits)
    console.print()
    console.print(table)
    for against in dict.fromkeys(comparison["against"] for comparison in found["comparisons"]):
        columns = (">difference", ">95 % over seeds (t)", ">95 % over seeds and documents", "")
        table = _table(f"loss minus that of {plain(against, 60)}", "", *columns)
        for comparison in found["comparisons"]:
            if comparison["against"] == against:
                shown = comparison["groups"] if len(found["comparisons"]) <= _MAX_DETAILED else comparison["groups"][:1]
                for group in shown:
                    name = "" if group["kind"] == "all" else f"{group['kind']} {plain(group['name'], 30)}"
                    arm = Text(plain(comparison["arm"], 60)) if group["kind"] == "all" else Text("")
                    table.add_row(arm, name, *_told(group), verdict(group))
        console.print()
        console.print(table)
    console.print("\nBelow 0: the arm's models foretell the held-out documents better. Nats a token.")
    console.print(Text(plain(str(page), 400)), soft_wrap=True)


def _told(group: dict[str, Any]) -> tuple[str, str, str]:
    ranges = [
        "–" if found is None else f"{found['low']:+.4f} to {found['high']:+.4f}"
        for found in (group["over_seeds"], group["over_both"])
    ]
    return (f"{group['mean']:+.4f}", *ranges)  # type: ignore[return-value]


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in columns:
        right = name.startswith(">")
        table.add_column(name.removeprefix(">"), justify="right" if right else "left", no_wrap=right)
    return table
