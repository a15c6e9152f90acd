"""Our side of bench-text: the recipe, and its stages alone as the engine runs them.

    python -m benchmarks.ours JOB.json RESULT.json

Stages run in process: batches from the `jsonl` source through `run_steps`, and the global steps as the Beam jobs that a
run makes of them. A job names the folders `pages` (read, language, tokens), `english` (filters) and `dedup`, and the
`tokenizer`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.peers.clock import WARM_UP, cpu_s, exhaust, timed
from pipeline.dedup.records import keys_schema, signed_batch
from pipeline.dedup.task import DedupTask
from pipeline.discovery import find_files
from pipeline.engine import Step, run_steps
from pipeline.graph import Launcher
from pipeline.plan import TOKENIZER_PENDING, StageKey
from pipeline.recipe import resolve
from pipeline.sources import registry as sources
from pipeline.stage import BATCH_BYTES, BATCH_ROWS
from pipeline.storage import write_arrow
from pipeline.workdir import read_drops
from schemas.sample import SAMPLE
from transforms import registry

#: datatrove's published parameters, its variants of the rules where they differ from the papers'
LANGUAGE: dict[str, Any] = {"use": "text.language", "with": {"model": "lid.176", "keep": ["en"], "min_score": 0.65}}
FILTERS: list[dict[str, Any]] = [
    {"use": "text.gopher_repetition", "with": {"preset": "datatrove"}},
    {"use": "text.gopher_quality", "with": {"preset": "datatrove"}},
    {"use": "text.c4_quality", "with": {"preset": "datatrove", "filter_no_terminal_punct": False}},
    {"use": "text.fineweb_quality", "with": {"preset": "datatrove"}},
]
EXACT: dict[str, Any] = {"use": "text.exact_dedup"}
MINHASH: dict[str, Any] = {"use": "text.minhash_dedup", "with": {"ngram": 5, "bands": 14, "rows_per_band": 8}}
SEQUENCE_LENGTH = 2048


def recipe(source: Path, steps: list[dict[str, Any]], tokenizer: str, out: Path) -> dict[str, Any]:
    """A recipe of `steps` over a folder of .jsonl.gz."""
    return {
        "recipe": 1,
        "name": "bench_text",
        "inputs": [{"use": "jsonl", "with": {"paths": f"{source}/*.jsonl.gz"}}],
        "steps": steps,
        "tokens": {"tokenizer": tokenizer, "sequence_length": SEQUENCE_LENGTH},
        "output": {"path": str(out)},
    }


def batches(folder: str) -> Iterator[pa.RecordBatch]:
    """A folder's documents as a run reads them."""
    source = sources.build("jsonl", {"paths": f"{folder}/*.jsonl.gz"})
    for file in find_files(source, "bench"):
        for span in source.plan(file, 2**62):
            for outcome in source.read(span, BATCH_ROWS, BATCH_BYTES):
                yield outcome.kept


def steps_cost(specs: list[dict[str, Any]], given: list[pa.RecordBatch]) -> tuple[float, list[pa.RecordBatch]]:
    """(CPU seconds of some local steps over batches, the rows kept), the steps set up and warm."""
    steps = [Step(spec["use"], registry.build(spec["use"], dict(spec.get("with", {})))) for spec in specs]
    for step in steps:
        step.transform.setup()
    run_steps(steps, given[0].slice(0, WARM_UP))
    return cpu_s(lambda: [run_steps(steps, batch).kept for batch in given])


def dedup_cost(spec: dict[str, Any], given: list[pa.RecordBatch]) -> tuple[float, int]:
    """(CPU seconds of a global step over batches, the rows it drops): the keys signed and written, and the Beam job."""
    dedup_of([batch.slice(0, WARM_UP) for batch in given[:1]], spec)()
    return cpu_s(dedup_of(given, spec))


def dedup_of(given: list[pa.RecordBatch], spec: dict[str, Any]) -> Callable[[], int]:
    """A global step over batches, ready to run."""
    folder = tempfile.TemporaryDirectory()
    keys, kept, drops = (str(Path(folder.name) / f"{name}.arrow") for name in ("keys", "kept", "drops"))
    write_arrow(kept, SAMPLE, iter(given))
    made = resolve(recipe(Path(folder.name), [spec], "bytes", Path(folder.name)))
    key = StageKey(made.model_dump_json(by_alias=True), TOKENIZER_PENDING, 0, "")
    label = f"1:{spec['use']}"
    dedup = key.ready_dedup(label)

    def signed() -> Iterator[pa.RecordBatch]:
        first = 0
        for batch in given:
            yield signed_batch(dedup, batch, first)
            first += batch.num_rows

    def run() -> int:
        with folder:
            count = write_arrow(keys, keys_schema(dedup), signed())
            scratch = str(Path(folder.name) / "scratch")
            task = DedupTask(key, label, {0: keys}, {0: count}, {0: kept}, {0: None}, {0: drops}, scratch, 1)
            Launcher(workers=1).dedup(task)
            return read_drops(drops).num_rows

    return run


def main(job: dict[str, str]) -> dict[str, Any]:
    """Every stage, and what the other sides' results are compared with."""
    exhaust(batches(job["english"]))
    read_s, pages = cpu_s(lambda: list(batches(job["pages"])))
    found = {"read": timed(_rows(pages), read_s)}

    label_only = {**LANGUAGE["with"], "keep": None, "min_score": 0}
    seconds, kept = steps_cost([{**LANGUAGE, "with": label_only}], pages)
    found["language"] = timed(_rows(pages), seconds, labels=_by_id(kept, "text.lang"))

    english = list(batches(job["english"]))
    seconds, kept = steps_cost(FILTERS, english)
    found["filters"] = timed(_rows(english), seconds, kept=list(_by_id(kept, "id")))

    many = list(batches(job["dedup"]))
    for name, spec in (("exact", EXACT), ("minhash", MINHASH)):
        seconds, dropped = dedup_cost(spec, many)
        found[name] = timed(_rows(many), seconds, dropped=dropped)

    encode = {"use": "tokens.encode", "with": {"tokenizer": job["tokenizer"], "sequence_length": SEQUENCE_LENGTH}}
    seconds, kept = steps_cost([encode], pages)
    found["tokens"] = timed(_rows(pages), seconds, tokens=_by_id(kept, "tokens.count"))
    return found


def _rows(given: list[pa.RecordBatch]) -> list[dict[str, str]]:
    return [row for batch in given for row in batch.select(["id", "text"]).to_pylist()]


def _by_id(given: list[pa.RecordBatch], column: str) -> dict[str, Any]:
    return {row["id"]: row[column] for batch in given for row in batch.select(list({"id", column})).to_pylist()}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
