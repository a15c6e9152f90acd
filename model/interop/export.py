"""Copying a checkpoint into a layout that others read, a tensor at a time."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import torch

from model.interop.checkpoint import CONFIG, EXTRA, GENERATION, MAX_SHARD_BYTES, Checkpoint, write_checkpoint
from model.interop.jsonfile import inside
from model.interop.layouts import Layout
from model.interop.preprocessing import NAME as PREPROCESSOR
from schemas.errors import SluiceError

#: what is written anew
_OWN = frozenset({CONFIG, PREPROCESSOR, EXTRA, GENERATION})


def export_checkpoint(
    folder: Path,
    out: Path,
    *,
    layout: Layout | None = None,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    drop_router_bias: bool = False,
) -> None:
    """Writes the checkpoint of `folder` to `out`, all at once: what is there is whole, or nothing is.

    Only one shard is in memory at a time. Raises SluiceError when the published form cannot say what the model does:
    a balancing bias that is not zero (unless it is to be dropped), layers with a sliding window, missing towers.
    """
    checkpoint = Checkpoint(folder)
    _check_expressible(checkpoint, drop_router_bias)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SluiceError(f"{out} is there already; give a folder that does not exist, or an empty one")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        write_checkpoint(
            checkpoint.config, checkpoint, temporary, layout=layout, dtype=dtype, max_shard_bytes=max_shard_bytes
        )
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.suffix in (".json", ".jinja", ".txt") and _is_kept(path.name):
                shutil.copyfile(inside(folder, path.name), temporary / path.name)
        temporary.chmod(0o755)
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_kept(name: str) -> bool:
    return name not in _OWN and not name.endswith(".safetensors.index.json")


def _check_expressible(checkpoint: Checkpoint, drop_router_bias: bool) -> None:
    config = checkpoint.config
    biased = [name for name, tensor in checkpoint.extra().items() if bool(tensor.any())]
    if biased and not drop_router_bias:
        raise SluiceError(
            f"{checkpoint.folder} balances its experts with a bias ({biased[0]} and {len(biased) - 1} more), for which "
            "the published form has no place; without it other experts are chosen. --drop-router-bias exports it so"
        )
    problems = [
        ("sliding_attention" in config.text.layer_types, "layers with a sliding window"),
        (config.variant == "vl" and not config.text.norm_topk_prob, "norm_topk_prob false in a model without audio"),
        (config.vision is None, "a model without a vision tower"),
    ]
    for is_so, what in problems:
        if is_so:
            raise SluiceError(f"{checkpoint.folder}: the published form cannot say {what}, so it is not exported")
