"""Semantic duplicates: rows whose embeddings are nearly the same (SemDeDup)."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from schemas.errors import SchemaError
from transforms.base import Params
from transforms.dedup.base import Dedup, Keys
from transforms.dedup.keep import Keep, check_keep, rank_of
from transforms.dedup.shingles import mix
from transforms.embedding.centroids import load_centroids
from transforms.embedding.vectors import check_vectors, units_of
from transforms.kernels.vectors import cosines, nearest, products
from transforms.registry import register

_ALONE = np.zeros((0, 0), np.float32)


class VerifyCosine(Params):
    """How a proposed pair is checked."""

    #: pairs of lower cosine are not duplicates: 1 - epsilon in the paper
    cosine: float = Field(default=0.95, gt=0, le=1)


class SemanticDedupParams(Params):
    """Parameters of embedding.semantic_dedup; bands and bits find .994 of the pairs of cosine .95, .9998 of .97."""

    #: vectors of one width (fixed_size_list of floats)
    column: str = "embedding.vector"
    #: a file that `sluice clusters train` wrote: only rows of one cluster are compared. null: all are
    centroids: str | None = None
    #: a row is in its so many nearest clusters, so that pairs across a border are found
    num_clusters: int = Field(default=2, ge=1, le=16)
    bands: int = Field(default=40, ge=1, le=1000)
    bits_per_band: int = Field(default=20, ge=1, le=64)
    #: null: candidates are duplicates, connected components keep one row
    verify: VerifyCosine | None = VerifyCosine()
    #: which row of a duplicate pair stays; `farthest`: the one that is least like its centroid, the paper's rule
    keep: Keep | Literal["farthest"] = "first"
    #: seed of the hyperplanes; null takes the recipe's
    seed: int | None = None

    @model_validator(mode="after")
    def _farthest_from_what(self) -> SemanticDedupParams:
        if self.keep == "farthest" and self.centroids is None:
            raise ValueError(
                "keep: farthest is from a row's centroid; give centroids, or keep first, longest or a column"
            )
        return self


@register("embedding.semantic_dedup", version=1)
class SemanticDedup(Dedup[SemanticDedupParams]):
    """Rows that mean the same by their embeddings (SemDeDup, Abbas et al. 2023, arXiv 2303.09540).

    Two rows whose vectors have the angle a become candidates, when they share a cluster, with probability
    1 - (1 - (1 - a / pi)^bits_per_band)^bands: signed random hyperplanes (Charikar 2002). A candidate is removed only
    when its exact cosine to a row that is kept reaches `verify.cosine`. The paper compares all pairs of a cluster. Rows
    whose vector is null, zero, or holds a NaN or infinity have no key.
    """

    Params = SemanticDedupParams
    measure = "cosine"

    def __getstate__(self) -> dict[str, Any]:
        return {"params": self.params}

    def check(self, schema: pa.Schema) -> None:
        width = check_vectors(schema, self.params.column)
        if len(self._centroids) and width != self._centroids.shape[1]:
            raise SchemaError(
                f"column {self.params.column!r} has vectors of {width} numbers, the centroids"
                f" {self.params.centroids!r} {self._centroids.shape[1]}; train them on this column"
            )
        if len(self._centroids) and len(self._centroids) < self.params.num_clusters:
            raise SchemaError(f"num_clusters is {self.params.num_clusters}, of {len(self._centroids)} centroids")
        if self.params.keep != "farthest":
            check_keep(self.params.keep, schema)

    @property
    def proof(self) -> bool:
        return False

    @property
    def min_similarity(self) -> float | None:
        return self.params.verify.cosine if self.params.verify else None

    @cached_property
    def _centroids(self) -> np.ndarray:
        return load_centroids(self.params.centroids) if self.params.centroids else _ALONE

    @cached_property
    def _planes(self) -> dict[int, np.ndarray]:
        return {}

    def keys(self, batch: pa.RecordBatch) -> Keys:
        units, rows = self._units(batch)
        bands, bits = self.params.bands, self.params.bits_per_band
        positive = (products(units, self._planes_of(units.shape[1])) >= 0).reshape(len(rows), bands, bits)
        code = np.zeros((len(rows), bands), np.uint64)
        for k in range(bits):
            code = code << np.uint64(1) | positive[:, :, k]
        rank = None if self.params.keep == "farthest" else rank_of(self.params.keep, batch)[rows]
        cluster = np.zeros((len(rows), 1), np.int64)
        if len(self._centroids):
            similarity = products(units, np.ascontiguousarray(self._centroids.T))
            cluster = nearest(similarity, self.params.num_clusters)
            if rank is None:
                likeness = similarity[np.arange(len(rows)), cluster[:, 0]].astype(np.float64)
                rank = np.round(np.clip(1 + likeness, 0, 2) * 2.0**32).astype(np.uint64) + np.uint64(1)
        assert rank is not None
        each = cluster.shape[1] * bands
        with np.errstate(over="ignore"):
            hi = mix(code)[:, None, :] ^ mix(cluster.astype(np.uint64))[:, :, None]
            lo = mix(hi + np.arange(bands, dtype=np.uint64))
        return Keys(
            np.repeat(rows, each).astype(np.uint32),
            np.full(len(rows) * each, -1, np.int32),
            np.tile(np.arange(bands, dtype=np.uint16), len(rows) * cluster.shape[1]),
            np.stack([hi.ravel(), lo.ravel()], axis=1),
            np.repeat(rank, each),
        )

    def evidence(self, batch: pa.RecordBatch, part: np.ndarray) -> pa.LargeBinaryArray:
        units, good = units_of(batch.column(self.params.column))
        rows = zip(units.astype("<f4"), good.tolist(), strict=True)
        return pa.array([unit.tobytes() if is_good else b"" for unit, is_good in rows], pa.large_binary())

    def similarity(self, evidence: pa.LargeBinaryArray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        held = [np.frombuffer(entry.as_buffer(), "<f4") for entry in evidence]
        vectors = np.zeros((len(held), max(map(len, held), default=0)), np.float32)
        for row, unit in enumerate(held):
            vectors[row, : len(unit)] = unit
        similarity: np.ndarray = cosines(vectors, first, second)
        return similarity

    def _units(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        """(unit vectors float32 [n, width], their batch rows int64 [n]) of the rows that have one."""
        at = batch.schema.get_field_index(self.params.column)
        if at < 0:
            return np.empty((0, 1), np.float32), np.empty(0, np.int64)
        units, good = units_of(batch.column(at))
        return units[good], np.flatnonzero(good)

    def _planes_of(self, width: int) -> np.ndarray:
        """Normals of the hyperplanes, float32 [width, bands * bits]: normal numbers by Box and Muller, of hashes."""
        if width not in self._planes:
            count = self.params.bands * self.params.bits_per_band
            seed = np.array([(self.params.seed or 0) % 2**64], np.uint64)
            with np.errstate(over="ignore"):
                drawn = mix(np.arange(2 * width * count, dtype=np.uint64) + mix(seed))
            uniform = ((drawn >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
            radius, turn = np.sqrt(-2 * np.log(uniform[::2])), 2 * np.pi * uniform[1::2]
            self._planes[width] = (radius * np.cos(turn)).reshape(width, count).astype(np.float32)
        return self._planes[width]
