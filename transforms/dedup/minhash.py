"""MinHash near-duplicates: LSH proposes, the exact Jaccard of the shingles disposes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from transforms.base import Params
from transforms.dedup.base import Dedup, Keys
from transforms.dedup.fast_shingles import shingle_rows
from transforms.dedup.keep import Keep, check_keep, rank_of
from transforms.dedup.sets import set_array, set_bounds
from transforms.dedup.shingles import mix
from transforms.kernels.minhash import band_keys, signatures
from transforms.kernels.similarity import overlaps, sorted_distinct
from transforms.registry import register


class Verify(Params):
    """How a proposed pair is checked."""

    #: pairs whose shingles' Jaccard similarity is lower are not duplicates
    jaccard: float = Field(default=0.8, ge=0, le=1)


class TextMinHashDedupParams(Params):
    """Parameters of text.minhash_dedup; the defaults are FineWeb's (14 x 8, word 5-grams), verified at 0.8."""

    ngram: int = Field(default=5, ge=1, le=64)
    bands: int = Field(default=14, ge=1, le=1000)
    rows_per_band: int = Field(default=8, ge=1, le=1000)
    #: null: candidates are duplicates, connected components keep one row (FineWeb's behaviour, which also removes
    #: distinct documents that share a template)
    verify: Verify | None = Verify()
    #: which row of a duplicate pair stays
    keep: Keep = "first"
    #: seed of the permutations; null takes the recipe's
    seed: int | None = None


@register("text.minhash_dedup", version=1)
class TextMinHashDedup(Dedup[TextMinHashDedupParams]):
    """Near-duplicate texts by MinHash-LSH (Broder 1997; bands as in FineWeb), removed only on a verified match.

    Two texts of Jaccard similarity s become candidates with probability 1 - (1 - s^rows_per_band)^bands. A candidate
    is removed only when the exact similarity to a row that is kept reaches `verify.jaccard`; a removed row never
    removes another. Rows with media have no key: equal captions under different pictures are different samples.
    """

    Params = TextMinHashDedupParams
    measure = "jaccard"

    def check(self, schema: pa.Schema) -> None:
        check_keep(self.params.keep, schema)

    @property
    def proof(self) -> bool:
        return False

    @property
    def min_similarity(self) -> float | None:
        return self.params.verify.jaccard if self.params.verify else None

    def setup(self) -> None:
        count = self.params.bands * self.params.rows_per_band
        with np.errstate(over="ignore"):
            drawn = mix(
                np.arange(2 * count, dtype=np.uint64) + np.uint64((self.params.seed or 0) % 2**64) * np.uint64(2**32)
            )
        self._multipliers = drawn[:count] | np.uint64(1)
        self._offsets = drawn[count:]

    def keys(self, batch: pa.RecordBatch) -> Keys:
        bands, per_band = self.params.bands, self.params.rows_per_band
        plain = pc.equal(pc.list_value_length(batch.column("media")), 0)
        text = batch.column("text").filter(plain)
        shingles, bounds = shingle_rows(text, self.params.ngram)
        signed = np.empty((len(text), bands * per_band), np.uint64)
        signatures(shingles, bounds, self._multipliers, self._offsets, signed)
        has_words = bounds[1:] > bounds[:-1]
        rows = np.flatnonzero(plain.to_numpy(zero_copy_only=False))[has_words].astype(np.uint32)
        key = np.empty((len(rows), bands, 2), np.uint64)
        band_keys(signed[has_words], per_band, key)
        row = np.repeat(rows, bands)
        band = np.tile(np.arange(bands, dtype=np.uint16), len(rows))
        rank = rank_of(self.params.keep, batch)
        return Keys(row, np.full(len(row), -1, np.int32), band, key.reshape(-1, 2), rank[row])

    def evidence(self, batch: pa.RecordBatch, part: np.ndarray) -> pa.LargeBinaryArray:
        return set_array(*sorted_distinct(*shingle_rows(batch.column("text"), self.params.ngram)))

    def similarity(self, evidence: pa.LargeBinaryArray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        values, bounds = set_bounds(evidence)
        similarity: np.ndarray = overlaps(values, bounds, first, second, False)
        return similarity
