"""The report's machine form: everything the page shows, as plain JSON data of a stable shape."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from pipeline.report.dedups import dedup_counts
from pipeline.report.funnel import alarms, funnel, groups, step_labels
from pipeline.report.recount import ShardSums, sum_shards
from pipeline.report.scan import Scan, find_rows, scan_ledger
from pipeline.report.sketch import Sketch
from pipeline.report.tally import LANGUAGE, TOKENS
from schemas.errors import SchemaError
from schemas.manifest import Counts, Manifest, read_manifest

REPORT_VERSION = 1
RUN_NAME = "run.json"

#: distributions in the report; those that tell kept from rejected rows best come first
MAX_DISTRIBUTIONS = 24
_EXCERPT_CHARS = 280


def summarize(folder: str | Path) -> dict[str, Any]:
    """Recounts a finished dataset and describes it.

    Raises SchemaError when the folder is not a finished dataset, or its files contradict each other or the manifest.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    ledger = [folder / entry.path for entry in manifest.ledger]
    scan = scan_ledger(ledger, int(manifest.recipe.get("seed") or 0))
    shards = sum_shards([folder / entry.path for entry in manifest.shards])
    counts = scan.check.finish(ledger, shards)
    _agree(folder, manifest, scan, shards, counts)
    tally = scan.check.tally
    labels = step_labels(manifest.recipe, tally)
    steps = funnel(labels, tally)
    sources = groups(tally, lambda cell: cell.dataset, labels)
    run = _run(folder)
    report = {
        "report": REPORT_VERSION,
        "dataset": {
            "name": manifest.name,
            "description": manifest.recipe.get("description") or "",
            "sluice_version": manifest.sluice_version,
            "git_commit": manifest.git_commit,
            "recipe_hash": manifest.recipe_hash,
            "run_fingerprint": manifest.run_fingerprint,
            "input_fingerprint": manifest.input_fingerprint,
        },
        "counts": counts.model_dump(),
        "alarms": alarms(sources, steps),
        "funnel": steps,
        "languages": groups(tally, lambda cell: cell.language, labels),
        "close_calls": scan.close_calls.table(),
        "modalities": groups(tally, lambda cell: cell.modality, labels),
        "sources": sources,
        "rejections": _rejections(steps, scan),
        "dedup": dedup_counts(run),
        "duplicates": _duplicates(labels, scan, ledger),
        "contamination": scan.contamination.entries(),
        "kept_examples": [_example(row) for row in scan.kept.chosen(())],
        "distributions": _distributions(scan, manifest.recipe),
        "distributions_total": len(scan.sketches),
        "tokens": _tokens(manifest, shards),
        "inputs": {"files": len(manifest.inputs), "bytes": sum(entry.size for entry in manifest.inputs)},
        "run": run,
        "recipe": manifest.recipe,
    }
    return _finite(report)


def _agree(folder: Path, manifest: Manifest, scan: Scan, shards: ShardSums, counts: Counts) -> None:
    """Raises SchemaError when the manifest says other than its files."""
    for entry, (rows, tokens) in zip(manifest.shards, shards.by_shard, strict=True):
        if (entry.rows, entry.tokens) != (rows, tokens):
            raise SchemaError(
                f"{folder / entry.path} has {rows:,} rows and {tokens:,} tokens, but the manifest says {entry.rows:,} "
                f"and {entry.tokens:,}; the file was changed or belongs to another run. Run the recipe again"
            )
    lines = sum(entry.rows for entry in manifest.ledger)
    if lines != scan.lines:
        raise SchemaError(f"{folder}: the ledger has {scan.lines:,} lines, but the manifest says {lines:,}")
    said, found = manifest.counts.model_dump(), counts.model_dump()
    differing = [name for name in found if said[name] != found[name]]
    if differing:
        name = differing[0]
        raise SchemaError(
            f"{folder}: the manifest's counts are not what its files hold ({', '.join(differing)}; for example {name}: "
            f"manifest {said[name]!r:.120}, files {found[name]!r:.120}). Run the recipe again"
        )


def _rejections(steps: list[dict[str, Any]], scan: Scan) -> list[dict[str, Any]]:
    """One entry a (step, reason), rows and parts apart; `share` is of all rejected rows, or all removed parts."""
    found = []
    for kind, key in (("row", "reasons"), ("part", "parts_rejected")):
        total = sum(sum(step[key].values()) for step in steps)
        for step in steps:
            for reason, count in step[key].items():
                examples = [_example(row) for row in scan.rejected.chosen((step["step"], reason, kind == "part"))]
                entry = {"kind": kind, "step": step["step"], "reason": reason, "count": count, "share": count / total}
                found.append(entry | {"examples": examples})
    return found


def _duplicates(labels: list[str], scan: Scan, ledger: list[Path]) -> list[dict[str, Any]]:
    """Sampled pairs of a removed row (or part) and the row it was matched with."""
    pairs = [row for label in labels for row in scan.pairs.chosen((label,))]
    matches = find_rows(ledger, {row["match_id"] for row in pairs})
    return [
        {
            "step": row["step"],
            "reason": row["reason"],
            "removed": _example(row),
            "match_id": row["match_id"],
            "match": _example(matches[row["match_id"]]) if row["match_id"] in matches else None,
        }
        for row in pairs
    ]


def _example(row: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "source", "part", "modality", "verdict", "detail", "match_id", "num_chars", "num_media_bytes")
    excerpt = (row["excerpt"] or "")[:_EXCERPT_CHARS]
    cut = excerpt + "…" if len(excerpt) < (row["num_chars"] or 0) else excerpt
    return {name: row[name] for name in names} | {
        "language": row.get(LANGUAGE),
        "tokens": row.get(TOKENS),
        "excerpt": cut,
    }


def _distributions(scan: Scan, recipe: dict[str, Any]) -> list[dict[str, Any]]:
    """Histograms of the numeric columns: text length first, then by how far apart kept and rejected rows lie."""
    apart = {name: sketch.separation("kept", "rejected") for name, sketch in scan.sketches.items()}
    names = sorted(scan.sketches, key=lambda name: (name != "num_chars", name != TOKENS, -apart[name], name))
    return [
        {"column": name, "separation": apart[name], "cuts": _cuts(name, recipe), **_histogram(scan.sketches[name])}
        for name in names[:MAX_DISTRIBUTIONS]
    ]


def _histogram(sketch: Sketch) -> dict[str, Any]:
    bins = sketch.histogram()
    series = {
        name: {
            "rows": sketch.total(name),
            "median": sketch.quantile(0.5, name) if sketch.total(name) else None,
            "bins": bins.counts.get(name, [0] * (len(bins.edges) - 1)),
        }
        for name in ("kept", "rejected")
    }
    return {"edges": bins.edges, "log": bins.log, **series}


def _cuts(column: str, recipe: dict[str, Any]) -> list[float]:
    """Where steps that judge this very column by a range (select.range) cut it."""
    params = [step.get("with") or {} for step in recipe.get("steps") or []]
    bounds = [p.get(side) for p in params if p.get("column") == column for side in ("min", "max")]
    return sorted({float(bound) for bound in bounds if isinstance(bound, (int, float))})


def _tokens(manifest: Manifest, shards: ShardSums) -> dict[str, Any]:
    return {
        "tokens": shards.tokens,
        "documents": shards.documents,
        "sequences": shards.sequences,
        "sequence_length": manifest.sequence_length,
        "padding": shards.slots - shards.tokens,
        "padding_ratio": shards.padding_ratio,
        "tokenizer": manifest.tokenizer.model_dump(),
        "shards": [entry.model_dump() for entry in manifest.shards],
        "shard_bytes": sum(entry.bytes for entry in manifest.shards),
        "ledger_bytes": sum(entry.bytes for entry in manifest.ledger),
    }


def _run(folder: Path) -> dict[str, Any] | None:
    """What the run said about itself (time, memory, machine), if it left word."""
    path = folder / RUN_NAME
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SchemaError(f"{path} cannot be read as JSON ({error}); delete it, the report does without") from error
    if not isinstance(found, dict):
        raise SchemaError(f"{path} holds no JSON object; delete it, the report does without")
    stages = found.get("stages")
    timed = (
        [s for s in stages if isinstance(s, dict) and _is_time(s.get("seconds"))] if isinstance(stages, list) else []
    )
    return found | {"stages": [{"name": str(s.get("name", "")), "units": s.get("units")} | s for s in timed]}


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _finite(value: Any) -> Any:
    """The same data without NaN and infinities, which JSON cannot say."""
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
