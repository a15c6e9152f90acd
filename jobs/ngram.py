"""`sluice ngram`: n-gram language models, for the perplexity of texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from jobs.progress import RunProgress
from pipeline.ngram import ngram_from_files
from pipeline.reading import open_files, unread_lines
from pipeline.storage import check_writable
from schemas.errors import SluiceError
from transforms.registry import parse_params
from transforms.text.language_codes import code_of
from transforms.text.ngram_train import NgramParams

app = typer.Typer(help="Train n-gram language models.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def ngram() -> None:
    """Train n-gram language models."""


@app.command()
def train(
    paths: Annotated[list[str], typer.Argument(help="Files, folders or globs of good prose in one language.")],
    lang: Annotated[str, typer.Option(help="Its language, as text.lang will have it.")],
    out: Annotated[Path, typer.Option(help="The model file to write, Arrow.")],
    terciles_of: Annotated[
        list[str] | None,
        typer.Option(
            help="Ordinary texts whose thirds are head, middle and tail; default: a tenth of PATHS, held out."
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="Their format: jsonl, parquet, arrow, text, …; default: by their names."),
    ] = None,
    column: Annotated[str | None, typer.Option(help="The text column, when it is not called text.")] = None,
    order: Annotated[int, typer.Option(help="Words in the longest n-gram.")] = 3,
    min_word_count: Annotated[int, typer.Option(help="Words seen less often are unknown.")] = 2,
    min_ngram_count: Annotated[int, typer.Option(help="Rarer n-grams of three words and more are left out.")] = 2,
    max_bytes: Annotated[
        int, typer.Option(help="Text to read; beyond it rows are drawn by hash. Takes about 40 times as much memory.")
    ] = 64 * 2**20,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 17,
) -> None:
    """Train an n-gram model (interpolated modified Kneser-Ney) for the transform text.perplexity.

    The file also keeps the terciles of perplexity, where head ends and tail begins. The same files and options give the
    same bytes.
    """
    params = parse_params(
        NgramParams,
        {"order": order, "min_word_count": min_word_count, "min_ngram_count": min_ngram_count}
        | {"max_bytes": max_bytes, "seed": seed},
    )
    if not code_of(lang):
        raise SluiceError(f"--lang {lang!r}: give the language of the texts, such as en")
    check_writable(out)
    judged = None if terciles_of is None else open_files(terciles_of, source, column)
    with RunProgress(Console(stderr=True)) as listener:
        made = ngram_from_files(open_files(paths, source, column), judged, lang, params, out, listener)
    for line in unread_lines(made.unread):
        print(line)
    head, middle = made.cutoffs
    sizes = ", ".join(f"{size:,} {n}-grams" for n, size in enumerate(made.model.description.levels, 1))
    print(f"{out}: {sizes} of {made.num_tokens:,} tokens, {out.stat().st_size:,} bytes")
    print(f"of {made.num_judged:,} rows a third has a perplexity up to {head:.1f}, a third above {middle:.1f}")
