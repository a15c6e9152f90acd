"""`sluice classifier`: fastText classifiers of text, for quality, toxicity or any other pair of labels."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from jobs.progress import RunProgress
from pipeline.classifier import Corpus, classifier_from_files
from pipeline.reading import open_files, unread_lines
from pipeline.storage import check_writable
from schemas.errors import SluiceError
from transforms.registry import parse_params
from transforms.text.classifier import ClassifierParams
from transforms.text.classifier_report import Report

app = typer.Typer(help="Train fastText classifiers of text.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def classifier() -> None:
    """Train fastText classifiers of text."""


@app.command()
def train(
    positive: Annotated[list[str], typer.Option(help="Files, folders or globs of texts to keep; may be repeated.")],
    negative: Annotated[list[str], typer.Option(help="The same of ordinary or bad texts.")],
    out: Annotated[Path, typer.Option(help="The model file to write: .bin, which any fastText opens.")],
    source: Annotated[
        str | None,
        typer.Option(help="Their format: jsonl, parquet, arrow, text, …; default: by their names."),
    ] = None,
    column: Annotated[str | None, typer.Option(help="The text column, when it is not called text.")] = None,
    labels: Annotated[str, typer.Option(help="What to call the two, without __label__.")] = "hq,cc",
    max_rows: Annotated[int, typer.Option(min=2, help="Rows of either label, at most (DCLM: 200,000).")] = 200_000,
    dim: Annotated[int, typer.Option(help="Numbers in a vector.")] = 100,
    epochs: Annotated[int, typer.Option(help="Passes over the rows.")] = 5,
    lr: Annotated[
        float, typer.Option(help="Learning rate at the start; it falls to 0. A few thousand rows want 1.")
    ] = 0.1,
    word_ngrams: Annotated[int, typer.Option(help="Longest n-gram of words that is a feature; 2: bigrams.")] = 2,
    buckets: Annotated[
        int, typer.Option(help="Vectors that n-grams share by hash; the file has (words + buckets) * dim * 4 bytes.")
    ] = 2_000_000,
    min_count: Annotated[int, typer.Option(help="Words seen less often have no vector of their own.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the draw of rows, their order, and the first vectors.")] = 17,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Train a two-label fastText classifier, hold out a tenth of the rows, and report on them.

    As many rows of either label are drawn by hash(seed, id) as the other has. The same files and options give the same
    bytes. Apply it with the transform text.fasttext_score, and decide with select.range.
    """
    params = parse_params(
        ClassifierParams,
        {"dim": dim, "epochs": epochs, "lr": lr, "word_ngrams": word_ngrams, "buckets": buckets}
        | {"min_count": min_count, "seed": seed},
    )
    names = _two(labels)
    check_writable(out)
    corpora = [
        Corpus(name, open_files(paths, source, column)) for name, paths in zip(names, (positive, negative), strict=True)
    ]
    with RunProgress(Console(stderr=True)) as listener:
        found = classifier_from_files((corpora[0], corpora[1]), params, max_rows, out, listener)
    if as_json:
        print(json.dumps(asdict(found.report) | {"unread": found.unread}))
    else:
        print("\n".join([*unread_lines(found.unread), *_summary(out, found.report)]))


def _two(labels: str) -> tuple[str, str]:
    """Two different words."""
    names = labels.split(",")
    if len(names) != 2 or names[0] == names[1] or any(name.split() != [name] for name in names):
        raise SluiceError(f"--labels {labels!r}: give two different words, the positive one first, as in hq,cc")
    return names[0], names[1]


def _summary(out: Path, found: Report) -> list[str]:
    lines = [
        f"{out}: {out.stat().st_size:,} bytes; held out {found.num_positive:,} + {found.num_negative:,} rows,"
        f" ROC AUC {found.auc:.4f}",
        "score >=   precision  recall",
    ]
    for at in found.at:
        precision = "-" if at.precision is None else f"{at.precision:.4f}"
        lines.append(f"{at.threshold:<10g} {precision:<10} {at.recall:.4f}")
    lines.append("to keep of the negatives   score >=")
    lines += [f"{f'{percent} %':<26} {threshold:.6f}" for percent, threshold in found.keep_percent.items()]
    return lines
