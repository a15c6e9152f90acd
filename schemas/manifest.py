"""The manifest: what a dataset is and how it was made. Written last and atomically: no manifest, no dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from schemas.errors import SchemaError
from schemas.recipe import ImageTokens
from schemas.versioned import read_versioned

MANIFEST_VERSION: Final = 1
MANIFEST_NAME = "manifest.json"


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ShardEntry(_Closed):
    """One token shard; `path` is relative to the manifest, `tokens` counts document tokens without padding."""

    path: str
    rows: int
    tokens: int
    bytes: int
    sha256: str


class LedgerEntry(_Closed):
    """One ledger file; `rows` counts its lines: input rows and removed media parts."""

    path: str
    rows: int
    bytes: int
    sha256: str


class TokenizerEntry(_Closed):
    """The tokenizer saved with the dataset; `path` is its folder, relative to the manifest."""

    path: str
    fingerprint: str
    vocab_size: int
    special_ids: dict[str, int]


class Counts(_Closed):
    """Recounted from the written ledger and shards, never carried over from counters.

    `rows_in` = `rows_kept` + `rows_rejected`. The `by_*` tables count kept rows: {value: {"rows": n, "tokens": n}}.
    `rejected` counts rejected rows and `parts_rejected` removed media parts: {step: {reason: n}}.
    """

    rows_in: int
    rows_kept: int
    rows_rejected: int
    parts_rejected_total: int
    documents: int
    tokens: int
    sequences: int
    padding_ratio: float
    rejected: dict[str, dict[str, int]]
    parts_rejected: dict[str, dict[str, int]]
    by_language: dict[str, dict[str, int]]
    by_modality: dict[str, dict[str, int]]
    by_source: dict[str, dict[str, int]]


class InputEntry(_Closed):
    """One input file as it was read."""

    label: str
    size: int


class Manifest(_Closed):
    """A finished dataset."""

    schema_version: Literal[1] = MANIFEST_VERSION
    name: str
    sluice_version: str
    git_commit: str | None
    recipe: dict[str, Any]  # resolved: every default materialised
    recipe_hash: str
    run_fingerprint: str  # of recipe, code versions and inputs: equal means there is nothing to do
    input_fingerprint: str
    inputs: list[InputEntry]
    sequence_length: int
    image: ImageTokens
    tokenizer: TokenizerEntry
    shards: list[ShardEntry]
    ledger: list[LedgerEntry]
    counts: Counts
    forgotten: int = 0  # rows that `sluice forget` took out; they count among the rejected


def read_manifest(folder: str | Path) -> Manifest:
    """Reads a dataset's manifest; raises SchemaError saying what is wrong with the folder."""
    path = Path(folder) / MANIFEST_NAME
    try:
        return read_versioned(path, Manifest, MANIFEST_VERSION, "manifest")
    except FileNotFoundError:
        raise SchemaError(
            f"{folder} has no {MANIFEST_NAME}: it is not a finished dataset. `sluice curate` writes the manifest last; "
            "run it again to finish an interrupted run"
        ) from None
