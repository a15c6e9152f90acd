"""A small multimodal corpus with known faults, and a recipe over it."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from pathlib import Path
from typing import Any

from pipeline.recipe import resolve
from schemas.recipe import Recipe
from tests.fixtures import media_fixture

NOUNS = ["river", "mountain", "library", "engine", "garden", "harbour", "letter", "window", "winter", "market"]
VERBS = ["holds", "follows", "leaves", "remembers", "carries", "watches", "changes", "opens", "measures", "crosses"]
ADJECTIVES = ["quiet", "narrow", "early", "green", "broken", "patient", "distant", "heavy", "plain", "sudden"]


def document(rng: random.Random, sentences: int) -> str:
    """Sentences of an invented but wordlike kind, distinct between documents."""

    def sentence() -> str:
        a, b = rng.choice(ADJECTIVES), rng.choice(ADJECTIVES)
        n, m = rng.choice(NOUNS), rng.choice(NOUNS)
        return f"The {a} {n} {rng.choice(VERBS)} the {b} {m} and {rng.choice(VERBS)} it {rng.randint(2, 99)} times."

    return " ".join(sentence() for _ in range(sentences))


def write_corpus(folder: Path, documents: int = 240) -> dict[str, int]:
    """Writes the corpus; returns the number of input rows of each dataset, counted while writing."""
    rng = random.Random(5)
    rows = {"text": 0, "plain": 0, "media": 0}
    (folder / "text").mkdir(parents=True)
    (folder / "media").mkdir()
    texts = [document(rng, rng.randint(4, 30)) for _ in range(documents)]
    for k in range(0, documents, 20):
        texts[k] = texts[k // 2 + 1]  # exact duplicates
    for k in range(7, documents, 40):
        texts[k] = texts[k - 5] + " One more sentence stands here."  # near duplicates of long documents
    for file in range(3):
        lines = []
        for k in range(file, documents, 3):
            lines.append(json.dumps({"id": f"doc-{k}", "text": texts[k], "lang": "en", "n": k}).encode())
        lines.insert(5, b'{"id": "broken", "text": "no end')
        lines.insert(9, b'{"id": "no-text"}')
        lines.insert(11, b'{"id": "bytes", "text": "\xff\xfe"}')
        rows["text"] += len(lines)
        target = folder / "text" / f"part-{file}.jsonl.gz"
        target.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", mtime=0))
    plain = [json.dumps({"text": document(rng, 12)}).encode() for _ in range(60)]
    (folder / "text" / "plain.jsonl").write_bytes(b"\n".join(plain) + b"\n")
    rows["plain"] = len(plain)
    names = ["png", "jpeg", "webp", "png", "jpeg_truncated", "text_as_jpg"]
    sounds = ["wav", "flac", "wav_silent"]
    with tarfile.open(folder / "media" / "pairs.tar", "w") as tar:
        for k, name in enumerate(names + sounds):
            kind = "wav" if name.startswith("wav") else "flac" if name == "flac" else "jpg"
            _member(tar, f"{k:04d}.{kind}", media_fixture(name))
            _member(tar, f"{k:04d}.txt", f"number {k} in words".encode())
            rows["media"] += 1
    return rows


def _member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def recipe_dict(corpus: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """The recipe over `write_corpus`'s files: every kind of step, several units and shards."""
    return {
        "recipe": 1,
        "name": "small",
        "inputs": [
            {"use": "jsonl", "with": {"paths": f"{corpus}/text/*.jsonl.gz", "name": "text"}},
            {"use": "jsonl", "with": {"paths": f"{corpus}/text/*.jsonl", "name": "plain"}},
            {"use": "webdataset", "with": {"paths": f"{corpus}/media", "name": "media"}},
        ],
        "steps": [
            {"use": "text.normalize"},
            {"use": "image.decode"},
            {"use": "audio.decode"},
            {"use": "audio.silence"},
            {"use": "text.exact_dedup"},
            {"use": "media.exact_dedup"},
            {"use": "select.sample", "with": {"fraction": 0.95}, "when": {"modality": "text"}},
            {"use": "text.minhash_dedup", "with": {"ngram": 3, "verify": {"jaccard": 0.8}}},
        ],
        "tokens": {
            "tokenizer": {"train": {"vocab_size": 600}},
            "sequence_length": 256,
            "image": {"min_pixels": 1024, "max_pixels": 65536},
        },
        "output": {"path": str(out), "shard_tokens": 8192},
        "unit_bytes": 4096,
    } | changes


def small_recipe(corpus: Path, out: Path, **changes: Any) -> Recipe:
    """`recipe_dict`, resolved."""
    return resolve(recipe_dict(corpus, out, **changes))


def shard_digests(folder: Path) -> list[str]:
    """The digests the manifest names for the token shards, in order."""
    return [entry["sha256"] for entry in json.loads((folder / "manifest.json").read_bytes())["shards"]]
