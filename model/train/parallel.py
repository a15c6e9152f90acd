"""A model spread over ranks: FSDP2 (Zhao et al. 2023, arXiv 2304.11277; torch `fully_shard`) and expert parallelism.

All ranks read different parts of one batch. Losses are divided by the targets of the whole step, so gradients are
summed over ranks, never averaged. A parameter lies cut along its first dimension, a layer at a time being put together
to compute; so an expert's matrices lie whole on one rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard

from model.net.moe import SparseMoe
from model.net.vlm import VisionLanguageModel
from model.train.experts import SpreadExperts
from model.train.layout import Layout
from model.train.muon import orthogonalise
from model.train.ranks import Ranks, exchange
from schemas.errors import SluiceError


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def spread(model: VisionLanguageModel, ranks: Ranks) -> Layout:
    """Spreads a model, equal on all of several ranks, over them, on their devices.

    The parameters of a spread model are DTensors in float32, whatever precision it computes in, and are their own
    master weights. Raises SluiceError when a layer's experts cannot be dealt out evenly.
    """
    model.to(ranks.device)
    precision = next(model.parameters()).dtype
    policy = MixedPrecisionPolicy(
        param_dtype=None if precision == torch.float32 else precision,
        reduce_dtype=torch.float32,
        # what a layer computes in float32 it is given in float32
        cast_forward_inputs=False,
    )
    model.float()
    data, shared = _meshes(ranks)
    decoder, vision, audio = model.model.language_model, model.model.visual, model.model.audio_tower
    for layer in decoder.layers:
        if ranks.config.expert > 1 and isinstance(layer.mlp, SparseMoe):
            layer.mlp.experts = _own_experts(layer.mlp, model, ranks)
            fully_shard(layer.mlp.experts, mesh=shared, mp_policy=policy)
    towers = [*(vision.blocks if vision else ()), vision, *(audio.layers if audio else ()), audio]
    # what is left to the model itself, embeddings, last norm and head, is used in its own forward pass
    for module in [*decoder.layers, *(tower for tower in towers if tower is not None), model]:
        fully_shard(module, mesh=data, mp_policy=policy)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    model.sum_over_ranks = _SumOverRanks.apply
    return SpreadLayout(model, ranks)


def _meshes(ranks: Ranks) -> tuple[DeviceMesh, DeviceMesh]:
    """The ranks that share a parameter, and those that share an expert's; replicas first where nothing is sharded."""
    kind, everyone = ranks.device.type, torch.arange(ranks.count)
    if ranks.config.shard:
        return DeviceMesh(kind, everyone, mesh_dim_names=("data",)), ranks.mesh["data"]
    alone = DeviceMesh(kind, ranks.mesh.mesh[..., None], mesh_dim_names=("expert", "data", "shard"))
    return DeviceMesh(kind, everyone[:, None], mesh_dim_names=("data", "shard")), alone["data", "shard"]


def _own_experts(moe: SparseMoe, model: VisionLanguageModel, ranks: Ranks) -> SpreadExperts:
    config, count = model.config.text, ranks.config.expert
    if config.num_experts % count:
        raise SluiceError(
            f"training configuration: parallel.expert is {count}, which does not divide the {config.num_experts} "
            "experts of a layer"
        )
    with torch.device("meta"):
        own = SpreadExperts(config, ranks.mesh.get_group("expert"))
    for name, whole in moe.experts.named_parameters():
        part = whole.detach().chunk(count)[ranks.mesh.get_local_rank("expert")].clone()
        setattr(own, name, nn.Parameter(part, requires_grad=whole.requires_grad))
    return own


class SpreadLayout(Layout):
    """Of a model that `spread` has spread."""

    def __init__(self, model: nn.Module, ranks: Ranks) -> None:
        self._ranks = ranks
        self._parameters = {name: cast(DTensor, p) for name, p in model.named_parameters()}
        self._experts = {
            f"{prefix}.{name}"
            for prefix, module in model.named_modules()
            if isinstance(module, SpreadExperts)
            for name, _ in module.named_parameters(recurse=False)
        }

    def height(self, name: str) -> int:
        parameter = self._parameters[name]
        return parameter.shape[0] if self._ranks.config.shard and parameter.ndim != 3 else 0

    def polar(self, stack: Tensor, height: int) -> Tensor:
        """Each rank puts some of the matrices together, and gives their rows back."""
        count, width = self._ranks.count, stack.shape[2]
        rows, dealt = _dealt(height, count), _dealt(len(stack), count)
        mine = dealt[self._ranks.rank]
        out, back = [k * stack.shape[1] for k in dealt], [mine * m for m in rows]
        parts = exchange(stack.flatten(0, 1), out, back).split(back)
        whole = torch.cat([p.view(mine, m, width) for p, m in zip(parts, rows, strict=True)], dim=1)
        parts = orthogonalise(whole).split(rows, dim=1)
        return exchange(torch.cat([p.flatten(0, 1) for p in parts]), back, out).view_as(stack)

    def whole(self, name: str, part: Tensor) -> DTensor:
        parameter = self._parameters[name]
        mesh, placements, shape = parameter.device_mesh, tuple(parameter.placements), parameter.shape
        if name in self._experts:
            mesh = self._ranks.mesh
            placements = (Shard(0), Shard(0) if self._ranks.config.shard else Replicate())
            shape = torch.Size((shape[0] * self._ranks.config.expert, *shape[1:]))
        stride = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(part, mesh, placements, run_check=False, shape=shape, stride=stride)

    def norm(self, gradients: Mapping[str, Tensor]) -> Tensor:
        squares = torch.zeros((), device=self._ranks.device)
        for name, norm in zip(gradients, torch._foreach_norm(list(gradients.values())), strict=True):
            squares += norm.square() / self._copies(name)
        return self._ranks.sum(squares).sqrt()

    def _copies(self, name: str) -> int:
        """Ranks that hold the same part of a parameter."""
        if self._ranks.config.shard:
            return 1
        return self._ranks.count // (self._ranks.config.expert if name in self._experts else 1)


def _dealt(things: int, count: int) -> list[int]:
    """How many of `things` each of `count` ranks holds, as torch.chunk and FSDP deal them."""
    most = -(-things // count)
    return [max(0, min(most, things - most * rank)) for rank in range(count)]
