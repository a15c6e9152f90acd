"""The tensors that make a run what it is: weights and optimizer state, under names that no layout changes.

weights/NAME   parameters (in float32 where they are trained, whatever the model computes in) and buffers
optimizer/…    what the optimizer keeps
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from model.config import ModelConfig
from model.interop import write_checkpoint
from model.net.vlm import VisionLanguageModel
from model.train.checkpoint import TRAINING
from model.train.layout import Layout
from model.train.optim import Optimizer
from model.train.ranks import local
from model.train.storage import Shards

WEIGHTS, OPTIMIZER = "weights/", "optimizer/"


def run_state(model: VisionLanguageModel, optimizer: Optimizer, layout: Layout) -> dict[str, Tensor]:
    """The state of a run, as views that can be saved, or filled from a checkpoint."""
    parameters = dict(model.named_parameters())
    weights = optimizer.weights()
    found = {WEIGHTS + n: layout.whole(n, weights.get(n, local(p.detach()))) for n, p in parameters.items()}
    aliases = set(dict(model.named_parameters(remove_duplicate=False)))
    found |= {WEIGHTS + name: buffer for name, buffer in model.state_dict().items() if name not in aliases}
    for key, tensor in optimizer.state_tensors().items():
        name, _, what = key.rpartition("/")
        if what == "master":
            continue
        lies_as_parameter = tensor.ndim == parameters[name].ndim
        found[OPTIMIZER + key] = layout.whole(name, tensor) if lies_as_parameter else tensor
    return found


def model_writer(config: ModelConfig, tokenizer: Path, dtype: torch.dtype) -> Callable[[Path], None]:
    """What writes the model beside the state in a checkpoint's folder, from the weights that are in the state."""

    def write(folder: Path) -> None:
        write_checkpoint(config, Shards(folder / TRAINING, WEIGHTS), folder, tokenizer, dtype=dtype)

    return write
