"""`sluice`: one entry point. Commands are thin: read the arguments, call, print, exit code.

Worker processes import this module again, so the commands are only imported when the command line runs.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from schemas.errors import SluiceError


def build_app() -> typer.Typer:
    """The command line with all its commands."""
    from jobs import (
        ablate,
        alignment,
        classifier,
        clusters,
        curate,
        diff_presets,
        evaluate,
        explain,
        export,
        forget,
        generate,
        ngram,
        propose_thresholds,
        quantize,
        report,
        tokenizer,
        train,
        transforms,
    )
    from jobs.sample import command as sample

    app = typer.Typer(
        name="sluice",
        help="Raw text, images and audio in; packed Arrow token shards out; every dropped row explained.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(options)
    app.command()(sample.sample)
    app.command()(curate.curate)
    app.command()(report.report)
    app.command()(explain.explain)
    app.command()(forget.forget)
    app.command("diff-presets")(diff_presets.diff_presets)
    app.command("propose-thresholds")(propose_thresholds.propose_thresholds)
    app.command("transforms")(transforms.transforms)
    app.add_typer(alignment.app, name="alignment")
    app.add_typer(tokenizer.app, name="tokenizer")
    app.add_typer(classifier.app, name="classifier")
    app.add_typer(clusters.app, name="clusters")
    app.add_typer(ngram.app, name="ngram")
    app.command()(train.train)
    app.command()(generate.generate)
    app.command()(quantize.quantize)
    app.command()(export.export)
    app.command("eval")(evaluate.evaluate)
    app.command()(ablate.ablate)
    return app


def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, and Beam's log.")] = False,
) -> None:
    """Options of every command."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def main() -> None:
    """Runs the command line; an error a person can mend is one paragraph and exit code 1."""
    from jobs import leave, preflight

    debug = "--debug" in sys.argv
    logging.getLogger().setLevel(logging.INFO if debug else logging.CRITICAL)
    try:
        preflight.check()
        build_app()()
    except SluiceError as error:
        if debug:
            raise
        leave.say("[bold red]error:[/] ", str(error))
        leave.leave(1)
    except BrokenPipeError:  # whoever read the output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        leave.leave(1)
    except OSError as error:
        if debug:
            raise
        where = f" ({error.filename})" if error.filename else ""
        leave.say("[bold red]error:[/] ", f"{error.strerror or error}{where}; nothing unfinished was kept as a result")
        leave.leave(1)
    except KeyboardInterrupt:
        leave.stopped()


if __name__ == "__main__":
    main()
