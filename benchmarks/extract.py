"""bench-extract: main content from real pages, our default engine against trafilatura.

    DATA=folder make bench-extract        or: python -m benchmarks.extract DATA

Reads DATA/web: a WARC of pages, gold_full_text.jsonl.gz (whole articles) and gold_segments.jsonl.gz (sentences that
must and must not be there). Scores are those of the article extraction benchmark (Scrapinghub, 2020): shingles of four
words, each page's true and false positives and misses scaled to one, then added over pages. SIZE=small takes every
third page of each set, full all of them. The pages go through the `warc` source and the registered transform, so that
what is measured is what a recipe does; CPU seconds are those of the transform alone.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.harness import Stage, machine, our_versions, size, write_result
from pipeline.sources import registry as sources
from pipeline.sources.base import InputFile
from pipeline.sources.members import pieces
from schemas.sample import sample_batch
from transforms import registry
from transforms.text.extract_hints import read_hints

SETTINGS: dict[str, dict[str, Any]] = {
    "resiliparse": {},
    "trafilatura": {"engine": "trafilatura"},
    "trafilatura, precise": {"engine": "trafilatura", "favour_precision": True},
}
_WORD = re.compile(r"\w+")
_OWN_ID = re.compile(rb"X-Realdata-Id: *(\S+)[^\0]*?WARC-Record-ID: *<([^>]+)>")


def shingles(text: str, length: int = 4) -> Counter[tuple[str, ...]]:
    """Runs of `length` words with how often each occurs; a shorter text is one run."""
    words = _WORD.findall(text)
    return Counter(tuple(words[at : at + length]) for at in range(max(1, len(words) - length + 1)))


def shares(found: str, gold: str) -> tuple[float, float, float]:
    """(true positives, false positives, misses) of a page, which add up to one."""
    ours, theirs = shingles(found), shingles(gold)
    counts = ((ours & theirs).total(), (ours - theirs).total(), (theirs - ours).total())
    return tuple(count / sum(counts) for count in counts)  # type: ignore[return-value]


def precision_recall_f1(pages: Iterable[tuple[float, float, float]]) -> tuple[float, float, float]:
    """The scores of many pages, each of the same weight."""
    true, false, missed = (sum(column) for column in zip(*pages, strict=True))
    precision, recall = true / (true + false), true / (true + missed)
    return precision, recall, 2 * precision * recall / (precision + recall)


def segment_rates(gold: list[dict[str, Any]], found: dict[str, str]) -> tuple[float, float]:
    """Shares of the segments that must, and must not, be there that are."""
    tallies: dict[str, list[bool]] = {"must_contain": [], "must_not_contain": []}
    for page in gold:
        text = " ".join(found[page["id"]].split())
        for name, hits in tallies.items():
            hits += [" ".join(segment.split()) in text for segment in page[name]]
    return tuple(sum(hits) / len(hits) for hits in tallies.values())  # type: ignore[return-value]


def read_pages(path: Path) -> dict[str, str]:
    """The markup of the WARC's pages, by the ids that the gold files use."""
    source = sources.build("warc", {"paths": str(path)})
    file = InputFile(str(path), path.name, path.stat().st_size)
    rows: dict[str, str] = {}
    for span in source.plan(file, 2**40):
        for outcome in source.read(span, 64, 2**24):
            if outcome.rejected.num_rows:
                raise SystemExit(f"{path}: {outcome.rejected.column('reject.detail').to_pylist()}")
            rows |= zip(outcome.kept.column("id").to_pylist(), outcome.kept.column("text").to_pylist(), strict=True)
    with path.open("rb") as handle:
        headers = (piece.data[:4096] for piece in pieces(handle, file, (b"WARC/",)) if getattr(piece, "inner", 1) == 0)
        own = {found[2].decode(): found[1].decode() for found in map(_OWN_ID.search, headers) if found}
    return {own[row_id]: text for row_id, text in rows.items()}


def extractor(params: dict[str, Any]) -> Callable[[dict[str, str]], tuple[dict[str, str], float]]:
    """A function from pages to (texts by id, CPU seconds); what is rejected has no text."""
    transform = registry.build("text.extract", params)
    transform.setup()
    transform.apply(_batch({"warm-up": "<html><body><p>Compiles and loads what is loaded once.</p></body></html>"}))

    def extract(pages: dict[str, str]) -> tuple[dict[str, str], float]:
        batch = _batch(pages)
        began = time.process_time()
        outcome = transform.apply(batch)
        cpu_s = time.process_time() - began
        columns = (outcome.kept.column(name).to_pylist() for name in ("id", "text"))
        return dict.fromkeys(pages, "") | dict(zip(*columns, strict=True)), cpu_s

    return extract


def _batch(pages: dict[str, str]) -> pa.RecordBatch:
    return sample_batch([{"id": page, "source": page, "text": markup} for page, markup in pages.items()])


def read_gold(path: Path, chosen: str) -> list[dict[str, Any]]:
    """A gold file's lines, every third of them for SIZE=small."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines][:: 3 if chosen == "small" else 1]


def measure(params: dict[str, Any], pages: dict[str, str], full: list[Any], segments: list[Any]) -> dict[str, float]:
    """All numbers of one setting."""
    wanted = {page["id"]: pages[page["id"]] for page in [*full, *segments]}
    texts, cpu_s = extractor(params)(wanted)
    by_source: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for page in full:
        by_source[page["source"]].append(shares(texts[page["id"]], page["gold_text"]))
    numbers: dict[str, float] = {}
    for source, scored in sorted(by_source.items()):
        for name, value in zip(("precision", "recall", "F1"), precision_recall_f1(scored), strict=True):
            numbers[f"{source}: {name}"] = value
    numbers["segments: must be there"], numbers["segments: must not, but are"] = segment_rates(segments, texts)
    numbers["pages per CPU second"] = len(wanted) / cpu_s
    return numbers


def date_rates(segments: list[dict[str, Any]], pages: dict[str, str]) -> dict[str, float]:
    """Of the pages whose date of publication is known: shares with the right one in `html.date`, and with another."""
    dated = [page for page in segments if (page["meta"].get("date") or "")[:4].isdigit()]
    found = [(read_hints(pages[page["id"]]).published, page["meta"]["date"]) for page in dated]
    return {
        "pages": len(dated),
        "right": sum(ours == gold for ours, gold in found) / len(dated),
        "wrong": sum(ours not in (None, gold) for ours, gold in found) / len(dated),
    }


def main() -> None:
    """Runs it, prints the table and writes benchmarks/results/extract.json."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DATA", "")) / "web"
    if not folder.is_dir():
        raise SystemExit(f"{folder} does not exist; give the data folder as an argument or in DATA")
    chosen, where = size(), machine()
    full = read_gold(folder / "gold_full_text.jsonl.gz", chosen)
    segments = read_gold(folder / "gold_segments.jsonl.gz", chosen)
    pages: dict[str, str] = {}
    for path in sorted((folder / "warc").glob("*.warc.gz")):
        pages |= read_pages(path)
    numbers = {name: measure(params, pages, full, segments) for name, params in SETTINGS.items()}
    ours, *others = SETTINGS
    stages = {
        measured: Stage.of(
            value,
            {other: numbers[other][measured] for other in others},
            "pages/s" if "pages per" in measured else "share",
            less_is_better="not, but" in measured,
        )
        for measured, value in numbers[ours].items()
    }
    versions = our_versions(("resiliparse", "trafilatura", "lxml"))
    facts = {"size": chosen, "pages": len(full) + len(segments), "dates": date_rates(segments, pages)}
    write_result("extract", stages, machine=where, versions=versions, **facts)


if __name__ == "__main__":
    main()
