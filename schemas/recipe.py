"""The recipe: what to read, what to do with it, and where to put it. Closed and frozen all the way down.

This module holds the file's own shape. What `use` names exist and what `with` may hold is checked by
pipeline.recipe against the registries, so that a recipe never stores a dotted path.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Modality = Literal["text", "image", "audio", "mixed"]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class InputSpec(_Closed):
    """One source: `use` is its registry name, `with` its parameters."""

    use: str
    params: dict[str, Any] = Field(default_factory=dict, alias="with")


class When(_Closed):
    """A guard: the step judges only rows of these modalities; the others pass it untouched."""

    modality: list[Modality] | Modality

    def modalities(self) -> frozenset[str]:
        """The modalities as a set."""
        return frozenset([self.modality] if isinstance(self.modality, str) else self.modality)


class StepSpec(_Closed):
    """One transform: `use` is its registry name, `with` its parameters."""

    use: str
    params: dict[str, Any] = Field(default_factory=dict, alias="with")
    when: When | None = None


class TrainTokenizer(_Closed):
    """Byte-level BPE trained on the rows the recipe keeps."""

    vocab_size: int = Field(default=32768, ge=300)
    min_frequency: int = Field(default=2, ge=1)
    #: text read for training; beyond it rows are chosen by hash(seed, id), the same ones on every run
    max_bytes: int = Field(default=512 * 2**20, gt=0)


class TokenizerSpec(_Closed):
    """A tokenizer to train."""

    train: TrainTokenizer


class ImageTokens(_Closed):
    """Image preprocessing, as the model's: sides rounded to patch*merge, total pixels within the bounds."""

    patch: int = Field(default=16, gt=0)
    merge: int = Field(default=2, gt=0)
    min_pixels: int = Field(default=65536, gt=0)
    max_pixels: int = Field(default=16777216, gt=0)


class TokensSpec(_Closed):
    """How kept rows become token shards."""

    #: a path to a tokenizer (folder, tokenizer.json, .tiktoken), a hub id, or {train: ...}
    tokenizer: str | TokenizerSpec
    sequence_length: int = Field(default=2048, ge=16)
    image: ImageTokens = ImageTokens()
    #: a document longer than a sequence is cut into pieces (no token is lost), or rejected
    long_documents: Literal["split", "reject"] = "split"


class OutputSpec(_Closed):
    """Where the dataset goes."""

    path: str
    #: tokens a shard file holds, at most
    shard_tokens: int = Field(default=16777216, gt=0)
    #: `first`: a row is judged until its first rejection; `full`: the later steps of the same stage (up to the next
    #: global step) still score it, for the ledger
    ledger: Literal["first", "full"] = "first"
    #: keep the intermediate files of a finished run, so that a changed recipe or new input reuses what it can
    keep_work: bool = False


class Recipe(_Closed):
    """A whole recipe file."""

    recipe: Literal[1]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    description: str = ""
    #: all randomness is hash(seed, id)
    seed: int = 17
    inputs: list[InputSpec] = Field(min_length=1)
    steps: list[StepSpec] = Field(default_factory=list)
    tokens: TokensSpec
    output: OutputSpec
    #: input bytes in a work unit, the grain of parallelism, retry and resume
    unit_bytes: int = Field(default=64 * 2**20, gt=0)
    #: the run fails when a step raises on more than this share of its rows
    max_error_ratio: float = Field(default=0.01, ge=0, le=1)
