"""torch.compile on the decoder's layers: fewer passes over activations, at the price of compiling when a run starts."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

import torch

from model.net.decoder import DecoderLayer
from model.net.moe import SparseMoe
from model.net.vlm import VisionLanguageModel
from schemas.errors import SluiceError

_COMPILERS = ("g++", "clang++", "c++")


def compile_layers(model: VisionLanguageModel, backend: str | Callable[..., Any] = "inductor") -> None:
    """Compiles every decoder layer when it first runs, for any number of tokens; `backend` as torch.compile takes it.

    Attention and experts are cut up by the batch's documents and its routing: compiled, they would be compiled again
    and again, so they stay as they are, between compiled pieces. So do the towers and the loss. Raises SluiceError when
    there is no C++ compiler.
    """
    wanted = [os.environ["CXX"]] if os.environ.get("CXX") else _COMPILERS
    if not any(shutil.which(name) for name in wanted) or sys.platform == "win32":
        raise SluiceError(
            f"compile: there is no C++ compiler ({' or '.join(wanted)}); install one, or set `compile: false`"
        )
    for layer in model.model.language_model.layers:
        assert isinstance(layer, DecoderLayer)
        layer.self_attn.attend = torch.compiler.disable(layer.self_attn.attend)  # type: ignore[method-assign]
        if isinstance(layer.mlp, SparseMoe):
            experts = layer.mlp.experts
            experts.forward = torch.compiler.disable(experts.forward)  # type: ignore[method-assign]
        layer.forward = torch.compile(layer.forward, dynamic=True, backend=backend)  # type: ignore[method-assign]
