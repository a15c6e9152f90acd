"""The shape of a global step: it signs rows locally; the pipeline brings equal keys together and drops duplicates.

A `Dedup` never decides inside a batch: which row is the duplicate depends on rows in other batches. It yields keys,
and, when equal keys only propose, the shingles to verify a pair with. The pipeline orders rows by (unit, row), and
removes one only for a direct match with a row (or media part) that is kept; the match goes into the ledger.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeVar

import numpy as np
import pyarrow as pa

from transforms.base import Params

P = TypeVar("P", bound=Params)


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of a batch; parallel arrays, one entry a key (a row has one per LSH band, a media step one per part).

    row: uint32 [n], batch row · part: int32 [n], media.index, or -1 for the row itself · band: uint16 [n] ·
    key: uint64 [n, 2], 128 bits. Equal (band, key) means: the same, or for steps that verify, candidates.
    """

    row: np.ndarray
    part: np.ndarray
    band: np.ndarray
    key: np.ndarray


class Dedup(ABC, Generic[P]):
    """Base of the global steps. `removes` says what a duplicate costs: its row, or only the media part."""

    name: ClassVar[str]
    version: ClassVar[int]
    Params: ClassVar[type[Params]] = Params
    reasons: ClassVar[frozenset[str]] = frozenset({"duplicate"})
    removes: ClassVar[Literal["row", "part"]] = "row"

    def __init__(self, params: P) -> None:
        self.params = params

    def setup(self) -> None:
        """Loads what is heavy; called once a worker."""

    @abstractmethod
    def keys(self, batch: pa.RecordBatch) -> Keys:
        """The batch's keys; rows without any (no text, no media) are never duplicates."""

    def shingles(self, text: str) -> np.ndarray | None:
        """Sorted distinct uint64 shingle hashes to verify a candidate pair with; None when equal keys are proof."""
        return None
