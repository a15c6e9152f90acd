"""The run's tokenizer: trained on the rows the recipe keeps, or loaded; saved where every worker can read it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import xxhash

from pipeline.recipe import digest
from pipeline.rows import survivors
from pipeline.storage import write_bytes
from schemas.recipe import Recipe, TokenizerSpec
from schemas.sample import SENTINEL
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
    """Texts to train on: all of them, or when they exceed `max_bytes` those with the smallest hash(seed, id), so
    that the choice does not depend on the order of files."""
    sizes: list[tuple[int, int]] = []
    for path, drops in kept:
        for part in survivors(path, drops):
            ids = part.batch.column("id").to_pylist()
            texts = part.batch.column("text").to_pylist()
            sizes += [(_draw(seed, i), len(t.encode())) for i, t in zip(ids, texts, strict=True)]
    limit = 2**64
    if sum(size for _, size in sizes) > max_bytes:
        taken = 0
        for draw, size in sorted(sizes):
            taken += size
            if taken > max_bytes:
                limit = draw
                break
    for path, drops in kept:
        for part in survivors(path, drops):
            for name, text in zip(
                part.batch.column("id").to_pylist(), part.batch.column("text").to_pylist(), strict=True
            ):
                if _draw(seed, name) < limit:
                    yield text.replace(SENTINEL, "")


def _draw(seed: int, name: str) -> int:
    return int(xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogatepass"), seed=seed % 2**64))
