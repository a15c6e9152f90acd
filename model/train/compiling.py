"""torch.compile on the decoder's layers: fewer passes over activations, at the price of compiling when a run starts."""

from __future__ import annotations

import os
import shutil
import sys

from model.net.vlm import VisionLanguageModel
from schemas.errors import SluiceError

_COMPILERS = ("g++", "clang++", "c++")


def compile_layers(model: VisionLanguageModel) -> None:
    """Compiles every decoder layer when it first runs, for any number of tokens.

    Routing by expert and grouping by length depend on the data and stay as they are, between compiled pieces; so do the
    towers and the loss, which gain nothing. Raises SluiceError when there is no C++ compiler to do it with.
    """
    wanted = [os.environ["CXX"]] if os.environ.get("CXX") else _COMPILERS
    if not any(shutil.which(name) for name in wanted) or sys.platform == "win32":
        raise SluiceError(
            f"compile: there is no C++ compiler ({' or '.join(wanted)}); install one, or set `compile: false`"
        )
    for layer in model.model.language_model.layers:
        layer.compile(dynamic=True)
