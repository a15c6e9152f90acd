"""Arms of an experiment: what their models made of the held-out documents, and how two of them differ."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.eval.compare import Difference, difference
from model.eval.documents import DocumentLoss
from model.eval.groups import ALL, group_names, is_member
from schemas.errors import SchemaError

#: a group of fewer documents is not compared: its interval would be of a handful of texts
MIN_DOCUMENTS = 8
_IDENTITY = b"sluice.run"
_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "language": pa.string(),
        "modality": pa.string(),
        "nats": pa.float64(),
        "tokens": pa.int64(),
        "bytes": pa.int64(),
    }
)


@dataclass(frozen=True)
class GroupDifference:
    """How two arms differ on the documents of a group (see model.eval.groups)."""

    kind: str
    name: str
    documents: int
    tokens: int
    difference: Difference


@dataclass(frozen=True)
class ArmLosses:
    """An arm's models on the held-out documents: `nats` [seeds, documents], summed over each document's tokens."""

    documents: list[DocumentLoss]
    nats: np.ndarray

    @property
    def tokens(self) -> np.ndarray:
        """[documents]: the tokens that carry loss."""
        return np.array([document.tokens for document in self.documents], np.float64)

    @property
    def bytes(self) -> int:
        """Bytes of text of all these tokens."""
        return sum(document.bytes for document in self.documents)


def gather(by_seed: Sequence[list[DocumentLoss]]) -> ArmLosses:
    """Losses of the models of an arm, one list a seed; raises ValueError unless they are of the same documents."""
    first = by_seed[0]
    for other in by_seed[1:]:
        _check_same(first, other)
    return ArmLosses(first, np.array([[document.nats for document in found] for found in by_seed]))


def compare(arm: ArmLosses, other: ArmLosses) -> list[GroupDifference]:
    """The loss of `arm` minus that of `other`: of all documents, by modality and by language."""
    _check_same(arm.documents, other.documents)
    tokens = arm.tokens
    found = []
    for kind, names in [(ALL, [ALL]), *group_names(arm.documents)]:
        for name in names:
            inside = np.array([is_member(document, kind, name) for document in arm.documents])
            if inside.sum() >= MIN_DOCUMENTS or kind == ALL:
                told = difference(arm.nats[:, inside], other.nats[:, inside], tokens[inside])
                found.append(GroupDifference(kind, name, int(inside.sum()), int(tokens[inside].sum()), told))
    return found


def _check_same(documents: list[DocumentLoss], others: list[DocumentLoss]) -> None:
    if [(d.id, d.tokens) for d in documents] != [(d.id, d.tokens) for d in others]:
        raise ValueError("two models were scored on different documents, so their losses cannot be paired")


def write_losses(path: Path, documents: Sequence[DocumentLoss], identity: str) -> None:
    """Writes scored documents as Parquet, atomically; `identity` says what they are the losses of."""
    table = pa.Table.from_pylist([asdict(document) for document in documents], _SCHEMA)
    temporary = path.with_name(f".{path.name}.tmp")
    pq.write_table(table.replace_schema_metadata({_IDENTITY: json.dumps(identity).encode()}), temporary)
    os.replace(temporary, path)


def read_losses(path: Path, identity: str) -> list[DocumentLoss] | None:
    """The scored documents of a file; None when there is none, or it is of something else.

    Raises SchemaError when it cannot be read.
    """
    if not path.exists():
        return None
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise SchemaError(f"{path} cannot be read ({error}); remove it to score the model again") from error
    written = (table.schema.metadata or {}).get(_IDENTITY)
    if written != json.dumps(identity).encode():
        return None
    return [DocumentLoss(**row) for row in table.to_pylist()]
