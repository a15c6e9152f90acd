"""MinHash near-duplicates: LSH proposes, the exact similarity of the shingles disposes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, ValidationError, model_validator

from transforms.base import Params
from transforms.dedup import datatrove
from transforms.dedup.base import Dedup, Keys
from transforms.dedup.char_shingles import char_shingle_rows
from transforms.dedup.fast_shingles import shingle_rows
from transforms.dedup.keep import Keep, check_keep, rank_of
from transforms.dedup.lsh import optimal_bands
from transforms.dedup.sets import set_array, set_bounds
from transforms.dedup.shingles import mix
from transforms.kernels.minhash import band_keys, mersenne_signatures, signatures
from transforms.kernels.similarity import overlaps, sorted_distinct
from transforms.registry import register
from transforms.text.presets import PresetParams


class Verify(Params):
    """How a proposed pair is checked: by exactly one of the two."""

    #: pairs whose shingles' Jaccard similarity is lower are not duplicates
    jaccard: float | None = Field(default=None, ge=0, le=1)
    #: a row is a duplicate when at least this share of its shingles are in the row that is kept; LSH proposes pairs by
    #: their Jaccard similarity, so that a short text inside a much longer one is seldom proposed
    containment: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _one(self) -> Verify:
        if (self.jaccard is None) == (self.containment is None):
            raise ValueError("verify takes one of jaccard and containment; verify: null takes LSH's word for it")
        return self


class Target(Params):
    """What bands and rows_per_band are computed for (transforms.dedup.lsh.optimal_bands)."""

    #: the similarity above which pairs should be candidates and below which they should not
    jaccard: float = Field(default=0.8, gt=0, lt=1)
    #: at most so many minima a signature
    num_permutations: int = Field(default=128, ge=2, le=1024)
    #: what a candidate below the threshold costs, and what a pair above it that is none
    false_positive_weight: float = Field(default=0.5, ge=0, le=1)
    false_negative_weight: float = Field(default=0.5, ge=0, le=1)

    def bands(self) -> tuple[int, int]:
        """(bands, rows per band)."""
        return optimal_bands(
            self.jaccard, self.num_permutations, self.false_positive_weight, self.false_negative_weight
        )


class TextMinHashDedupParams(PresetParams):
    """How texts are signed, compared and removed. Presets are published settings of bands and shingles:

    - fineweb (Penedo et al. 2024, arXiv 2406.17557; datatrove's and data-prep-kit's too): 14 x 8, word 5-grams.
    - refinedweb (Penedo et al. 2023, arXiv 2306.01116): 450 x 20, 5-grams; theirs are of GPT-2 tokens.
    - nemo (NeMo Curator 1.3): 20 x 13, character 24-grams; theirs are of the text as it is.
    - redpajama_v2_0.7 to _1.0 (RedPajama-Data v2, by similarity): 14 x 9, 9 x 13, 5 x 25, 1 x 128, word 13-grams.
    - marin (marin-community/marin): 26 x 11, character 5-grams; theirs drop punctuation.
    - dclm (Li et al. 2024, arXiv 2406.11794): 93 x 15, word 5-grams.
    - data_juicer (its operator's 256 permutations at 0.7): 25 x 10; data_juicer_bench (its published runs): 32 x 8.

    All of them remove rows on a verified match here unless `verify` is null, which is what they publish.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "refinedweb": {"bands": 450, "rows_per_band": 20},
        "nemo": {"bands": 20, "rows_per_band": 13, "unit": "char", "ngram": 24},
        "redpajama_v2_0.7": {"bands": 14, "rows_per_band": 9, "ngram": 13},
        "redpajama_v2_0.8": {"bands": 9, "rows_per_band": 13, "ngram": 13},
        "redpajama_v2_0.9": {"bands": 5, "rows_per_band": 25, "ngram": 13},
        "redpajama_v2_1.0": {"bands": 1, "rows_per_band": 128, "ngram": 13},
        "marin": {"bands": 26, "rows_per_band": 11, "unit": "char", "ngram": 5},
        "dclm": {"bands": 93, "rows_per_band": 15},
        "data_juicer": {"bands": 25, "rows_per_band": 10},
        "data_juicer_bench": {"bands": 32, "rows_per_band": 8},
    }

    preset: Literal[
        "fineweb",
        "refinedweb",
        "nemo",
        "redpajama_v2_0.7",
        "redpajama_v2_0.8",
        "redpajama_v2_0.9",
        "redpajama_v2_1.0",
        "marin",
        "dclm",
        "data_juicer",
        "data_juicer_bench",
    ] = "fineweb"
    #: shingles are n-grams of words (transforms.dedup.shingles) or of characters (transforms.dedup.char_shingles)
    unit: Literal["word", "char"] = "word"
    #: words or characters a shingle; a shorter text is one shingle
    ngram: int = Field(default=5, ge=1, le=64)
    #: computes bands and rows_per_band, which are not given then
    target: Target | None = None
    bands: int = Field(default=14, ge=1, le=1000)
    rows_per_band: int = Field(default=8, ge=1, le=1000)
    #: datatrove: bit for bit datatrove's words, hashes and permutations (transforms.dedup.datatrove), whose seed is 1
    signature: Literal["sluice", "datatrove"] = "sluice"
    #: of datatrove's shingles: FineWeb's is sha1_64, datatrove's own default xxh64
    datatrove_hash: datatrove.Hash = "sha1_64"
    #: null: candidates are duplicates, connected components keep one row (FineWeb's behaviour, which also removes
    #: distinct documents that share a template)
    verify: Verify | None = Verify(jaccard=0.8)
    #: which row of a duplicate pair stays
    keep: Keep = "first"
    #: seed of sluice's permutations; null takes the recipe's
    seed: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _solve(cls, given: Any) -> Any:
        """Fills in what `target` asks for. A resolved recipe has both, and they agree."""
        if not isinstance(given, Mapping) or given.get("target") is None:
            return given
        try:
            solved = Target.model_validate(given["target"]).bands()
        except ValidationError:
            return given  # told where the field is validated
        for name, value in zip(("bands", "rows_per_band"), solved, strict=True):
            if given.get(name, value) != value:
                raise ValueError(f"target computes bands and rows_per_band: {name} is {value}, so leave it out")
        return {**given, "bands": solved[0], "rows_per_band": solved[1]}

    @model_validator(mode="after")
    def _datatrove_has_words(self) -> TextMinHashDedupParams:
        if self.signature == "datatrove" and self.unit != "word":
            raise ValueError("signature: datatrove is of words; leave out unit, or take signature: sluice")
        return self


@register("text.minhash_dedup", version=1)
class TextMinHashDedup(Dedup[TextMinHashDedupParams]):
    """Near-duplicate texts by MinHash-LSH (Broder 1997; bands as in FineWeb), removed only on a verified match.

    Two texts of Jaccard similarity s become candidates with probability 1 - (1 - s^rows_per_band)^bands. A candidate
    is removed only when the exact similarity to a row that is kept reaches `verify`'s; a removed row never removes
    another. Rows with media have no key: equal captions under different pictures are different samples.
    """

    Params = TextMinHashDedupParams
    # a preset and a target are resolved into parameters
    deciding = frozenset({"keep", "verify", "preset", "target"})

    @property
    def measure(self) -> str:  # type: ignore[override]
        return "containment" if self._contained else "jaccard"

    def check(self, schema: pa.Schema) -> None:
        check_keep(self.params.keep, schema)

    @property
    def proof(self) -> bool:
        return False

    @property
    def min_similarity(self) -> float | None:
        verify = self.params.verify
        if verify is None:
            return None
        return verify.containment if self._contained else verify.jaccard

    @property
    def _contained(self) -> bool:
        return self.params.verify is not None and self.params.verify.containment is not None

    def setup(self) -> None:
        count = self.params.bands * self.params.rows_per_band
        if self.params.signature == "datatrove":
            self._multipliers, self._offsets = datatrove.permutations(count)
            return
        with np.errstate(over="ignore"):
            drawn = mix(
                np.arange(2 * count, dtype=np.uint64) + np.uint64((self.params.seed or 0) % 2**64) * np.uint64(2**32)
            )
        self._multipliers = drawn[:count] | np.uint64(1)
        self._offsets = drawn[count:]

    def signatures(self, text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """(minima uint64 [rows signed, bands * rows_per_band]; which rows of a large_string column without nulls they
        are of, int64): all that have a shingle."""
        shingles, bounds = self._shingles(text)
        has_any = bounds[1:] > bounds[:-1]
        signed = np.empty((np.count_nonzero(has_any), len(self._multipliers)), np.uint64)
        bounds = np.append(bounds[:-1][has_any], bounds[-1:])
        if self.params.signature == "datatrove":
            mask = np.uint64(2**32 - 1 if self.params.datatrove_hash.endswith("32") else 2**64 - 1)
            mersenne_signatures(shingles, bounds, self._multipliers, self._offsets, mask, signed)
        else:
            signatures(shingles, bounds, self._multipliers, self._offsets, signed)
        return signed, np.flatnonzero(has_any)

    def keys(self, batch: pa.RecordBatch) -> Keys:
        bands = self.params.bands
        plain = pc.equal(pc.list_value_length(batch.column("media")), 0)
        signed, which = self.signatures(batch.column("text").filter(plain))
        rows = np.flatnonzero(plain.to_numpy(zero_copy_only=False))[which].astype(np.uint32)
        key = np.empty((len(rows), bands, 2), np.uint64)
        band_keys(signed, self.params.rows_per_band, key)
        row = np.repeat(rows, bands)
        band = np.tile(np.arange(bands, dtype=np.uint16), len(rows))
        rank = rank_of(self.params.keep, batch)
        return Keys(row, np.full(len(row), -1, np.int32), band, key.reshape(-1, 2), rank[row])

    def evidence(self, batch: pa.RecordBatch, part: np.ndarray) -> pa.LargeBinaryArray:
        return set_array(*sorted_distinct(*self._shingles(batch.column("text"))))

    def similarity(self, evidence: pa.LargeBinaryArray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        values, bounds = set_bounds(evidence)
        similarity: np.ndarray = overlaps(values, bounds, first, second, self._contained)
        return similarity

    def _shingles(self, text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """(shingles uint64, with repeats; their bounds int64 [rows + 1])."""
        params = self.params
        if params.signature == "datatrove":
            return datatrove.shingle_rows(text, params.ngram, params.datatrove_hash)
        return (char_shingle_rows if params.unit == "char" else shingle_rows)(text, params.ngram)
