"""Low-rank adapters (Hu et al. 2021, LoRA, arXiv 2106.09685): y = W x + (alpha / rank) B A x, with W frozen.

B starts at zero, so that an adapted model first equals its base. Adapters of fused experts go through the rows that
are sorted by expert already: no update the size of the weights is ever built (docs/decisions/0014-adapters.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.adapt.experts import PROJECTIONS, ProjectedExperts, plain_experts, plain_weights, shapes_of
from model.adapt.nf4 import Nf4Experts, Nf4Linear, quantise_frozen
from model.adapt.places import replace, targeted
from model.config import AdapterConfig, TextConfig
from model.net.expert_kernel import grouped_product
from model.net.moe import Experts
from model.net.vlm import VisionLanguageModel


def _start(*shape: int, dtype: torch.dtype, generator: torch.Generator) -> nn.Parameter:
    """A [..., rank, in] drawn as peft draws it: uniform up to 1/sqrt(in)."""
    bound = 1 / math.sqrt(shape[-1])
    values = torch.empty(shape).uniform_(-bound, bound, generator=generator)
    return nn.Parameter(values.to(dtype))


class LowRankLinear(nn.Module):
    """A frozen linear layer and its adapter: `lora_A` [rank, in], `lora_B` [out, rank]."""

    def __init__(self, base: nn.Linear | Nf4Linear, config: AdapterConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.rank, self.scaling, self.dropout = config.rank, config.alpha / config.rank, config.dropout
        dtype = base.weight.dtype
        self.lora_A = _start(config.rank, base.in_features, dtype=dtype, generator=generator)
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, config.rank, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out]."""
        dropped = F.dropout(x, self.dropout, self.training)
        return self.base(x) + F.linear(F.linear(dropped, self.lora_A), self.lora_B) * self.scaling

    @property
    def weight(self) -> Tensor:
        """The one matrix [out, in] that does the same, dropout apart: what a reader of the layer's weight gets."""
        return self.base.weight + self.lora_B @ self.lora_A * self.scaling

    def merged(self) -> nn.Linear:
        """A plain layer that does the same."""
        return _plain_linear(self.weight, self.base.bias)


class LowRankExperts(ProjectedExperts):
    """Frozen experts and an adapter for each expert and projection.

    `lora_A_NAME` [E, rank, in] and `lora_B_NAME` [E, out, rank], NAME being gate_up_proj or down_proj.
    """

    def __init__(self, base: Experts, config: AdapterConfig, generator: torch.Generator) -> None:
        super().__init__(shapes_of(base))
        self.base = base.requires_grad_(False)
        self.rank, self.scaling, self.dropout = config.rank, config.alpha / config.rank, config.dropout
        dtype = base.dtype if isinstance(base, Nf4Experts) else base.down_proj.dtype
        for name, (experts, out, size) in self.shapes.items():
            a = _start(experts, config.rank, size, dtype=dtype, generator=generator)
            self.register_parameter(f"lora_A_{name}", a)
            b = nn.Parameter(torch.zeros(experts, out, config.rank, dtype=dtype))
            self.register_parameter(f"lora_B_{name}", b)

    @property
    def gate_up_proj(self) -> Tensor:  # type: ignore[override]
        """The base's, whose length is the number of experts."""
        return self.base.gate_up_proj

    def factors(self, name: str) -> tuple[Tensor, Tensor]:
        """A [E, rank, in] and B [E, out, rank] of a projection."""
        return getattr(self, f"lora_A_{name}"), getattr(self, f"lora_B_{name}")

    def project(self, name: str, rows: Tensor, counts: Tensor) -> Tensor:
        """See ProjectedExperts."""
        ends = counts.cumsum(0, dtype=torch.int32)
        a, b = self.factors(name)
        dropped = F.dropout(rows, self.dropout, self.training)
        low = grouped_product(grouped_product(dropped, a.mT, ends), b.mT, ends)
        return self._frozen(name, rows, counts, ends) + low * self.scaling

    def _frozen(self, name: str, rows: Tensor, counts: Tensor, ends: Tensor) -> Tensor:
        if isinstance(self.base, ProjectedExperts):
            return self.base.project(name, rows, counts)
        return grouped_product(rows, getattr(self.base, name).detach().mT, ends)

    def merged(self, config: TextConfig) -> Experts:
        """Plain experts that do the same."""
        weights = self.base.weights() if isinstance(self.base, Nf4Experts) else plain_weights(self.base)
        for name in PROJECTIONS:
            a, b = self.factors(name)
            weights[name] = weights[name] + (b @ a).detach() * self.scaling
        return plain_experts(config, weights)


def add_adapters(model: VisionLanguageModel, config: AdapterConfig, seed: int) -> None:
    """Freezes the model, in 4 bits if so configured, and puts adapters on the modules that `config.targets` names.

    The adapters are the same for the same seed. Raises SluiceError for a target that the model does not have.
    """
    paths = targeted(model, config.targets)
    model.requires_grad_(False)
    if config.quantize == "nf4":
        quantise_frozen(model)
    adapt(model, paths, config, torch.Generator().manual_seed(seed))


def adapt(model: VisionLanguageModel, paths: Sequence[str], config: AdapterConfig, generator: torch.Generator) -> None:
    """Puts adapters on the modules at `paths`, drawing their A from `generator` in that order."""
    for path in paths:
        base = model.get_submodule(path)
        if isinstance(base, Experts):
            replace(model, path, LowRankExperts(base, config, generator))
        elif isinstance(base, nn.Linear | Nf4Linear):
            replace(model, path, LowRankLinear(base, config, generator))


def has_adapters(model: VisionLanguageModel) -> bool:
    """Whether any module of the model is adapted."""
    return any(isinstance(module, LowRankLinear | LowRankExperts) for module in model.modules())


@contextmanager
def adapters_off(model: VisionLanguageModel) -> Iterator[None]:
    """Inside, an adapted model computes what its base does."""
    adapted = [(m, m.scaling) for m in model.modules() if isinstance(m, LowRankLinear | LowRankExperts)]
    try:
        for module, _ in adapted:
            module.scaling = 0.0
        yield
    finally:
        for module, scaling in adapted:
            module.scaling = scaling


def merge_adapters(model: VisionLanguageModel) -> None:
    """Makes of an adapted model, its base quantised or not, a plain one with the same logits up to rounding."""
    for path, module in list(model.named_modules()):
        if isinstance(module, LowRankLinear):
            replace(model, path, module.merged())
        elif isinstance(module, LowRankExperts):
            replace(model, path, module.merged(model.config.text))
        elif isinstance(module, Nf4Linear) and not path.endswith(".base"):
            replace(model, path, _plain_linear(module.weight, module.bias))
        elif isinstance(module, Nf4Experts) and not path.endswith(".base"):
            replace(model, path, plain_experts(model.config.text, module.weights()))
    model.requires_grad_(True)


def _plain_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    plain = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    plain.weight = nn.Parameter(weight.detach())
    if bias is not None:
        plain.bias = nn.Parameter(bias.detach())
    return plain
