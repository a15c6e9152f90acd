"""`sluice export`: a checkpoint in the layout that others read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.train import import_model
from schemas.errors import SluiceError

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A run's folder (its newest checkpoint is used) or a checkpoint.")],
    out: Annotated[Path, typer.Argument(help="The folder to write; it must not exist, or be empty.")],
    layout: Annotated[
        str | None,
        typer.Option(help="hf5, hub-vl or hub-omni [default: what transformers writes for such a model]."),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16 [default: as the checkpoint is].")
    ] = None,
    max_shard_size: Annotated[str, typer.Option(help="Of one weights file: 5GB, 500MB.")] = "5GB",
    drop_router_bias: Annotated[
        bool, typer.Option("--drop-router-bias", help="Export a model without the bias it balances its experts with.")
    ] = False,
) -> None:
    """Write CHECKPOINT to OUT as transformers reads it: weights, configuration, tokenizer.

    Adapters are merged into the model that they are of.
    """
    modules = import_model()
    folder = modules.newest_checkpoint(checkpoint)
    with modules.plain_checkpoint(folder) as source:
        modules.export_checkpoint(
            source,
            out,
            layout=_one_of("--layout", layout, modules.LAYOUTS),
            dtype=_dtype(modules, dtype),
            max_shard_bytes=_bytes(max_shard_size),
            drop_router_bias=drop_router_bias,
        )
    print(out)


def _one_of(option: str, value: str | None, choices: tuple[str, ...]) -> str | None:
    if value is not None and value not in choices:
        raise SluiceError(f"{option} {value!r} is not one of {', '.join(choices)}")
    return value


def _dtype(modules: Any, name: str | None) -> Any:
    name = _one_of("--dtype", name, ("float32", "bfloat16", "float16"))
    return None if name is None else getattr(modules.torch, name)


def _bytes(size: str) -> int:
    """The number of bytes that a size such as 5GB, 500 MB or 2GiB means."""
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d+)?)\s*([kmg]i?b|)\s*", size, re.IGNORECASE)
    total = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if total < 1:
        raise SluiceError(f"--max-shard-size {size!r} is no size; write 5GB or 500MB")
    return total
