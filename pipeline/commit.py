"""The commit: packed files moved into the dataset's folder, recounted, and the manifest written last."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.engine import LostRowsError
from pipeline.outputs import OWNED, claim
from pipeline.plan import Plan
from pipeline.recipe import digest, recipe_hash
from pipeline.report import write_report
from pipeline.report.recount import recount
from pipeline.storage import write_bytes
from pipeline.units import Unit
from schemas.manifest import MANIFEST_NAME, InputEntry, LedgerEntry, Manifest, ShardEntry, TokenizerEntry
from transforms.tokens.tokenizer import Tokenizer


def commit_dataset(
    plan: Plan,
    units: list[Unit],
    fingerprint: str,
    tokenizer: Path,
    groups: list[dict[str, Any]],
    out: Path,
    run: dict[str, Any],
    rows_in: int,
) -> Manifest:
    """Puts packed files into place, recounts what was written, writes the manifest, then the report.

    Raises LostRowsError unless the written ledger accounts for the `rows_in` rows that the sources read.
    """
    claim(out)
    for name in OWNED:
        if (out / name).exists():
            shutil.rmtree(out / name)
        (out / name).mkdir(parents=True)
    shards: list[ShardEntry] = []
    ledger: list[LedgerEntry] = []
    for group in groups:
        for entry in group["shards"]:
            place = f"shards/{len(shards):05d}.arrow"
            _move(Path(group["folder"]) / entry["path"], out / place)
            shards.append(ShardEntry(**(entry | {"path": place})))
        place = f"ledger/{len(ledger):05d}.parquet"
        _move(Path(group["folder"]) / group["ledger"]["path"], out / place)
        ledger.append(LedgerEntry(**(group["ledger"] | {"path": place})))
    used = Tokenizer.load(str(tokenizer))
    formats = [step.params["format"] for step in plan.recipe.steps if step.use == "chat.turns"]
    used.save(out / "tokenizer", formats[-1] if formats else "instruct")
    counts = recount([out / entry.path for entry in ledger], [out / entry.path for entry in shards])
    if counts.rows_in != rows_in:
        raise LostRowsError(f"the sources read {rows_in} rows, but the written ledger accounts for {counts.rows_in}")
    files = {unit.label: unit.size for unit in units}
    manifest = Manifest(
        name=plan.recipe.name,
        sluice_version=version("sluice"),
        git_commit=_git_commit(),
        recipe=plan.recipe.model_dump(by_alias=True, mode="json"),
        recipe_hash=recipe_hash(plan.recipe),
        run_fingerprint=fingerprint,
        input_fingerprint=digest(sorted(files.items())),
        inputs=[InputEntry(label=label, size=size) for label, size in sorted(files.items())],
        sequence_length=plan.recipe.tokens.sequence_length,
        image=plan.recipe.tokens.image,
        tokenizer=TokenizerEntry(
            path="tokenizer",
            fingerprint=used.fingerprint,
            vocab_size=used.vocab_size,
            special_ids=used.special_ids,
        ),
        shards=shards,
        ledger=ledger,
        counts=counts,
    )
    write_bytes(out / "run.json", json.dumps(run, indent=1).encode())
    write_bytes(out / MANIFEST_NAME, manifest.model_dump_json(indent=1).encode())
    write_report(out)
    return manifest


def _move(made: Path, place: Path) -> None:
    """Links rather than moves, so that a crash in the middle of a commit can be repeated."""
    place.hardlink_to(made)


def _git_commit() -> str | None:
    """The commit of the checkout the code runs from, when it is one."""
    try:
        asked = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None if asked.returncode == 0 else None
