"""A model on disk: config.json and model.safetensors in one folder. Nothing here is ever unpickled."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from model.config import ModelConfig, from_dict, to_dict
from model.net.vlm import VisionLanguageModel
from schemas.errors import SluiceError

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
_STEP = re.compile(r"step-(\d{6,})")


def save_model(model: VisionLanguageModel, folder: Path) -> None:
    """Writes config.json and model.safetensors; a tied head is written once, as the embedding."""
    named = [*model.named_parameters(), *model.named_buffers()]
    tensors = {name: p.detach().contiguous() for name, p in named}
    save_file(tensors, folder / WEIGHTS_NAME, metadata={"format": "pt"})
    (folder / CONFIG_NAME).write_text(json.dumps(to_dict(model.config), indent=2) + "\n", encoding="utf-8")


def load_model(folder: Path) -> VisionLanguageModel:
    """Reads what `save_model` wrote, on CPU; raises SluiceError saying which file is missing, torn or does not fit."""
    config_path, weights_path = folder / CONFIG_NAME, folder / WEIGHTS_NAME
    try:
        raw = json.loads(config_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SluiceError(
            f"{folder} is not a model: {CONFIG_NAME} cannot be read ({error}); give a folder that `sluice train` wrote"
        ) from error
    config = from_dict(ModelConfig, raw, str(config_path))
    try:
        tensors = load_file(weights_path)
    except (OSError, SafetensorError) as error:
        raise SluiceError(
            f"{weights_path} cannot be read ({error}); the checkpoint is torn, use an earlier one"
        ) from error
    with torch.device("meta"):
        model = VisionLanguageModel(config)
    expected = {name: p.shape for name, p in (*model.named_parameters(), *model.named_buffers())}
    problems = [f"{n} is missing" for n in expected if n not in tensors]
    problems += [f"{n} is not part of the model" for n in tensors if n not in expected]
    problems += [
        f"{n} is {list(tensors[n].shape)}, expected {list(shape)}"
        for n, shape in expected.items()
        if n in tensors and tensors[n].shape != shape
    ]
    if problems:
        raise SluiceError(f"{weights_path} does not fit its {CONFIG_NAME}: {'; '.join(problems[:5])}")
    model.load_state_dict(tensors, strict=False, assign=True)
    if config.text.tie_word_embeddings:
        model.lm_head.weight = model.model.language_model.embed_tokens.weight
    return model.requires_grad_(True)


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints of a run folder, oldest first."""
    found = [p for p in folder.glob("checkpoints/step-*") if _STEP.fullmatch(p.name)]
    return sorted(found, key=lambda p: int(p.name.removeprefix("step-")))


def newest_checkpoint(folder: Path) -> Path:
    """A checkpoint folder as given, or the newest one of a run folder; raises SluiceError when there is none."""
    if (folder / WEIGHTS_NAME).exists():
        return folder
    found = checkpoints(folder)
    if not found:
        raise SluiceError(f"{folder} holds no checkpoint; give a folder that `sluice train` wrote")
    return found[-1]
