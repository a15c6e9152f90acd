"""A finished dataset as training needs it: its manifest, its token ids, its memory-mapped shards."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence as Items
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.config import ImageConfig, SpecialIds
from schemas.errors import SchemaError
from schemas.manifest import read_manifest
from schemas.shard import open_shard

TOKEN_NAMES = {
    "end_of_text": "<|endoftext|>",
    "image_pad": "<|image_pad|>",
    "video_pad": "<|video_pad|>",
    "vision_start": "<|vision_start|>",
    "vision_end": "<|vision_end|>",
    "audio_pad": "<|audio_pad|>",
    "audio_start": "<|audio_start|>",
    "audio_end": "<|audio_end|>",
    "im_start": "<|im_start|>",
    "im_end": "<|im_end|>",
}


def special_ids(ids: dict[str, int], where: str) -> SpecialIds:
    """The ids a model must know, from a tokenizer's table of special tokens; raises SchemaError without an end."""
    if TOKEN_NAMES["end_of_text"] not in ids:
        raise SchemaError(f"{where}: the tokenizer has no <|endoftext|>, so a model cannot know where a document ends")
    return SpecialIds(**{field: ids.get(name, -1) for field, name in TOKEN_NAMES.items()})


@dataclass(frozen=True)
class DatasetInfo:
    """What a model must know about the data it is trained on; `folder` is the first where several are joined."""

    folder: Path
    fingerprint: str
    tokenizer_fingerprint: str
    sequence_length: int
    vocab_size: int
    special: SpecialIds
    image: ImageConfig
    tokenizer: Path
    shards: tuple[Path, ...]


def dataset_info(folder: Path) -> DatasetInfo:
    """Reads a dataset's manifest; raises SchemaError when it is not a finished dataset this model can read."""
    manifest = read_manifest(folder)
    if (manifest.image.patch, manifest.image.merge) != (16, 2):
        raise SchemaError(
            f"{folder}: images were cut into {manifest.image.patch} px patches merged {manifest.image.merge} by "
            f"{manifest.image.merge}; the model reads 16 px patches merged 2 by 2"
        )
    return DatasetInfo(
        folder=folder,
        # a dataset that has forgotten rows is another one: what a run has seen of it cannot be gone on from
        fingerprint=f"{manifest.run_fingerprint}-{manifest.forgotten}"
        if manifest.forgotten
        else manifest.run_fingerprint,
        tokenizer_fingerprint=manifest.tokenizer.fingerprint,
        sequence_length=manifest.sequence_length,
        vocab_size=manifest.tokenizer.vocab_size,
        special=special_ids(manifest.tokenizer.special_ids, str(folder)),
        image=ImageConfig(min_pixels=manifest.image.min_pixels, max_pixels=manifest.image.max_pixels),
        tokenizer=folder / manifest.tokenizer.path,
        shards=tuple(folder / entry.path for entry in manifest.shards),
    )


def joined(infos: Items[DatasetInfo]) -> DatasetInfo:
    """Several datasets as one: the rows of the first, then of the second …

    Raises SchemaError when they were not made with one tokenizer, or one is named twice.
    """
    first = infos[0]
    for i, info in enumerate(infos[1:], 1):
        mine = (info.tokenizer_fingerprint, info.vocab_size, info.special)
        if mine != (first.tokenizer_fingerprint, first.vocab_size, first.special):
            raise SchemaError(
                f"{info.folder} was made with another tokenizer than {first.folder} ({info.vocab_size:,} and "
                f"{first.vocab_size:,} tokens): the same id would mean two things; curate both with one tokenizer"
            )
        if any(info.fingerprint == other.fingerprint for other in infos[:i]):
            raise SchemaError(f"{info.folder} is given twice, or is a copy: its rows would be held out and trained on")
    if len(infos) == 1:
        return first
    return replace(
        first,
        fingerprint="+".join(info.fingerprint for info in infos),
        sequence_length=max(info.sequence_length for info in infos),
        image=ImageConfig(
            min_pixels=min(info.image.min_pixels for info in infos),
            max_pixels=max(info.image.max_pixels for info in infos),
        ),
        shards=tuple(shard for info in infos for shard in info.shards),
    )


@dataclass(frozen=True)
class ImagePart:
    """An encoded image: its first placeholder in the sequence, its (t, h, w) grid of patches."""

    offset: int
    grid: tuple[int, int, int]
    data: bytes


@dataclass(frozen=True)
class AudioPart:
    """An encoded clip: its first placeholder in the sequence, its number of mel frames."""

    offset: int
    frames: int
    data: bytes


@dataclass(frozen=True)
class VideoPart:
    """A video of a prompt, already cut into patches; shards hold none.

    `offsets`: the first placeholder of each temporal patch, which have text in between (VL); or of all at once (Omni),
    with the seconds between temporal patches, the positions that time advances in a second, and maybe the video's
    sound, whose placeholders are woven among the video's as model.data.positions.woven says.
    """

    offsets: tuple[int, ...]
    grid: tuple[int, int, int]
    patches: np.ndarray
    seconds_per_grid: float = 0.0
    position_id_per_seconds: int = 13
    sound: AudioPart | None = None


@dataclass(frozen=True)
class Sequence:
    """One packed sequence; see schemas.shard for its columns. `input_ids` has no padding here."""

    input_ids: np.ndarray
    document_lengths: tuple[int, ...]
    loss_runs: tuple[tuple[int, int], ...]
    images: tuple[ImagePart, ...]
    audios: tuple[AudioPart, ...]
    videos: tuple[VideoPart, ...] = ()

    def media_documents(self) -> Sequence:
        """The same sequence without the documents that are text alone."""
        ends = np.cumsum(self.document_lengths)
        offsets = [image.offset for image in self.images] + [clip.offset for clip in self.audios]
        kept = np.unique(np.searchsorted(ends, offsets, side="right"))
        # what the tokens before a kept document's end have lost so far, by document
        lost = np.cumsum([0 if i in kept else n for i, n in enumerate(self.document_lengths)])

        def moved(offset: int) -> int:
            return offset - int(lost[np.searchsorted(ends, offset, side="right")])

        inside = np.isin(np.searchsorted(ends, np.arange(len(self.input_ids)), side="right"), kept)
        return Sequence(
            input_ids=self.input_ids[inside],
            document_lengths=tuple(self.document_lengths[i] for i in kept),
            loss_runs=tuple((moved(start), length) for start, length in self.loss_runs if inside[start]),
            images=tuple(replace(part, offset=moved(part.offset)) for part in self.images),
            audios=tuple(replace(part, offset=moved(part.offset)) for part in self.audios),
        )


class TokenShards:
    """All sequences of a dataset, in shard order, read from memory-mapped files as they are asked for."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        tables = [open_shard(path) for path in paths]
        self._paths = paths
        self._file_ends = list(accumulate(table.num_rows for table in tables))
        self._batches: list[pa.RecordBatch] = [b for table in tables for b in table.to_batches()]
        self._ends = list(accumulate(b.num_rows for b in self._batches))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def holds_media(self) -> np.ndarray:
        """[rows] bool: whether a sequence has an image or a clip. Reads list offsets only, no bytes."""
        counts = [
            sum(np.asarray(pc.list_value_length(batch.column(name))) for name in ("images", "audios"))
            for batch in self._batches
        ]
        return np.concatenate(counts) > 0 if counts else np.zeros(0, bool)

    def _find(self, row: int) -> tuple[pa.RecordBatch, int]:
        """The record batch that holds a row, and the row's place in it."""
        if not 0 <= row < len(self):
            raise IndexError(row)
        which = bisect_right(self._ends, row)
        batch = self._batches[which]
        return batch, row - (self._ends[which] - batch.num_rows)

    def place(self, row: int) -> str:
        """A row for people: its file, its place there, the documents it holds."""
        batch, local = self._find(row)
        file = bisect_right(self._file_ends, row)
        first = self._file_ends[file - 1] if file else 0
        documents = batch.column("source_ids")[local].as_py()
        more = f" and {len(documents) - 8} more" if len(documents) > 8 else ""
        return f"{self._paths[file]} row {row - first} (documents {', '.join(documents[:8])}{more})"

    def __getitem__(self, row: int) -> Sequence:
        batch, local = self._find(row)
        lengths = tuple(batch.column("document_lengths")[local].as_py())
        ids = batch.column("input_ids")[local].values.to_numpy(zero_copy_only=True)
        return Sequence(
            input_ids=ids[: sum(lengths)],
            document_lengths=lengths,
            loss_runs=tuple((r["start"], r["length"]) for r in batch.column("loss_runs")[local].as_py()),
            images=tuple(
                ImagePart(part["offset"], tuple(part["grid_thw"]), part["data"])
                for part in batch.column("images")[local].as_py()
            ),
            audios=tuple(
                AudioPart(part["offset"], part["frames"], part["data"])
                for part in batch.column("audios")[local].as_py()
            ),
        )
