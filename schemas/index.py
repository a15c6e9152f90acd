"""The dedup index: signatures of what earlier runs kept, with identities. `index.json` says which files count, and is
replaced whole; files it does not list are leftovers.

One segment a run, named by the run's fingerprint; in it, per global step, pairs of Arrow files: KEYS (sorted by `lo`,
so that a reader takes a range of hashes) and ENTRIES (what the keys belong to, at the row that `entry` says).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from schemas.errors import SchemaError
from schemas.versioned import read_versioned

INDEX_VERSION: Final = 1
INDEX_NAME = "index.json"
#: the folder of the segments, each in a folder of its own
SEGMENTS = "segments"

#: a key of an entry; (band, hi, lo) as transforms.dedup.base.Keys has it
INDEX_KEYS = pa.schema(
    [
        pa.field("band", pa.uint16(), nullable=False),
        pa.field("hi", pa.uint64(), nullable=False),
        pa.field("lo", pa.uint64(), nullable=False),
        pa.field("entry", pa.uint32(), nullable=False),
        pa.field("part", pa.int32(), nullable=False),
    ]
)

#: a row (part -1) or a media part of one; `evidence` is what a pair is verified with, null where equal keys are proof
INDEX_ENTRIES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("part", pa.int32(), nullable=False),
        pa.field("media_sha256", pa.list_(pa.binary(32)), nullable=False),
        pa.field("evidence", pa.large_binary()),
    ]
)


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IndexStep(_Closed):
    """What a step's keys and evidence are made with: only a step that says the same can be compared with them."""

    name: str
    signed_by: dict[str, Any]


#: relative to the index, and nowhere else: files are read, rewritten and deleted by these names
_Path = Annotated[str, Field(pattern=rf"^{SEGMENTS}/[0-9a-f]+/[^/.][^/]*\.arrow$")]


class IndexFiles(_Closed):
    """Some entries of one step."""

    step: IndexStep
    keys: _Path
    entries: _Path
    num_keys: int
    num_entries: int


class Segment(_Closed):
    """What one run kept. `rows_forgotten` have been taken out of it since."""

    name: str
    dataset: str
    files: list[IndexFiles]
    rows_forgotten: int = 0


class Index(_Closed):
    """A dedup index; `generation` counts its changes."""

    schema_version: Literal[1] = INDEX_VERSION
    generation: int = 0
    segments: list[Segment] = []

    @property
    def files(self) -> list[IndexFiles]:
        """The files of all segments."""
        return [files for segment in self.segments for files in segment.files]


def read_index(folder: str | Path) -> Index:
    """Reads an index; one that is not there yet is empty. Raises SchemaError saying what is wrong with it."""
    path = Path(folder) / INDEX_NAME
    try:
        return read_versioned(path, Index, INDEX_VERSION, "index")
    except FileNotFoundError:
        ours = (SEGMENTS, ".lock")  # of a first run that was killed
        if path.parent.exists() and any(child.name not in ours for child in path.parent.iterdir()):
            raise SchemaError(
                f"{folder} has files but no {INDEX_NAME}, so it is no dedup index; name one, or a folder that is empty "
                "or not there yet"
            ) from None
        return Index()
