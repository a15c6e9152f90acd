"""`sluice`: one entry point. Commands are thin: read the arguments, call, print, exit code."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import psutil
import typer
from rich.console import Console

from jobs import curate, explain, generate, preflight, report, tokenizer, train, transforms
from jobs.sample import command as sample
from schemas.errors import SluiceError

app = typer.Typer(
    name="sluice",
    help="Raw text, images and audio in; packed Arrow token shards out; every dropped row explained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(sample.sample)
app.command()(curate.curate)
app.command()(report.report)
app.command()(explain.explain)
app.command("transforms")(transforms.transforms)
app.add_typer(tokenizer.app, name="tokenizer")
app.command()(train.train)
app.command()(generate.generate)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, and Beam's log.")] = False,
) -> None:
    """Options of every command."""
    logging.getLogger().setLevel(logging.INFO if debug else logging.ERROR)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def main() -> None:
    """Runs the command line; an error a person can mend is one paragraph and exit code 1."""
    debug = "--debug" in sys.argv
    logging.getLogger().setLevel(logging.INFO if debug else logging.ERROR)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        preflight.check()
        app()
    except SluiceError as error:
        if debug:
            raise
        errors.print(f"[bold red]error:[/] {_escape(str(error))}")
        _leave(1)
    except KeyboardInterrupt:
        errors.print("\nstopped. What was finished is kept: run the same command again to go on from there.")
        _leave(130)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")


def _leave(code: int) -> None:
    """Ends the process and its workers now: Beam's threads would otherwise wait for work that is no longer wanted."""
    sys.stdout.flush()
    sys.stderr.flush()
    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.Error:
            continue
    os._exit(code)


if __name__ == "__main__":
    main()
