"""The run's tokenizer: trained on the rows the recipe keeps, or loaded; saved where every worker can read it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from pipeline.recipe import digest
from pipeline.rows import survivors
from pipeline.storage import write_bytes
from schemas.chat import TURN
from schemas.recipe import Recipe, TokenizerSpec
from schemas.sample import SENTINEL
from transforms.select.sample import draw
from transforms.tokens.tokenizer import Tokenizer
from transforms.tokens.train import train_bpe


def prepare_tokenizer(recipe: Recipe, kept: list[tuple[str, str | None]], work: Path, made_from: str) -> str:
    """The folder of the run's tokenizer, named by its fingerprint.

    `kept` are (kept file, drops file) of every unit, what training reads; `made_from` names their content, so that a
    rerun finds the tokenizer it trained.
    """
    spec = recipe.tokens.tokenizer
    if isinstance(spec, TokenizerSpec):
        marker = work / "tokenizer" / f"trained-{digest([spec.model_dump(), recipe.seed, made_from])}"
        if marker.exists():
            return str(work / "tokenizer" / marker.read_text())
        texts = training_texts(kept, spec.train.max_bytes, recipe.seed)
        some = next((text for text in texts if text.strip()), None)
        # a run that keeps no text still owes its ledger: it gets the tokenizer that needs no training
        tokenizer = (
            Tokenizer.load("bytes")
            if some is None
            else train_bpe(chain([some], texts), spec.train.vocab_size, spec.train.min_frequency)
        )
        folder = _save(tokenizer, work)
        write_bytes(marker, folder.name.encode())
        return str(folder)
    return str(_save(Tokenizer.load(spec), work))


def _save(tokenizer: Tokenizer, work: Path) -> Path:
    folder = work / "tokenizer" / tokenizer.fingerprint[:32]
    tokenizer.save(folder)
    return folder


def training_texts(kept: list[tuple[str, str | None]], max_bytes: int, seed: int) -> Iterator[str]:
    """Texts to train on: all of them, or when they exceed `max_bytes` those with the smallest hash(seed, source), so
    that the choice does not depend on the order of files. At least one text is taken, however long."""
    sizes = np.concatenate([_draws(path, drops, seed) for path, drops in kept] or [np.empty((0, 2), np.uint64)])
    limit = None
    if sizes[:, 1].sum() > max_bytes:
        ordered = sizes[np.argsort(sizes[:, 0], kind="stable")]
        fit = int(np.searchsorted(np.cumsum(ordered[:, 1]), max_bytes, side="right"))
        limit = ordered[max(fit, 1) - 1, 0]
    for path, drops in kept:
        for part in survivors(path, drops):
            columns = (part.batch.column(name).to_pylist() for name in ("source", "text"))
            for source, text in zip(*columns, strict=True):
                if limit is None or draw(source, seed) <= limit:
                    # what joins the turns of a conversation is nothing a model reads
                    yield text.replace(SENTINEL, "").replace(f"\n{TURN}\n", SENTINEL)


def _draws(path: str, drops: str | None, seed: int) -> np.ndarray:
    """A unit's rows as (hash, bytes of text), uint64 [rows, 2]."""
    found = [np.empty((0, 2), np.uint64)]
    for part in survivors(path, drops):
        drawn = [draw(source, seed) for source in part.batch.column("source").to_pylist()]
        sizes = pc.binary_length(part.batch.column("text")).to_numpy(zero_copy_only=False)
        found.append(np.stack([np.asarray(drawn, np.uint64), sizes.astype(np.uint64)], axis=1))
    return np.concatenate(found)
