"""The shape of a global step: it signs rows locally; the pipeline brings equal keys together and drops duplicates.

A `Dedup` never decides inside a batch: which row is the duplicate depends on rows in other batches. It yields keys,
and, when equal keys only propose, the shingles to verify a pair with. The pipeline orders rows by (unit, row), and
removes one only for a direct match with a row (or media part) that is kept; the match goes into the ledger.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import numpy as np
import pyarrow as pa

from transforms.base import Params

P = TypeVar("P", bound=Params)

#: the reason of every row and part that a global step removes for its match
DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of a batch; parallel arrays, one entry a key (a row has one per LSH band, a media step one per part).

    row: uint32 [n], batch row · part: int32 [n], media.index, or -1 for the row itself · band: uint16 [n] ·
    key: uint64 [n, 2], 128 bits · rank: uint64 [n], smaller is kept first (0 for all: the first in canonical order).
    Equal (band, key) means: the same, or for steps that verify, candidates.
    """

    row: np.ndarray
    part: np.ndarray
    band: np.ndarray
    key: np.ndarray
    rank: np.ndarray


class Dedup(ABC, Generic[P]):
    """Base of the global steps. A key with a part removes that media part; one without removes the row.

    `of_parts` says that keys have parts: rows are other rows afterwards, so a global step that follows signs them anew.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    Params: ClassVar[type[Params]] = Params
    reasons: ClassVar[frozenset[str]] = frozenset({DUPLICATE})
    of_parts: ClassVar[bool] = False

    def __init__(self, params: P) -> None:
        self.params = params

    def setup(self) -> None:
        """Loads what is heavy; called once a worker."""

    @property
    def proof(self) -> bool:
        """Whether equal keys are proof of a duplicate (exact steps) or only propose a pair (LSH)."""
        return True

    @property
    def min_similarity(self) -> float | None:
        """Pairs below this similarity of shingles are not duplicates; None: candidates are not verified, and
        connected components of them keep one node (FineWeb's behaviour)."""
        return None

    @abstractmethod
    def keys(self, batch: pa.RecordBatch) -> Keys:
        """The batch's keys; rows without any (no text, no media) are never duplicates."""

    def shingles(self, text: str) -> np.ndarray:
        """Sorted distinct uint64 shingle hashes of a text, to verify a candidate pair with."""
        raise TypeError(f"{self.name}: equal keys are proof; there is nothing to verify")
