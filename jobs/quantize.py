"""`sluice quantize`: a checkpoint with its matrices as integers, and what that changes."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from jobs.train import import_model
from schemas.errors import SluiceError

#: sequences that are scored together
_TOGETHER = 4


def quantize(
    checkpoint: Annotated[Path, typer.Argument(help="A run's folder (its newest checkpoint is used) or a checkpoint.")],
    out: Annotated[Path, typer.Argument(help="The folder to write; it must not exist, or be empty.")],
    scheme: Annotated[
        str | None,
        typer.Option(
            help="int8, int4, or with int8 activations: int8_dynamic, int8_dynamic_int4 [default: that of the run's "
            "qat, else int8]."
        ),
    ] = None,
    group_size: Annotated[int, typer.Option(help="Columns that share a scale, of the 4-bit schemes.")] = 32,
    data: Annotated[
        Path | None, typer.Option("--data", help="A dataset whose held-out sequences tell what it costs.")
    ] = None,
    holdout: Annotated[float, typer.Option(help="The share that the run held out.")] = 0.02,
    max_sequences: Annotated[int, typer.Option(min=1, help="Held-out sequences scored, at most.")] = 32,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads [default: physical cores].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write CHECKPOINT to OUT with the decoder's matrices as integers; `sluice generate` opens it."""
    modules = import_model()
    modules.torch.set_num_threads(threads or psutil.cpu_count(logical=False) or 1)
    folder = modules.newest_checkpoint(checkpoint)
    scheme = scheme or _trained_for(modules, folder)
    how = modules.Quantisation(scheme=scheme, group_size=group_size)
    if modules.read_note(folder):
        raise SluiceError(f"{folder} is quantised already; give the checkpoint that it was made of")
    model = modules.open_model(folder).eval()
    before = modules.bytes_of(model)
    plain = copy.deepcopy(model) if data else None
    modules.quantise_model(model, how)
    found: dict[str, Any] = {"scheme": scheme, "bytes_before": before, "bytes_after": modules.bytes_of(model)}
    if plain is not None and data is not None:
        effect = modules.compare(plain, model, _held_out(modules, data, folder, holdout, max_sequences))
        found |= dataclasses.asdict(effect)
    modules.save_quantised(model, how, modules.open_side_files(folder), out)
    print(json.dumps(found) if as_json else _told(found, out))


def _trained_for(modules: Any, folder: Path) -> str:
    """The scheme that a checkpoint's run rounded its weights by; int8 when it did not."""
    run = modules.read_run(folder)
    qat = run["configuration"].get("qat", "none") if run else "none"
    return "int8" if qat == "none" else str(qat)


def _held_out(modules: Any, data: Path, checkpoint: Path, holdout: float, most: int) -> Any:
    from model.eval.dataset import check_tokenizer

    info = modules.dataset_info(data)
    check_tokenizer(info.tokenizer, checkpoint)
    shards = modules.TokenShards(info.shards)
    split = modules.HoldoutSplit(len(shards), holdout)
    rows = [split.held_out_row(i) for i in range(min(split.held_out, most))]
    for start in range(0, len(rows), _TOGETHER):
        yield modules.collate([shards[row] for row in rows[start : start + _TOGETHER]])


def _told(found: dict[str, Any], out: Path) -> str:
    lines = [
        f"{out}: {found['bytes_after'] / 1e6:.1f} MB, {found['bytes_before'] / found['bytes_after']:.2f} times smaller"
    ]
    if "tokens" in found:
        lines.append(
            f"held-out loss {found['loss_after']:.4f} ({found['loss_after'] - found['loss_before']:+.4f}), divergence "
            f"{found['divergence']:.4f} nats, same choice {found['same_choice']:.1%}, of {found['tokens']:,} tokens"
        )
    return "\n".join(lines)
