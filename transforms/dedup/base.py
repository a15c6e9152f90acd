"""The shape of a global step: it signs rows locally; the pipeline brings equal keys together and drops duplicates.

A `Dedup` never decides inside a batch: which row is the duplicate depends on rows in other batches. It yields keys,
and, when equal keys only propose, the evidence that a pair is verified with. The pipeline orders rows by (rank, unit,
row), and removes one only for a direct match with a row (or media part) that is kept; the match goes into the ledger.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import pyarrow as pa

from transforms.base import Params

P = TypeVar("P", bound=Params)

#: the reason of every row and part that a global step removes for its match
DUPLICATE = "duplicate"


class GlobalStep:
    """What compares rows with each other: a `Dedup`, or a `SpanDedup` (transforms.dedup.spans)."""

    name: ClassVar[str]
    version: ClassVar[int]
    params: Any

    def setup(self) -> None:
        """Loads what is heavy; called once a worker."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of a batch; parallel arrays, one entry a key (a row has one per LSH band, a media step one per part).

    row: uint32 [n], batch row · part: int32 [n], media.index, or -1 for the row itself · band: uint16 [n] ·
    key: uint64 [n, 2], 128 bits, `key[:, 1]` spread evenly over the 64-bit numbers · rank: uint64 [n], at least 1,
    smaller is kept first (transforms.dedup.keep).
    Equal (band, key) means: the same, or for steps that verify, candidates.
    """

    row: np.ndarray
    part: np.ndarray
    band: np.ndarray
    key: np.ndarray
    rank: np.ndarray


class Dedup(ABC, GlobalStep, Generic[P]):
    """Base of the global steps that remove rows or media parts.

    A key with a part removes that media part; one without removes the row. `of_parts` says that keys have parts: rows
    are other rows afterwards, so a global step that follows signs them anew. `measure` names the similarity in the
    ledger ("jaccard 0.9312"). `deciding` are the parameters that shape neither keys nor evidence, so that an index of
    earlier data serves whatever they are.
    """

    Params: ClassVar[type[Params]] = Params
    reasons: ClassVar[frozenset[str]] = frozenset({DUPLICATE})
    of_parts: ClassVar[bool] = False
    measure: ClassVar[str] = "similarity"
    deciding: ClassVar[frozenset[str]] = frozenset({"keep", "verify", "bloom"})

    def __init__(self, params: P) -> None:
        self.params = params

    def check(self, schema: pa.Schema) -> None:
        """Raises SchemaError when rows of this schema lack a column the step needs."""

    @property
    def proof(self) -> bool:
        """Whether equal keys are proof of a duplicate (exact steps: one key a row or part), or only propose a pair
        (LSH: any number)."""
        return True

    @property
    def bloom_rate(self) -> float | None:
        """Exact steps only: keys are not compared but looked up in a Bloom filter of this false-positive rate
        (transforms.dedup.bloom), in keep order; what it has seen goes, without a match. None: they are compared."""
        return None

    @property
    def min_similarity(self) -> float | None:
        """Pairs below this similarity of evidence are not duplicates; None: candidates are not verified, and
        connected components of them keep one node (FineWeb's behaviour)."""
        return None

    @abstractmethod
    def keys(self, batch: pa.RecordBatch) -> Keys:
        """The batch's keys; rows without any (no text, no media) are never duplicates."""

    def evidence(self, batch: pa.RecordBatch, part: np.ndarray) -> pa.LargeBinaryArray:
        """What pairs are verified with, one entry a row of `batch`: of its media part with the index part[row], int32
        [rows], or of the row where that is -1. A row may come twice, for two of its parts."""
        raise TypeError(f"{self.name}: equal keys are proof; there is nothing to verify")

    def similarity(self, evidence: pa.LargeBinaryArray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Similarity of evidence[first[k]] (earlier in keep order) and evidence[second[k]], float64 [k]."""
        raise TypeError(f"{self.name}: equal keys are proof; there is nothing to verify")

    def signed_by(self) -> dict[str, Any]:
        """What keys and evidence are made with, JSON-able: equal means comparable."""
        params = self.params.model_dump(mode="json", exclude=set(self.deciding))
        return {"use": self.name, "version": self.version, "with": params}
