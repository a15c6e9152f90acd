"""Where preference data comes from: a file of rows, read with the tokenizer of the model that the run starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from model.config import TrainConfig
from model.data.dataset import DatasetInfo
from model.data.tokenizer import Prompts, load_tokenizer
from model.interop import newest_checkpoint
from model.interop.checkpoint import read_config
from schemas.errors import RecipeError, SluiceError


def described_preferences(config: TrainConfig, files: Sequence[Path]) -> DatasetInfo:
    """What a run must know of a file of pairs or tasks; `shards` is the file.

    Raises RecipeError without a model to start from, SluiceError when the file or the model cannot be read.
    """
    use = config.objective.use
    if not config.init:
        raise RecipeError(
            f"training configuration: objective.use {use} starts from a model that has learned to answer; "
            "set `init` to the folder of one"
        )
    if len(files) != 1:
        raise SluiceError(f"objective.use {use} reads one file of rows, {len(files)} were given; put them into one")
    (path,) = files
    if path.is_dir():
        raise SluiceError(
            f"{path} is a folder; objective.use {use} reads a file of rows, JSON lines or Parquet (docs/preferences.md)"
        )
    model = newest_checkpoint(Path(config.init))
    shape = read_config(model)
    return DatasetInfo(
        folder=path,
        # a run goes on from its own start alone: the reference is what it was
        fingerprint=f"{_digest(path)}+{model.name}",
        tokenizer_fingerprint=_digest(model / "tokenizer.json"),
        sequence_length=config.objective.max_tokens,
        vocab_size=shape.text.vocab_size,
        special=shape.special,
        image=shape.image,
        tokenizer=model,
        shards=(path,),
    )


def prompts_of(info: DatasetInfo) -> Prompts:
    """What renders the rows; raises SluiceError when the tokenizer cannot be read."""
    return Prompts(load_tokenizer(info.tokenizer), info.special, info.image)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError as error:
        raise SluiceError(f"{path} cannot be read: {error.strerror}") from error
