"""A model as a folder that transformers opens too: config.json, weights, preprocessing, tokenizer, generation settings.

Any layout of model.interop.layouts is read; what it is follows from config.json and the tensors themselves.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.config import ImageConfig, ModelConfig
from model.data.dataset import TOKEN_NAMES
from model.interop import preprocessing
from model.interop.config_json import from_hub, to_hub
from model.interop.jsonfile import inside, read_json, write_json
from model.interop.layouts import (
    Layout,
    Piece,
    Shape,
    check_layout,
    compare_names,
    default_layout,
    detect,
    ours,
    pieces,
)
from model.interop.tensors import Stored, TensorFiles, write_tensors
from model.net.vlm import VisionLanguageModel
from schemas.errors import SluiceError

CONFIG, GENERATION, TOKENIZER = "config.json", "generation_config.json", "tokenizer.json"
#: state that the published form has no place for, under our own names: transformers does not look for this file
EXTRA = "sluice.safetensors"
HEAD, EMBEDDING = "lm_head.weight", "model.language_model.embed_tokens.weight"
MAX_SHARD_BYTES = 5 * 10**9
_SHOWN = 5


class Checkpoint(Mapping[str, Tensor]):
    """A folder's tensors under our names, each read when it is asked for; a tied head is not among them.

    `config`, `layout`, `dtype` (that of the embedding, on disk) and `shapes` are known at once.
    """

    def __init__(self, folder: Path) -> None:
        """Reads config.json and the weights' headers; raises SluiceError for anything that does not fit."""
        self.folder = folder
        self.config = read_config(folder)
        files = self._files = TensorFiles(folder)
        self.shapes = parameter_shapes(self.config)
        stored = {name: files.shapes[name] for name in ours(files.shapes)}
        self.layout, prefix = detect(stored, self.config, self.shapes)
        self._pieces = {n: pieces(n, s, self.config, self.layout, prefix) for n, s in self.shapes.items()}
        expected = {piece.name: piece for parts in self._pieces.values() for piece in parts}
        head = prefix + HEAD
        self._spare_head = head if self.config.text.tie_word_embeddings and head in stored else None
        self._check(stored, expected)
        self.dtype = files.dtypes[self._pieces[EMBEDDING][0].name]

    def __getitem__(self, name: str) -> Tensor:
        parts = self._pieces[name]
        if len(parts) == 1 and not parts[0].transposed:
            return self._files.read(parts[0].name)
        first = self._files.read(parts[0].name)
        whole = torch.empty(self.shapes[name], dtype=first.dtype)
        for piece in parts:
            piece.of(whole).copy_(self._files.read(piece.name))
        return whole

    def __iter__(self) -> Iterator[str]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)

    def extra(self) -> dict[str, Tensor]:
        """What the side file holds, if there is one."""
        path = inside(self.folder, EXTRA)
        try:
            return load_file(path) if path.exists() else {}
        except (OSError, SafetensorError) as error:
            raise SluiceError(f"{path} cannot be read ({error}); the checkpoint is torn, use another one") from error

    def _check(self, stored: Mapping[str, Shape], expected: Mapping[str, Piece]) -> None:
        found = set(stored) - {self._spare_head}
        problems = compare_names(found, expected)
        problems += [
            f"{name} is {list(stored[name])}, expected {list(expected[name].shape)}"
            for name in sorted(found & set(expected))
            if stored[name] != expected[name].shape
        ]
        if self._spare_head and not torch.equal(self._files.read(self._spare_head), self[EMBEDDING]):
            problems.append(
                f"{self._spare_head} differs from the embedding, though tie_word_embeddings says they are one"
            )
        if problems:
            more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            raise SluiceError(f"{self.folder} does not fit its {CONFIG}: {'; '.join(problems[:_SHOWN])}{more}")


def load_model(
    folder: Path, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> VisionLanguageModel:
    """The model of a checkpoint folder, ready to train.

    `dtype` None keeps that of the embedding on disk. Raises SluiceError saying what is missing, torn or does not fit.
    """
    checkpoint = Checkpoint(folder)
    dtype = dtype or checkpoint.dtype
    with torch.device("meta"):
        model = VisionLanguageModel(checkpoint.config)
    state = {name: _owned(checkpoint[name], dtype, device) for name in checkpoint}
    extra = checkpoint.extra()
    buffers = {name: buffer for name, buffer in model.state_dict().items() if name not in state and name != HEAD}
    if set(extra) - set(buffers) or any(extra[name].shape != buffers[name].shape for name in extra):
        raise SluiceError(f"{folder / EXTRA} does not fit {CONFIG}: it holds {', '.join(sorted(extra))}")
    state |= {n: extra.get(n, torch.zeros(b.shape, dtype=b.dtype)).to(device) for n, b in buffers.items()}
    model.load_state_dict(state, strict=False, assign=True)
    if checkpoint.config.text.tie_word_embeddings:
        model.lm_head.weight = model.model.language_model.embed_tokens.weight
    return model.requires_grad_(True)


def _owned(tensor: Tensor, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """A copy, never the mapped file: what is trained is written to."""
    return tensor.to(device=device, dtype=dtype, copy=True)


def read_config(folder: Path) -> ModelConfig:
    """The configuration of a checkpoint folder: config.json, the tokenizer's special ids, the bounds of pictures."""
    try:
        raw = read_json(folder, CONFIG)
    except OSError as error:
        raise SluiceError(
            f"{folder} is not a model: {CONFIG} cannot be read ({error.strerror}); "
            "give a folder that `sluice train` wrote, or one of the two published families"
        ) from error
    return config_of(raw, folder)


def config_of(raw: Mapping[str, Any], folder: Path) -> ModelConfig:
    """As `read_config`, of a config.json that was read already."""
    config = from_hub(raw, str(folder / CONFIG), _token_ids(folder))
    image = read_image_config(folder)
    return config if image is None else replace(config, image=image)


def read_image_config(folder: Path) -> ImageConfig | None:
    """The bounds of pictures that a folder's preprocessor_config.json gives, if it has one."""
    path = folder / preprocessing.NAME
    return preprocessing.image_config(read_json(folder, preprocessing.NAME), str(path)) if path.exists() else None


def _token_ids(folder: Path) -> dict[str, int]:
    """The ids of the control tokens in the folder's tokenizer, by our names; none without a tokenizer."""
    if not (folder / TOKENIZER).exists():
        return {}
    added = read_json(folder, TOKENIZER).get("added_tokens")
    tokens = [t for t in added if isinstance(t, dict)] if isinstance(added, list) else []
    ids = {str(t.get("content")): t["id"] for t in tokens if type(t.get("id")) is int}
    return {name: ids[token] for name, token in TOKEN_NAMES.items() if token in ids}


def parameter_shapes(config: ModelConfig) -> dict[str, Shape]:
    """The parameters of a model by name, a tied head left out."""
    with torch.device("meta"):
        model = VisionLanguageModel(config)
    return {name: tuple(p.shape) for name, p in model.named_parameters()}


def save_checkpoint_files(
    model: VisionLanguageModel,
    folder: Path,
    tokenizer: Path | None = None,
    layout: Layout | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Writes a model into an existing folder as `write_checkpoint` does."""
    state = {name: p.detach() for name, p in model.state_dict().items()}
    write_checkpoint(model.config, state, folder, tokenizer, layout=layout, max_shard_bytes=max_shard_bytes)


def write_checkpoint(
    config: ModelConfig,
    state: Mapping[str, Tensor],
    folder: Path,
    tokenizer: Path | None = None,
    *,
    layout: Layout | None = None,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Writes all files of a checkpoint into an existing folder; weights are taken from `state` a shard at a time.

    `state` has the model's parameters under our names (a tied head may be left out) and its buffers. `layout` None is
    what transformers writes for the family; `dtype` None is the embedding's. `tokenizer` is a folder whose files are
    copied beside the weights. Buffers (the routers' balancing bias) go to a side file: the published form has no place
    for them, so whoever reads only that form computes without them. The same state gives the same bytes.
    """
    layout = layout or default_layout(config)
    check_layout(config, layout)
    shapes = parameter_shapes(config)
    dtype = dtype or state[EMBEDDING].dtype
    write_tensors(folder, list(_stored(config, state, shapes, layout, dtype)), max_shard_bytes)
    extra = {name: state[name].cpu().contiguous() for name in sorted(state) if name not in shapes and name != HEAD}
    if extra:
        save_file(extra, folder / EXTRA)
    write_json(folder / CONFIG, to_hub(config, str(dtype).removeprefix("torch.")))
    write_side_files(config, folder, tokenizer)


def write_side_files(config: ModelConfig, folder: Path, tokenizer: Path | None = None) -> None:
    """What belongs beside weights or adapters: preprocessing, generation settings, the files of `tokenizer`."""
    write_json(folder / preprocessing.NAME, preprocessing.to_preprocessor(config))
    write_json(folder / GENERATION, _generation(config))
    if tokenizer is not None:
        # the folder may be a checkpoint: its weights and what was written anew stay where they are
        for path in sorted(tokenizer.iterdir()):
            is_beside = path.suffix in (".json", ".jinja", ".txt") and not path.name.endswith(".index.json")
            if path.is_file() and is_beside and not (folder / path.name).exists():
                shutil.copyfile(path, folder / path.name)


def _stored(
    config: ModelConfig, state: Mapping[str, Tensor], shapes: Mapping[str, Shape], layout: Layout, dtype: torch.dtype
) -> Iterator[Stored]:
    # the pieces of a parameter come one after the other: the one at hand is kept, not all of them
    parameter = lru_cache(maxsize=1)(state.__getitem__)
    for name, shape in shapes.items():
        for piece in pieces(name, shape, config, layout):
            yield Stored(piece.name, piece.shape, dtype, partial(_part, parameter, name, piece))


def _part(parameter: Callable[[str], Tensor], name: str, piece: Piece) -> Tensor:
    return piece.of(parameter(name))


def _generation(config: ModelConfig) -> dict[str, object]:
    """generation_config.json: greedy, until the end of the text or of the turn."""
    ends = [i for i in (config.special.end_of_text, config.special.im_end) if i >= 0]
    return {"do_sample": False, "eos_token_id": ends, "pad_token_id": ends[0]} if ends else {"do_sample": False}
