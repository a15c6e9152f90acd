"""Training as if the weights had been quantised (QAT; Jacob et al. 2018, arXiv 1712.05877).

Linear layers are torchao's `FakeQuantizedLinear`; fused experts, which torchao does not know, follow its arithmetic.
Parameters keep their names and stay whole, so checkpoints are those of the plain model; `quantise_model` with the
scheme `int8_dynamic_int4` makes the integers that the training saw.
"""

from __future__ import annotations

import logging
from collections import defaultdict

import torch
from torch import Tensor, nn

from model.adapt.experts import PROJECTIONS, ProjectedExperts, shapes_of
from model.adapt.integers import fake_quantise, round_rows
from model.adapt.places import projections, replace
from model.adapt.quantise import Quantisation
from model.net.expert_kernel import grouped_product
from model.net.moe import Experts
from model.net.vlm import VisionLanguageModel
from schemas.errors import SluiceError

#: what is trained for
QAT = Quantisation(scheme="int8_dynamic_int4", group_size=32)


class FakeQuantisedExperts(ProjectedExperts):
    """Experts whose weights and inputs are rounded in the forward pass; the parameters are those of `Experts`."""

    def __init__(self, source: Experts, groups: tuple[int, int]) -> None:
        super().__init__(shapes_of(source))
        self.gate_up_proj, self.down_proj = source.gate_up_proj, source.down_proj
        self.groups = dict(zip(PROJECTIONS, groups, strict=True))

    def project(self, name: str, rows: Tensor, counts: Tensor) -> Tensor:
        """See ProjectedExperts."""
        weights = fake_quantise(getattr(self, name), 4, self.groups[name])
        return grouped_product(round_rows(rows), weights.mT, counts.cumsum(0, dtype=torch.int32))


def prepare_qat(model: VisionLanguageModel) -> None:
    """Makes the decoder's linear layers and experts round as QAT says; call before the optimizer is built."""
    linears: dict[int, set[str]] = defaultdict(set)
    for path, module in list(projections(model)):
        if isinstance(module, nn.Linear):
            linears[QAT.group(module.in_features)].add(path)
        elif isinstance(module, Experts):
            groups = QAT.group(module.gate_up_proj.shape[-1]), QAT.group(module.down_proj.shape[-1])
            if all(groups):
                replace(model, path, FakeQuantisedExperts(module, groups))
    for group, paths in linears.items():
        if group:
            _prepare_linears(model, paths, group)


def _prepare_linears(model: VisionLanguageModel, paths: set[str], group: int) -> None:
    # it warns of deprecations inside itself
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    try:
        from torchao.quantization import Int8DynamicActivationIntxWeightConfig, PerGroup, quantize_
        from torchao.quantization.qat import QATConfig
    except ImportError as error:
        raise SluiceError(f"qat needs {error.name}, which is not installed: pip install 'sluice[model]'") from error
    scheme = Int8DynamicActivationIntxWeightConfig(
        weight_dtype=getattr(torch, "int4"),  # noqa: B009  unknown to torch's type stubs
        weight_granularity=PerGroup(group),
    )
    quantize_(model, QATConfig(scheme, step="prepare"), filter_fn=lambda module, path: path in paths)
