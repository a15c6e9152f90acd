"""Losses of documents, added up by language and by modality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from model.eval.documents import DocumentLoss

ALL, MODALITY, LANGUAGE = "all", "modality", "language"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class GroupLoss:
    """The loss of some documents. `kind` is what they have in common (all, modality, language), `name` its value.

    `bits_per_byte` compares models with different tokenizers: nats / ln 2 / bytes of text. The bytes are those of the
    tokens that carry loss; a document's first token is foretold by nothing, and not counted. None where there is no
    text.
    """

    kind: str
    name: str
    documents: int
    tokens: int
    bytes: int
    nats_per_token: float
    bits_per_byte: float | None


def group_losses(documents: Sequence[DocumentLoss]) -> list[GroupLoss]:
    """All documents, then each modality, then each language, by name; unknown languages come last."""
    found = [_group(ALL, ALL, documents)]
    for kind, names in group_names(documents):
        found += [_group(kind, name, members(documents, kind, name)) for name in names]
    return found


def group_names(documents: Sequence[DocumentLoss]) -> list[tuple[str, list[str]]]:
    """The modalities, and the languages, that there are. No languages when none is known."""
    modalities = sorted({document.modality for document in documents})
    languages = sorted({document.language for document in documents if document.language})
    unknown = any(is_member(document, LANGUAGE, UNKNOWN) for document in documents)
    return [(MODALITY, modalities), (LANGUAGE, [*languages, UNKNOWN] if languages and unknown else languages)]


def members(documents: Sequence[DocumentLoss], kind: str, name: str) -> list[DocumentLoss]:
    """The documents of a group."""
    return [document for document in documents if is_member(document, kind, name)]


def is_member(document: DocumentLoss, kind: str, name: str) -> bool:
    """Whether a document belongs to a group. Captions and transcripts, whose language nobody told, belong to none."""
    if kind == LANGUAGE:
        unknown = UNKNOWN if document.modality == "text" else None
        return (document.language or unknown) == name
    return kind == ALL or document.modality == name


def _group(kind: str, name: str, documents: Sequence[DocumentLoss]) -> GroupLoss:
    # exact sums, so that the order of documents changes nothing
    nats = math.fsum(document.nats for document in documents)
    tokens = sum(document.tokens for document in documents)
    size = sum(document.bytes for document in documents)
    return GroupLoss(
        kind, name, len(documents), tokens, size, nats / tokens, nats / math.log(2) / size if size else None
    )
