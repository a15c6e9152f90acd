"""The loss of each document of a packed batch, from one forward pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from model.batch import Batch
from model.data.collate import IGNORE, collate
from model.data.dataset import Sequence as PackedSequence
from model.net.log_probs import token_log_probs
from model.net.vlm import VisionLanguageModel
from schemas.errors import SluiceError

#: tokens of a forward pass, about; documents are scored together up to it
BATCH_TOKENS = 8192


@torch.inference_mode()
def document_losses(model: VisionLanguageModel, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """(nats float64, tokens int64), both [documents]: the loss of each document, summed, and how many tokens it is of.

    Attention and positions never cross a document's border, so a document's loss is what it would be alone.
    """
    assert batch.targets is not None
    rows = (batch.targets != IGNORE).nonzero().flatten()
    hidden = model.hidden(batch)[0].index_select(0, rows)
    losses = -token_log_probs(hidden, model.lm_head.weight, batch.targets.index_select(0, rows)).double()
    lengths = torch.tensor(batch.lengths, device=losses.device)
    owners = torch.repeat_interleave(torch.arange(len(batch.lengths), device=losses.device), lengths)[rows]
    nats = losses.new_zeros(len(batch.lengths)).index_add_(0, owners, losses)
    tokens = owners.bincount(minlength=len(batch.lengths))
    return nats.cpu().numpy(), tokens.cpu().numpy()


@dataclass
class DocumentLoss:
    """One scored document; the pieces of one that was cut into several sequences are added up.

    nats: its loss, summed over its `tokens` (those that carry loss) · bytes: of the text of these tokens · modality:
    text, image, audio or mixed, as in the ledger · language: ISO 639-1, or None where nobody told.
    """

    id: str
    language: str | None
    modality: str
    nats: float = 0.0
    tokens: int = 0
    bytes: int = 0

    def add(self, nats: float, tokens: int, size: int, modality: str) -> None:
        """Adds a piece of the document."""
        self.nats += nats
        self.tokens += tokens
        self.bytes += size
        kinds = {self.modality, modality} - {"text"}
        self.modality = kinds.pop() if len(kinds) == 1 else "mixed" if kinds else "text"


#: the ids of a sequence's documents, in order, and the sequence
Named = tuple[Sequence[str], PackedSequence]


def batches(sequences: Iterable[Named], max_tokens: int = BATCH_TOKENS) -> Iterator[list[Named]]:
    """Sequences in their order, as many together as hold `max_tokens`, and at least one."""
    held: list[Named] = []
    size = 0
    for named in sequences:
        length = len(named[1].input_ids)
        if held and size + length > max_tokens:
            yield held
            held, size = [], 0
        held.append(named)
        size += length
    if held:
        yield held


def score_documents(
    model: VisionLanguageModel,
    sequences: Iterable[Named],
    token_bytes: np.ndarray,
    languages: Mapping[str, str | None],
) -> list[DocumentLoss]:
    """Scores packed sequences; `token_bytes` [vocab]: the bytes of text that a token stands for.

    A document of which no token carries loss (one of a single token) is left out. Raises SluiceError when none is left.
    """
    found: dict[str, DocumentLoss] = {}
    for group in batches(sequences):
        batch = collate([sequence for _, sequence in group])
        names = [name for ids, _ in group for name in ids]
        modalities = [modality for _, sequence in group for modality in document_modalities(sequence)]
        columns = (*map(np.ndarray.tolist, document_losses(model, batch)), _scored_bytes(batch, token_bytes))
        for name, modality, nats, tokens, size in zip(names, modalities, *columns, strict=True):
            if tokens:
                document = found.setdefault(name, DocumentLoss(name, languages.get(name), modality))
                document.add(nats, tokens, size, modality)
    if not found:
        raise SluiceError("there is no token to score: give data with documents of two tokens or more")
    return list(found.values())


def _scored_bytes(batch: Batch, token_bytes: np.ndarray) -> list[int]:
    """Bytes of text that the tokens with loss stand for, by document."""
    assert batch.targets is not None
    targets = batch.targets.cpu().numpy()
    sizes = np.where(targets == IGNORE, 0, token_bytes[np.maximum(targets, 0)])
    starts = np.cumsum((0, *batch.lengths[:-1]))
    return np.add.reduceat(sizes, starts).tolist()


def document_modalities(sequence: PackedSequence) -> list[str]:
    """What each document of a sequence holds: text, image, audio, or mixed."""
    ends = np.cumsum(sequence.document_lengths)
    kinds: list[set[str]] = [set() for _ in sequence.document_lengths]
    for kind, parts in (("image", sequence.images), ("audio", sequence.audios)):
        for part in parts:
            kinds[int(np.searchsorted(ends, part.offset, side="right"))].add(kind)
    return ["mixed" if len(found) > 1 else next(iter(found), "text") for found in kinds]
