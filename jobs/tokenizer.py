"""`sluice tokenizer`: byte-level BPE from text files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.reading import open_files, read_texts
from pipeline.storage import check_writable
from transforms.tokens.train import train_bpe

app = typer.Typer(help="Train tokenizers.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def tokenizer() -> None:
    """Train tokenizers."""


@app.command()
def train(
    paths: Annotated[list[str], typer.Argument(help="Files, folders or globs to read.")],
    out: Annotated[Path, typer.Option("--out", help="The folder to write tokenizer.json to.")],
    source: Annotated[str, typer.Option(help="Their format: jsonl, parquet, arrow, text or webdataset.")] = "jsonl",
    column: Annotated[str | None, typer.Option(help="The text column, when it is not called text.")] = None,
    vocab_size: Annotated[int, typer.Option(min=300, help="Entries, special tokens included.")] = 32768,
    min_frequency: Annotated[int, typer.Option(min=1, help="Pairs seen less often are not merged.")] = 2,
) -> None:
    """Train a byte-level BPE tokenizer on raw text and save it for recipes and the model."""
    check_writable(out / "tokenizer.json")
    made = train_bpe(read_texts(open_files(paths, source, column)), vocab_size, min_frequency)
    made.save(out)
    print(f"{out}: {made.vocab_size:,} entries, fingerprint {made.fingerprint[:12]}")
