"""A dataset, or what a run held out of it, as documents to score: their languages, and the bytes of its tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.data.dataset import DatasetInfo, TokenShards, dataset_info
from model.data.shards import HoldoutSplit
from model.eval.documents import DocumentLoss, Named, score_documents
from model.infer.opening import open_side_files
from model.interop import read_run
from model.net.vlm import VisionLanguageModel
from schemas.control_tokens import is_control
from schemas.errors import SchemaError, SluiceError
from schemas.ledger import KEPT
from schemas.manifest import read_manifest
from schemas.shard import open_shard

_LANGUAGE = "text.lang"
_COLUMNS = ("id", "part", "verdict", _LANGUAGE)


def score_dataset(
    model: VisionLanguageModel, folder: Path, checkpoint: Path, max_sequences: int | None = None
) -> list[DocumentLoss]:
    """Scores what of a dataset the run of `checkpoint` did not train on: all of another dataset, the held-out sequences
    of its own; the first `max_sequences` of them.

    Raises SluiceError when the tokenizers differ, so that the ids mean other text, or nothing was held out.
    """
    info = dataset_info(folder)
    check_tokenizer(info.tokenizer, checkpoint)
    shards = TokenShards(info.shards)
    rows = unseen_rows(info, len(shards), checkpoint)[:max_sequences]
    sizes = token_bytes(info.tokenizer, info.vocab_size)
    named = named_sequences(info, shards, rows)
    return score_documents(model, named, sizes, document_languages(folder))


def named_sequences(info: DatasetInfo, shards: TokenShards, rows: list[int]) -> Iterator[Named]:
    """Sequences of a dataset, with the ids of their documents as the ledger has them."""
    chunks = [chunk for path in info.shards for chunk in open_shard(path).column("source_ids").chunks]
    ids = pa.chunked_array(chunks, pa.list_(pa.string()))
    for row in rows:
        yield ids[row].as_py(), shards[row]


def unseen_rows(info: DatasetInfo, rows: int, checkpoint: Path) -> list[int]:
    """The dataset's rows that the run of a checkpoint did not train on.

    Raises SluiceError when it trained on all of them, on several datasets of which this is one, or on this one when
    it had other rows.
    """
    trained_on, holdout_ratio = _run_of(checkpoint)
    if info.fingerprint not in trained_on:
        if _unforgotten(info.fingerprint) in map(_unforgotten, trained_on):
            raise SluiceError(
                f"{checkpoint} was trained on {info.folder} when other rows of it were forgotten, so what of it was "
                "held out cannot be told; give --data a dataset it has not seen"
            )
        return list(range(rows))
    if len(trained_on) > 1:
        raise SluiceError(
            f"{checkpoint} was trained on {info.folder} and other data together, so what of it was held out cannot be "
            "told; give --data a dataset it has not seen"
        )
    split = HoldoutSplit(rows, holdout_ratio)
    if not split.held_out:
        raise SluiceError(
            f"{checkpoint} was trained on all of {info.folder} (holdout_ratio 0), so its loss there says nothing; "
            "give --data a dataset it has not seen"
        )
    return [split.held_out_row(i) for i in range(split.held_out)]


def _unforgotten(fingerprint: str) -> str:
    """The fingerprint of a dataset before any of its rows were forgotten (see model.data.dataset.dataset_info)."""
    return fingerprint.partition("-")[0]


def _run_of(checkpoint: Path) -> tuple[list[str], float]:
    """The fingerprints of the datasets that a checkpoint's run read, and its holdout_ratio; none, of a checkpoint that
    does not say."""
    run = read_run(checkpoint)
    if run is None:
        return [], 0.0
    holdout_ratio = run["configuration"].get("holdout_ratio")
    if not isinstance(holdout_ratio, int | float):
        raise SluiceError(f"{checkpoint} does not say what its run held out: holdout_ratio is {holdout_ratio!r}")
    # a run over several datasets names them all
    return run["data"].split("+"), float(holdout_ratio)


def check_tokenizer(dataset: Path, checkpoint: Path) -> None:
    """Raises SluiceError unless the tokenizers of a dataset and a checkpoint give tokens the same ids."""
    mine, theirs = (_vocabulary(folder) for folder in (dataset, open_side_files(checkpoint)))
    if mine != theirs:
        raise SluiceError(
            f"the data's tokenizer ({dataset}) is not the one that {checkpoint} was trained with, so its ids mean "
            f"other text. Curate the data with `tokens.tokenizer: {open_side_files(checkpoint)}`"
        )


def token_bytes(folder: Path, vocab_size: int) -> np.ndarray:
    """[vocab_size] int64: the bytes of UTF-8 text that each token of a byte-level BPE stands for; of a control token 0.

    A byte-level vocabulary writes every byte as one character (Radford et al. 2019, GPT-2).
    """
    vocabulary, added = _vocabulary(folder)
    found = {at: len(token) for token, at in vocabulary.items()}
    for token in added:
        control = is_control(token["content"], token["special"])
        found[token["id"]] = 0 if control else len(token["content"].encode())
    if not all(0 <= at < vocab_size for at in found):
        raise SluiceError(f"{folder} has ids outside the {vocab_size} of its manifest; curate the data again")
    sizes = np.zeros(vocab_size, np.int64)
    sizes[list(found)] = list(found.values())
    return sizes


def _vocabulary(folder: Path) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """The tokens of a tokenizer.json, and those added to them; raises SluiceError when it is missing or torn."""
    path = folder / "tokenizer.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        vocabulary = {str(token): int(at) for token, at in found["model"]["vocab"].items()}
        added = [
            {"id": int(t["id"]), "content": str(t["content"]), "special": bool(t["special"])}
            for t in found["added_tokens"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SluiceError(f"{path} cannot be read as a byte-level tokenizer ({error})") from error
    return vocabulary, added


def document_languages(folder: Path) -> dict[str, str | None]:
    """Ids to the languages that the recipe's text.language found; empty when it has no such step.

    An id that stands for rows of several languages has none. Raises SchemaError when the ledger cannot be read.
    """
    found: dict[str, str | None] = {}
    for entry in read_manifest(folder).ledger:
        path = folder / entry.path
        try:
            with pq.ParquetFile(path) as file:
                if _LANGUAGE not in file.schema_arrow.names:
                    continue
                # a column list takes "a" to mean "a.b" as well, hence the select
                table = file.read(columns=list(_COLUMNS)).select(_COLUMNS)
        except (OSError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
            raise SchemaError(f"{path} is not a readable ledger ({error}); run the recipe again") from error
        for row_id, part, verdict, language in zip(*(column.to_pylist() for column in table.columns), strict=True):
            if part is None and verdict == KEPT:
                found[row_id] = language if found.get(row_id, language) == language else None
    return found
