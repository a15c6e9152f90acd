"""Quantised checkpoints: the files of a plain one, but for the weights, which are integers and scales.

config.json says how under `sluice.quantization`, so that what cannot read the integers refuses the folder; the weights
lie in quantised.safetensors, under our names, where nothing takes them for plain ones.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.adapt import Quantisation
from model.adapt.quantise import skeleton
from model.config import from_dict, to_dict
from model.interop.checkpoint import CONFIG, HEAD, config_of
from model.interop.config_json import OURS, to_hub
from model.interop.jsonfile import inside, read_json, write_json
from model.interop.layouts import compare_names
from model.net.vlm import VisionLanguageModel
from schemas.errors import SluiceError

WEIGHTS, NOTE = "quantised.safetensors", "quantization"
#: what else a plain checkpoint has that is not weights
_BESIDE = ("*.jinja", "tokenizer*.json", "preprocessor_config.json", "generation_config.json")


def read_note(folder: Path) -> Quantisation | None:
    """How the checkpoint of a folder is quantised; None for a plain one, or for no checkpoint at all."""
    if not (folder / CONFIG).is_file():
        return None
    ours = read_json(folder, CONFIG).get(OURS)
    if not isinstance(ours, Mapping) or NOTE not in ours:
        return None
    return from_dict(Quantisation, ours[NOTE], f"{folder / CONFIG}.{OURS}.{NOTE}")


def save_quantised(model: VisionLanguageModel, how: Quantisation, source: Path, out: Path) -> None:
    """Writes a quantised model, made of the checkpoint in `source`, to `out`: whole, or not at all."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SluiceError(f"{out} is there already; give a folder that does not exist, or an empty one")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        save_file(_state(model), temporary / WEIGHTS, metadata={"format": "pt"})
        dtype = str(model.model.language_model.embed_tokens.weight.dtype).removeprefix("torch.")
        raw = to_hub(model.config, dtype)
        raw[OURS] = raw.get(OURS, {}) | {NOTE: to_dict(how)}
        write_json(temporary / CONFIG, raw)
        for path in side_files(source):
            shutil.copyfile(path, temporary / path.name)
        temporary.chmod(0o755)
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def side_files(folder: Path) -> list[Path]:
    """Tokenizer, chat template, preprocessing and generation settings of a checkpoint."""
    return [inside(folder, path.name) for pattern in _BESIDE for path in sorted(folder.glob(pattern))]


def load_quantised(folder: Path, how: Quantisation) -> VisionLanguageModel:
    """The model of a quantised checkpoint, on CPU; raises SluiceError saying what is torn or does not fit."""
    raw: dict[str, Any] = read_json(folder, CONFIG)
    raw[OURS] = {key: value for key, value in raw[OURS].items() if key != NOTE}
    with torch.device("meta"):
        model = VisionLanguageModel(config_of(raw, folder))
    skeleton(model, how)
    path = inside(folder, WEIGHTS)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise SluiceError(f"{path} cannot be read ({error}); the checkpoint is torn, use another one") from error
    expected = _state(model)
    problems = compare_names(tensors, expected) + [
        f"{name} is {_kind(tensors[name])}, expected {_kind(tensor)}"
        for name, tensor in expected.items()
        if name in tensors and not _fits(tensors[name], tensor)
    ]
    if problems:
        raise SluiceError(f"{path} does not fit its {CONFIG}: {'; '.join(problems[:5])}")
    model.load_state_dict(tensors, strict=False, assign=True)
    if model.config.text.tie_word_embeddings:
        model.lm_head.weight = model.model.language_model.embed_tokens.weight
    return model.requires_grad_(False)


def _state(model: VisionLanguageModel) -> dict[str, Tensor]:
    """Parameters, integers and scales by name, a tied head left out."""
    tied = model.config.text.tie_word_embeddings
    return {n: t.detach().contiguous() for n, t in model.state_dict().items() if not (tied and n == HEAD)}


def _fits(found: Tensor, expected: Tensor) -> bool:
    """Weights that are whole may be of any floating type, scales and integers are of one."""
    both_whole = found.is_floating_point() and expected.is_floating_point()
    return found.shape == expected.shape and (both_whole or found.dtype == expected.dtype)


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
