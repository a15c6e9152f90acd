"""What the source tests share: write a file, read it in any cut, and check the contract on every batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.sources import registry
from pipeline.sources.base import InputFile, Span
from pipeline.sources.batches import REJECTED_SAMPLE
from schemas.sample import SAMPLE, check_sample

#: larger than any file here: one span
WHOLE = 2**40


def input_file(path: Path, label: str | None = None) -> InputFile:
    return InputFile(str(path), label or f"set/{path.name}", path.stat().st_size)


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def read(
    use: str,
    path: Path,
    *,
    target_bytes: int = WHOLE,
    batch_rows: int = 16,
    batch_bytes: int = 2**20,
    **params: Any,
) -> tuple[list[dict], list[dict]]:
    """(kept, rejected) rows over all spans, in order."""
    source = registry.build(use, {"paths": str(path), **params})
    file = input_file(path)
    kept: list[dict] = []
    rejected: list[dict] = []
    for span in source.plan(file, target_bytes):
        for outcome in source.read(span, batch_rows, batch_bytes):
            assert outcome.kept.schema.equals(SAMPLE, check_metadata=True)
            assert outcome.rejected.schema.equals(REJECTED_SAMPLE, check_metadata=True)
            check_sample(outcome.kept, use)
            check_sample(outcome.rejected, use)
            assert outcome.kept.num_rows + outcome.rejected.num_rows > 0
            assert outcome.kept.num_rows <= batch_rows
            kept += outcome.kept.to_pylist()
            rejected += outcome.rejected.to_pylist()
    assert {row["reject.reason"] for row in rejected} <= source.reasons
    sources = [r["source"] for r in kept] + [r["source"] for r in rejected if r["reject.part"] is None]
    assert len(sources) == len(set(sources))
    return kept, rejected


def reasons(rejected: list[dict]) -> list[tuple[str, str]]:
    """(source without its label, reason) of each."""
    return [(row["source"].split("#", 1)[1], row["reject.reason"]) for row in rejected]


def num_spans(use: str, path: Path, target_bytes: int, **params: Any) -> int:
    return len(spans(use, path, target_bytes, **params))


def spans(use: str, path: Path, target_bytes: int, **params: Any) -> list[Span]:
    return registry.build(use, {"paths": str(path), **params}).plan(input_file(path), target_bytes)
