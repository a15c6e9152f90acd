"""Tensors in safetensors files: one file, or several with an index. Nothing here is ever unpickled.

Files are mapped and read a tensor at a time, so that a checkpoint larger than memory can be copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.interop.jsonfile import inside, read_json, write_json
from model.interop.layouts import Shape
from schemas.errors import SluiceError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


class TensorFiles:
    """The tensors of a checkpoint folder by name: `shapes`, `dtypes`, and the values when asked for."""

    def __init__(self, folder: Path) -> None:
        """Reads the headers alone. Raises SluiceError when a file is missing, torn, or not what the index says."""
        self.folder = folder
        self.shapes: dict[str, Shape] = {}
        self.dtypes: dict[str, torch.dtype] = {}
        self._files: dict[str, Any] = {}
        if (folder / SINGLE).exists():
            self._open(SINGLE)
        elif (folder / INDEX).exists():
            self._open_indexed()
        else:
            raise SluiceError(_nothing_to_read(folder))

    def read(self, name: str) -> Tensor:
        """The values of a tensor, on CPU, possibly still mapped: copy before changing them."""
        try:
            return self._files[name].get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise SluiceError(f"{self.folder}: {name} cannot be read ({error}); the checkpoint is torn") from error

    def _open(self, file_name: str) -> list[str]:
        path = inside(self.folder, file_name)
        if not path.is_file():
            raise SluiceError(f"{path} is missing; the checkpoint is torn, use another one")
        try:
            file = safe_open(path, framework="pt", device="cpu")
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  no mapping, it only has keys()
            found = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
        except (SafetensorError, OSError) as error:
            raise SluiceError(f"{path} cannot be read ({error}); the checkpoint is torn, use another one") from error
        for name, (shape, dtype) in found.items():
            if name in self.shapes:
                raise SluiceError(
                    f"{path}: {name} is in another file of the checkpoint too; one of them is not its own"
                )
            if dtype not in DTYPES:
                raise SluiceError(
                    f"{path}: {name} is of type {dtype}; weights are read as {', '.join(DTYPES)}, "
                    "so give a checkpoint that is not quantised"
                )
            self.shapes[name], self.dtypes[name], self._files[name] = shape, DTYPES[dtype], file
        return list(found)

    def _open_indexed(self) -> None:
        table = read_json(self.folder, INDEX).get("weight_map")
        where = self.folder / INDEX
        if not isinstance(table, dict) or not all(isinstance(file, str) for file in table.values()):
            raise SluiceError(f"{where} has no weight_map of tensor names and file names; it is torn")
        for file_name in sorted(set(table.values())):
            if not file_name.endswith(".safetensors"):
                raise SluiceError(
                    f"{where} names {file_name!r}, which is no safetensors file; convert it to safetensors"
                )
            listed = {name for name, file in table.items() if file == file_name}
            differing = sorted(listed ^ set(self._open(file_name)))
            if differing:
                raise SluiceError(
                    f"{where} and {file_name} do not name the same tensors ({', '.join(differing[:3])}); "
                    "the files are not of one checkpoint"
                )


def _nothing_to_read(folder: Path) -> str:
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        return (
            f"{folder} holds its weights as {pickles[0]}, a pickle, which can run code when it is opened; "
            "convert it to safetensors"
        )
    return f"{folder} holds no weights: neither {SINGLE} nor {INDEX}; give a folder with a checkpoint"


@dataclass(frozen=True)
class Stored:
    """A tensor to be written: its name, shape and dtype, and how to get it when its file is written."""

    name: str
    shape: Shape
    dtype: torch.dtype
    make: Callable[[], Tensor]

    @property
    def bytes(self) -> int:
        """Its size in the file."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


def write_tensors(folder: Path, tensors: Sequence[Stored], max_shard_bytes: int) -> None:
    """Writes one file, or several of at most `max_shard_bytes` (a larger tensor has its own) and their index."""
    shards: list[list[Stored]] = [[]]
    size = 0
    for tensor in tensors:
        if shards[-1] and size + tensor.bytes > max_shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += tensor.bytes
    table = {}
    for i, shard in enumerate(shards):
        name = SINGLE if len(shards) == 1 else f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        # a copy, even of what is contiguous: parts of one parameter share its storage, which the format refuses
        values = {t.name: t.make().to(t.dtype, copy=True).contiguous() for t in shard}
        save_file(values, folder / name, metadata={"format": "pt"})
        table.update(dict.fromkeys(values, name))
    if len(shards) > 1:
        total = sum(t.bytes for t in tensors)
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": dict(sorted(table.items()))})
