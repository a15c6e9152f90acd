"""A run's tensors on disk, through torch.distributed.checkpoint: each rank writes its own, any number of ranks reads.

FOLDER/  shard-00001-model-00001-of-00001.safetensors …   what a rank holds, and where in the whole it belongs

DCP's usual form has a pickle (`.metadata`) and pickled tensors; this is its safetensors form, so nothing that is read
back can run code (docs/decisions/0013). A tensor is cut along its first dimension only, so that what is read can be
checked to be whole.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from model.train.ranks import Ranks
from schemas.errors import SluiceError

ENDING = ".safetensors"


@dataclass(frozen=True)
class Piece:
    """Rows `start` … `start + shape[0]` of a tensor; of a scalar, all of it."""

    file: Path
    start: int
    shape: tuple[int, ...]


def write_shards(folder: Path, tensors: Mapping[str, Tensor], ranks: Ranks) -> Future[Any]:
    """Copies tensors to memory, then writes them while training goes on; every rank calls it with its own.

    A DTensor is written by the ranks that hold it, a plain tensor by one of those that have the name. The future is
    done when all ranks' files are on the disk.
    """
    # torch.distributed.checkpoint takes seconds to import, and only training needs it
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import async_save

    _accept_one_process()
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    saving = async_save(dict(tensors), storage_writer=writer, process_group=ranks.background)
    return cast("Future[Any]", saving)


def finish_writing(writing: Future[Any]) -> None:
    """Waits for what `write_shards` began; raises OSError when a rank could not write."""
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        writing.result()
    except CheckpointException as error:
        raise OSError(_first_cause(error.failures)) from error


def read_shards(folder: Path, tensors: Mapping[str, Tensor], ranks: Ranks) -> None:
    """Fills tensors, plain or DTensors, from what any number of ranks wrote; every rank calls it.

    Raises SluiceError naming the tensors that are missing or of another shape.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    ranks.together(lambda: _check_fit(folder, tensors))
    _accept_one_process()
    try:
        load(dict(tensors), storage_reader=HuggingFaceStorageReader(str(folder)), process_group=ranks.background)
    except CheckpointException as error:
        raise SluiceError(f"{folder} cannot be read ({_first_cause(error.failures)})") from error


def _first_cause(failures: Mapping[int, Any]) -> str:
    rank, (cause, _) = min(failures.items())
    return f"rank {rank}: {cause}"


def _check_fit(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    saved = Shards(folder)
    problems = [f"{name} is missing" for name in tensors if name not in saved]
    problems += [
        f"{name} is {list(saved.shape(name))}, expected {list(tensor.shape)}"
        for name, tensor in tensors.items()
        if name in saved and saved.shape(name) != tuple(tensor.shape)
    ]
    if problems:
        raise SluiceError(f"{folder} does not fit this run: {'; '.join(problems[:5])}")


def _accept_one_process() -> None:
    # said of every save and load of a run on one rank, where it is no news
    warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)


class Shards(Mapping[str, Tensor]):
    """The tensors in a folder of shards by name, each read whole when asked for.

    Of those whose names start with `prefix`, which is left out. Raises SluiceError when a file is torn or a tensor has
    a part missing.
    """

    def __init__(self, folder: Path, prefix: str = "") -> None:
        self._prefix = prefix
        self._pieces: dict[str, list[Piece]] = {}
        for file in sorted(folder.glob(f"*{ENDING}")):
            for name, piece in _pieces(file):
                if name.startswith(prefix):
                    self._pieces.setdefault(name.removeprefix(prefix), []).append(piece)
        for name, pieces in self._pieces.items():
            pieces.sort(key=lambda p: p.start)
            _check_whole(folder, name, pieces)

    def __iter__(self) -> Iterator[str]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of the whole tensor."""
        first = self._pieces[name][0]
        return (sum(p.shape[0] for p in self._pieces[name]), *first.shape[1:]) if first.shape else ()

    def __getitem__(self, name: str) -> Tensor:
        parts = []
        for piece in self._pieces[name]:
            with safe_open(piece.file, framework="pt") as file:
                parts.append(file.get_tensor(self._prefix + name))
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _pieces(file: Path) -> list[tuple[str, Piece]]:
    """What one file holds; raises SluiceError when it is not a shard."""
    try:
        with safe_open(file, framework="pt") as tensors:
            places = json.loads((tensors.metadata() or {})["DCP_SHARDING_INFO"])
            found = []
            for name in tensors.keys():  # noqa: SIM118  not a mapping
                shape = tuple(tensors.get_slice(name).get_shape())
                offsets = places[name]["saved_offsets"]
                if len(offsets) != len(shape) or any(type(o) is not int or o < 0 for o in offsets) or any(offsets[1:]):
                    raise ValueError(f"{name} lies at {offsets}")
                found.append((name, Piece(file, offsets[0] if offsets else 0, shape)))
            return found
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise SluiceError(f"{file} is not a shard of a checkpoint ({error})") from error


def _check_whole(folder: Path, name: str, pieces: list[Piece]) -> None:
    end = 0
    for piece in pieces:
        if piece.start != end and piece.shape and piece.shape[0]:
            raise SluiceError(f"{folder}: {name} has no rows {end} to {piece.start}, so a shard is missing")
        if piece.shape[1:] != pieces[0].shape[1:] or not (piece.shape or len(pieces) == 1):
            raise SluiceError(f"{folder}: the shards do not agree on the shape of {name}")
        end += piece.shape[0] if piece.shape else 0
