"""Names and shapes of one model's tensors in the three layouts that checkpoints of the two families come in.

`hf5`       what transformers 5 holds in memory, and writes for Qwen3-VL-MoE: experts fused, [E, 2I, d] and [E, d, I]
`hub-vl`    the published Qwen3-VL-MoE checkpoints: the same names, experts transposed, [E, d, 2I] and [E, I, d]
`hub-omni`  the published Qwen3-Omni checkpoints, and what transformers 5 writes for a thinker: one tensor for each
            expert and matrix; the whole model has the prefix `thinker.` and parts that are not the thinker's

Source: transformers 5.23, conversion_mapping.py ("qwen3_vl_moe", "qwen2_moe") and the two modeling files.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from model.config import ModelConfig
from schemas.errors import SluiceError

Layout = Literal["hf5", "hub-vl", "hub-omni"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
Shape = tuple[int, ...]

THINKER = "thinker."
#: parts of a whole Qwen3-Omni that speak; and constants that old versions wrote and everyone computes
_IGNORED = re.compile(r"(talker|code2wav)\..*|.*\.inv_freq|.*\.positional_embedding\.positional_embedding")
_GATE_UP, _DOWN = ".mlp.experts.gate_up_proj", ".mlp.experts.down_proj"
_OMNI_MERGERS = (
    (re.compile(r"(\.merger|merger_list\.\d+)\.norm\."), r"\1.ln_q."),
    (re.compile(r"(\.merger|merger_list\.\d+)\.linear_fc1\."), r"\1.mlp.0."),
    (re.compile(r"(\.merger|merger_list\.\d+)\.linear_fc2\."), r"\1.mlp.2."),
    (re.compile(r"\.deepstack_merger_list\."), ".merger_list."),
)


@dataclass(frozen=True)
class Piece:
    """A tensor of a file: the part `index` of one of our parameters, its last two axes swapped if `transposed`."""

    name: str
    index: tuple[int | slice, ...]
    shape: Shape
    transposed: bool = False

    def of(self, parameter: Tensor) -> Tensor:
        """The piece as a view of the parameter."""
        part = parameter[self.index]
        return part.mT if self.transposed else part


def default_layout(config: ModelConfig) -> Layout:
    """What transformers itself writes for a model of this family."""
    return "hub-omni" if config.variant == "omni" else "hf5"


def check_layout(config: ModelConfig, layout: Layout) -> None:
    """Raises SluiceError when a model cannot be written in a layout so that others read it right."""
    fits = {"hub-vl": "vl", "hub-omni": "omni"}.get(layout, config.variant)
    if fits != config.variant:
        has = "has an audio tower" if config.variant == "omni" else "has no audio tower"
        raise SluiceError(f"this model {has}, so layout {layout} does not fit; use {default_layout(config)}")
    text = config.text
    if layout == "hub-vl" and text.hidden_size in (text.moe_intermediate_size, 2 * text.moe_intermediate_size):
        raise SluiceError(
            f"with hidden_size {text.hidden_size} and moe_intermediate_size {text.moe_intermediate_size} the experts "
            "of layout hub-vl look like those of hf5, and transformers would read them wrongly; use hf5"
        )


def pieces(name: str, shape: Shape, config: ModelConfig, layout: Layout, prefix: str = "") -> list[Piece]:
    """The tensors that a parameter `name` of ours, of `shape`, is stored as."""
    stored = prefix + _stored_name(name, config, layout)
    if not name.endswith((_GATE_UP, _DOWN)):
        return [Piece(stored, (), shape)]
    if layout == "hf5":
        return [Piece(stored, (), shape)]
    experts, rows, columns = shape
    if layout == "hub-vl":
        return [Piece(stored, (), (experts, columns, rows), transposed=True)]
    stem, _, _ = stored.rpartition(".")
    if name.endswith(_DOWN):
        return [Piece(f"{stem}.{e}.down_proj.weight", (e,), (rows, columns)) for e in range(experts)]
    half = rows // 2
    return [
        Piece(f"{stem}.{e}.{part}_proj.weight", (e, slice(start, start + half)), (half, columns))
        for e in range(experts)
        for part, start in (("gate", 0), ("up", half))
    ]


def _stored_name(name: str, config: ModelConfig, layout: Layout) -> str:
    if config.variant == "vl":
        return name
    for pattern, replacement in _OMNI_MERGERS:
        name = pattern.sub(replacement, name)
    if layout == "hub-omni":
        name = name.replace("model.language_model.", "model.", 1)
        name = re.sub(r"^model\.(visual|audio_tower)\.", r"\1.", name)
    return name


def ours(names: Iterable[str]) -> set[str]:
    """The names that belong to the model, out of all that a checkpoint holds."""
    return {name for name in names if not _IGNORED.fullmatch(name)}


def detect(stored: Mapping[str, Shape], config: ModelConfig, shapes: Mapping[str, Shape]) -> tuple[Layout, str]:
    """The layout of a checkpoint's tensors, and the prefix of its names.

    Of fused experts the shapes of both matrices decide together: hidden_size can equal one of 2I and I, never both, so
    one of the two always tells. Raises SluiceError when they do not agree.
    """
    if config.variant == "omni":
        prefix = THINKER if any(name.startswith(THINKER) for name in stored) else ""
        fused = any(name.startswith(f"{prefix}model.language_model.") for name in stored)
        return ("hf5" if fused else "hub-omni"), prefix
    fused_names = [name for name in shapes if name.endswith((_GATE_UP, _DOWN)) and name in stored]
    fitting: list[Layout] = [
        layout
        for layout in ("hf5", "hub-vl")
        if all(pieces(n, shapes[n], config, layout)[0].shape == stored[n] for n in fused_names)
    ]
    if not fitting:
        name = next((n for n in fused_names if sorted(stored[n]) != sorted(shapes[n])), fused_names[0])
        raise SluiceError(
            f"experts are neither of layout hf5 nor of hub-vl: {name} is {list(stored[name])}, expected "
            f"{list(shapes[name])}, or its last two swapped, the same for all layers"
        )
    return fitting[0], ""


def compare_names(found: Collection[str], expected: Collection[str]) -> list[str]:
    """What is missing and what does not belong, in words."""
    found, expected = set(found), set(expected)
    problems = [f"{name} is missing" for name in sorted(expected - found)]
    return problems + [f"{name} is not part of the model" for name in sorted(found - expected)]
