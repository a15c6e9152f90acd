"""Regenerates tests/golden/model_*.safetensors with transformers: `python -m tests.golden.regenerate_model`.

The files hold what transformers computes for the small models and documents of tests/model_reference.py, whose weights
and inputs are made, not stored. They change only when those do.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.model_reference import documents

FAMILIES = ("vl", "omni")
#: of the logits, every so many rows; a row says something of all that comes before it
ROWS = 5


def golden(family: str) -> Path:
    """The golden file of a family."""
    return Path(__file__).with_name(f"model_{family}.safetensors")


def condensed(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Outputs as the golden file keeps them: some rows of logits; of each gradient its length and one projection."""
    names = sorted(name for name in outputs if name.startswith("grad."))
    found = {name: outputs[name] for name in ("loss", "balance")} | {"logits": outputs["logits"][::ROWS].contiguous()}
    rng = np.random.RandomState(3)
    gradients = []
    for name in names:
        direction = torch.from_numpy(rng.standard_normal(outputs[name].shape) / np.sqrt(outputs[name].numel()))
        gradients.append([outputs[name].double().norm(), (outputs[name].double() * direction).sum()])
    return found | {"gradients": torch.tensor(gradients, dtype=torch.float32)}


def main() -> None:
    """Writes the golden files."""
    from tests import model_transformers as theirs

    torch.set_num_threads(1)
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            model = theirs.small_model(family, Path(folder) / family)
            expected = theirs.reference(model, documents(family))
            rounded = theirs.open_with_transformers(Path(folder) / family, dtype=torch.bfloat16)
            error = theirs.bfloat16_error(rounded, documents(family), expected["logits"])
        kept = condensed(expected) | {"positions": expected["positions"].short(), "greedy": expected["greedy"].short()}
        save_file(kept | {"bfloat16_error": torch.tensor(error)}, golden(family))
        print(golden(family), golden(family).stat().st_size, "bytes")


if __name__ == "__main__":
    main()
