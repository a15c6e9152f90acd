"""Writes report.json and report.html into a finished dataset folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.report.display import safe_json
from pipeline.report.page import render
from pipeline.report.summary import summarize
from pipeline.storage import write_bytes
from schemas.errors import SluiceError

JSON_NAME = "report.json"
HTML_NAME = "report.html"


def write_report(folder: str | Path) -> dict[str, Any]:
    """Recounts a finished dataset, writes its report (each file atomically) and returns report.json's data.

    The same dataset gives the same bytes. Raises SchemaError when the folder is not a finished dataset or its files
    contradict each other (nothing is written then), SluiceError when it cannot be written to.
    """
    report = summarize(folder)
    page = render(report)
    try:
        write_bytes(Path(folder) / JSON_NAME, (safe_json(report) + "\n").encode())
        write_bytes(Path(folder) / HTML_NAME, page.encode())
    except OSError as error:
        raise SluiceError(
            f"cannot write the report into {folder}: {error}. Make the folder writable, or copy it"
        ) from error
    return report
