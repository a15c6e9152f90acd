"""The tensors that make a run what it is: weights and optimizer state, under names that no layout changes.

weights/NAME   parameters (in float32 where they are trained, whatever the model computes in) and buffers; of a model
               with adapters, the adapters alone: the rest is their base's, which is never changed
optimizer/…    what the optimizer keeps
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from model.adapt import has_adapters, save_adapter
from model.interop import write_checkpoint, write_side_files
from model.interop.runs import TRAINING
from model.net.vlm import VisionLanguageModel
from model.train.layout import Layout
from model.train.optim import Optimizer
from model.train.ranks import local
from model.train.storage import Shards

WEIGHTS, OPTIMIZER = "weights/", "optimizer/"


def run_state(model: VisionLanguageModel, optimizer: Optimizer, layout: Layout) -> dict[str, Tensor]:
    """The state of a run, as views that can be saved, or filled from a checkpoint."""
    parameters = dict(model.named_parameters())
    weights = optimizer.weights()
    kept = weights if has_adapters(model) else parameters
    found = {WEIGHTS + n: layout.whole(n, weights.get(n, local(parameters[n].detach()))) for n in kept}
    if not has_adapters(model):
        aliases = set(dict(model.named_parameters(remove_duplicate=False)))
        found |= {WEIGHTS + name: buffer for name, buffer in model.state_dict().items() if name not in aliases}
    for key, tensor in optimizer.state_tensors().items():
        name, _, what = key.rpartition("/")
        if what == "master":
            continue
        lies_as_parameter = tensor.ndim == parameters[name].ndim
        found[OPTIMIZER + key] = layout.whole(name, tensor) if lies_as_parameter else tensor
    return found


def model_writer(
    model: VisionLanguageModel, tokenizer: Path, dtype: torch.dtype, base: str = ""
) -> Callable[[Path], None]:
    """What writes the model beside the state in a checkpoint's folder, from the weights that are in the state.

    Of a model with adapters these are written, as adapters of the model in `base`.
    """

    def write(folder: Path) -> None:
        weights = Shards(folder / TRAINING, WEIGHTS)
        if not base:
            write_checkpoint(model.config, weights, folder, tokenizer, dtype=dtype)
            return
        save_adapter(model, folder, base, {name: weight.to(dtype) for name, weight in weights.items()})
        write_side_files(model.config, folder, tokenizer)

    return write
