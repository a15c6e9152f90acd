"""Adapters on disk as peft writes them: adapter_config.json and adapter_model.safetensors.

`peft.PeftModel.from_pretrained` opens them on the transformers model of the same family, experts included: peft lays
the adapters of E experts side by side, A as [E * rank, in] and B as [out, rank * E], rank the slower axis, and nests
the wrappers of a layer's two fused parameters, down_proj outside (peft 0.21, tuners/lora/layer.py, ParamWrapper).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.adapt.lora import LowRankExperts, LowRankLinear, adapt, merge_adapters
from model.adapt.nf4 import Nf4Experts, Nf4Linear, quantise_frozen
from model.config import AdapterConfig
from model.net.moe import Experts
from model.net.vlm import VisionLanguageModel
from schemas.errors import SluiceError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
#: what the adapters were trained on, where that is not the base as it is; peft warns of a key it does not know
OURS = "sluice"
_PREFIX = "base_model.model."
_LARGEST_CONFIG = 1 << 20
#: where peft puts the adapter of a fused parameter, after the path of the experts
_FUSED = {"gate_up_proj": ".base_layer", "down_proj": ""}
#: our names and those of a Qwen3-Omni thinker in transformers' memory
_OMNI = (
    (r"(\.merger|merger_list\.\d+)\.linear_fc1$", r"\1.mlp.0"),
    (r"(\.merger|merger_list\.\d+)\.linear_fc2$", r"\1.mlp.2"),
    (r"\.deepstack_merger_list\.", ".merger_list."),
)
#: settings of peft that change what an adapter computes, and that ours do not have
_UNSUPPORTED = (
    *("use_dora", "use_rslora", "lora_bias", "fan_in_fan_out", "modules_to_save", "rank_pattern", "alpha_pattern"),
    *("layer_replication", "trainable_token_indices", "alora_invocation_tokens", "use_qalora", "kasa_config"),
)


def adapter_state(model: VisionLanguageModel, values: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The adapters of a model by peft's names; empty for a model without any.

    `values` are the parameters by our names, where they are not the model's own: a copy, or gathered from ranks.
    """
    values = dict(model.named_parameters()) if values is None else values
    state: dict[str, Tensor] = {}
    for path, module in model.named_modules():
        stem = _PREFIX + _published(path, model)
        if isinstance(module, LowRankLinear):
            state[f"{stem}.lora_A.weight"] = values[f"{path}.lora_A"]
            state[f"{stem}.lora_B.weight"] = values[f"{path}.lora_B"]
        elif isinstance(module, LowRankExperts):
            for name, nesting in _FUSED.items():
                state[f"{stem}{nesting}.lora_A.weight"] = values[f"{path}.lora_A_{name}"].flatten(0, 1)
                state[f"{stem}{nesting}.lora_B.weight"] = values[f"{path}.lora_B_{name}"].permute(1, 2, 0).flatten(1)
    return {name: tensor.detach().contiguous() for name, tensor in sorted(state.items())}


def save_adapter(
    model: VisionLanguageModel, folder: Path, base: str, values: Mapping[str, Tensor] | None = None
) -> None:
    """Writes the adapters of a model into an existing folder; `base` names the model that they are of.

    `values` as of `adapter_state`.
    """
    adapted = {
        path: module for path, module in model.named_modules() if isinstance(module, LowRankLinear | LowRankExperts)
    }
    if not adapted:
        raise SluiceError("this model has no adapters to save")
    first = next(iter(adapted.values()))
    names = {path: _published(path, model) for path in adapted}
    fused = [names[path] for path, module in adapted.items() if isinstance(module, LowRankExperts)]
    settings: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": first.rank,
        "lora_alpha": first.scaling * first.rank,
        # peft refuses dropout on fused parameters; it only matters in training
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(set(names.values()) - set(fused)),
        "target_parameters": [f"{name}.{parameter}" for name in fused for parameter in _FUSED] or None,
    }
    if any(isinstance(module, Nf4Linear | Nf4Experts) for module in model.modules()):
        settings[OURS] = {"quantize": "nf4"}
    save_file(adapter_state(model, values), folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def load_adapter(model: VisionLanguageModel, folder: Path) -> None:
    """Puts the adapters of a folder, ours or peft's, on a plain model, frozen.

    Adapters that were trained over weights in 4 bits are put on the weights that those bits stand for.
    Raises SluiceError when the files are torn, do not fit the model, or ask for what is more than plain LoRA.
    """
    settings = read_settings(folder)
    path = folder / WEIGHTS
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise SluiceError(f"{path} cannot be read ({error}); the adapter is torn, use another one") from error
    rank, alpha = settings.get("r"), settings.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float) or not 0 < alpha < math.inf:
        raise SluiceError(
            f"{folder / CONFIG}: r must be at least 1 and lora_alpha positive, got {rank!r} and {alpha!r}"
        )
    stems = {name.removesuffix(".lora_A.weight") for name in tensors if name.endswith(".lora_A.weight")}
    paths = [
        place
        for place, module in model.named_modules()
        if isinstance(module, nn.Linear | Experts) and _PREFIX + _published(place, model) in stems
    ]
    # shapes are compared before anything the size of `rank` is made
    expected = _expected(model, paths, rank)
    problems = [f"{name} is missing" for name in expected if name not in tensors]
    problems += [f"{name} belongs to no module of the model" for name in tensors if name not in expected]
    problems += [
        f"{name} is {list(tensors[name].shape)}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    if problems or not paths:
        raise SluiceError(f"{path} does not fit the model: {'; '.join(sorted(problems)[:5]) or 'it adapts nothing'}")
    if settings.get(OURS) == {"quantize": "nf4"}:
        quantise_frozen(model)
        merge_adapters(model)
    adapt(model, paths, AdapterConfig(rank=rank, alpha=float(alpha)), torch.Generator())
    _fill(model, tensors)
    model.requires_grad_(False)


def read_settings(folder: Path) -> dict[str, Any]:
    """adapter_config.json; raises SluiceError when it is torn, or of another kind of adapter."""
    path = folder / CONFIG
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise SluiceError(f"{path} is larger than {_LARGEST_CONFIG >> 20} MB; it is no adapter's configuration")
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SluiceError(f"{path} cannot be read ({error}); the adapter is torn, use another one") from error
    if not isinstance(settings, dict) or settings.get("peft_type") != "LORA":
        raise SluiceError(f"{path} is not of a LoRA adapter; other kinds cannot be read")
    refused = [name for name in _UNSUPPORTED if settings.get(name)]
    refused += ["bias"] if settings.get("bias", "none") != "none" else []
    if refused:
        raise SluiceError(f"{path} sets {', '.join(refused)}, which is more than plain LoRA and cannot be honoured")
    return settings


def _expected(model: VisionLanguageModel, paths: list[str], rank: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for path in paths:
        module, stem = model.get_submodule(path), _PREFIX + _published(path, model)
        if isinstance(module, nn.Linear):
            shapes[f"{stem}.lora_A.weight"] = (rank, module.in_features)
            shapes[f"{stem}.lora_B.weight"] = (module.out_features, rank)
            continue
        for name, nesting in _FUSED.items():
            experts, out, size = getattr(module, name).shape
            shapes[f"{stem}{nesting}.lora_A.weight"] = (experts * rank, size)
            shapes[f"{stem}{nesting}.lora_B.weight"] = (out, rank * experts)
    return shapes


@torch.no_grad()
def _fill(model: VisionLanguageModel, tensors: dict[str, Tensor]) -> None:
    for path, module in model.named_modules():
        stem = _PREFIX + _published(path, model)
        if isinstance(module, LowRankLinear):
            module.lora_A.copy_(tensors[f"{stem}.lora_A.weight"])
            module.lora_B.copy_(tensors[f"{stem}.lora_B.weight"])
        elif isinstance(module, LowRankExperts):
            for name, nesting in _FUSED.items():
                a, b = module.factors(name)
                a.copy_(tensors[f"{stem}{nesting}.lora_A.weight"].view_as(a))
                flat = tensors[f"{stem}{nesting}.lora_B.weight"]
                b.copy_(flat.unflatten(1, (-1, len(b))).permute(2, 0, 1))


def _published(path: str, model: VisionLanguageModel) -> str:
    """A module's path in the transformers model of the family."""
    if model.config.variant == "omni":
        for pattern, replacement in _OMNI:
            path = re.sub(pattern, replacement, path)
    return path
