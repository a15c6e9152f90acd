"""Runs of bench-dedup: `sluice curate` and the peers over the same documents, and what each of them decided."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from benchmarks.corpus import write
from benchmarks.dedup_truth import clusters
from benchmarks.harness import DATATROVE, Cost, cores, peer_python, run

Document = Mapping[str, str]

EXACT: dict[str, Any] = {"use": "text.exact_dedup"}
#: datatrove's published parameters, for everybody
MINHASH: dict[str, Any] = {"use": "text.minhash_dedup", "with": {"ngram": 5, "bands": 14, "rows_per_band": 8}}
COMPONENTS: dict[str, Any] = {**MINHASH, "with": {**MINHASH["with"], "verify": None}}
SEQUENCE_LENGTH = 2048

PEERS: dict[str, tuple[str, ...]] = {
    "datatrove": DATATROVE,
    "text-dedup": ("text-dedup==0.4.0",),
    "data-juicer": ("py-data-juicer==1.6.1", "aiohttp==3.14.5"),  # it imports aiohttp and does not say so
}
#: the distributions whose versions are reported
DISTRIBUTIONS = {"datatrove": "datatrove", "text-dedup": "text-dedup", "data-juicer": "py-data-juicer"}
SCRIPTS = {name: Path(__file__).parent / "peers" / f"{name.replace('-', '_')}_minhash.py" for name in PEERS}


@dataclass(frozen=True)
class Decision:
    """Which documents a tool kept, and which it holds for the same: {id: cluster}, of those in a cluster of several."""

    kept: frozenset[str]
    cluster: Mapping[str, str]


@dataclass(frozen=True)
class Curated:
    """A finished run of `sluice curate`."""

    cost: Cost
    out: Path

    @cached_property
    def ledger(self) -> list[dict[str, Any]]:
        """Every row's verdict, step and match, in no order."""
        rows: list[dict[str, Any]] = pq.read_table(
            self.out / "ledger", columns=["id", "verdict", "step", "match_id"]
        ).to_pylist()
        return rows

    @property
    def decision(self) -> Decision:
        """What was kept, and clusters of the removed with their matches."""
        kept = frozenset(row["id"] for row in self.ledger if row["verdict"] == "kept")
        pairs = [(row["id"], row["match_id"]) for row in self.ledger if row["match_id"] is not None]
        return Decision(kept, clusters(pairs))

    @property
    def removals(self) -> set[tuple[str, str | None, str | None]]:
        """(id, step, match) of every row that was not kept."""
        return {(row["id"], row["step"], row["match_id"]) for row in self.ledger if row["verdict"] != "kept"}

    @cached_property
    def shards(self) -> list[str]:
        """Digests of the token shards, in their order."""
        manifest = json.loads((self.out / "manifest.json").read_bytes())
        return [entry["sha256"] for entry in manifest["shards"]]

    @cached_property
    def phases(self) -> dict[str, float]:
        """Wall seconds of the run's phases, by name."""
        found = json.loads((self.out / "run.json").read_bytes())["stages"]
        return {phase["name"]: phase["seconds"] for phase in found}

    @cached_property
    def alarms(self) -> list[str]:
        """Sources of which the report says that a dedup step took too much."""
        report = json.loads((self.out / "report.json").read_bytes())
        return sorted({alarm["source"] for alarm in report["alarms"] if alarm["kind"] == "dedup"})


def curate(
    inputs: Sequence[Mapping[str, Any]],
    steps: Sequence[Mapping[str, Any]],
    out: Path,
    *,
    workers: int | None = None,
    tokenizer: str = "bytes",
    **options: Any,
) -> Curated:
    """One run of `sluice curate`; `inputs` are sources of .jsonl, `options` go to the recipe's top level."""
    shutil.rmtree(out, ignore_errors=True)
    recipe = {
        "recipe": 1,
        "name": "bench_dedup",
        "inputs": [{"use": "jsonl", "with": dict(source)} for source in inputs],
        "steps": list(steps),
        "tokens": {"tokenizer": tokenizer, "sequence_length": SEQUENCE_LENGTH},
        "output": {"path": str(out)},
        **options,
    }
    file = out.with_suffix(".yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(recipe, sort_keys=False))
    command: list[str | Path] = [sys.executable, "-m", "jobs.cli", "curate", file, "--workers", str(workers or cores())]
    return Curated(run(command), out)


def laid_out(documents: Sequence[Document], folder: Path) -> tuple[list[dict[str, str]], Path]:
    """Writes documents, a source a file in the order of their names, for both sides: (our inputs, the peers' folder).

    The peers get the sources' files in one folder, in the same order.
    """
    sources = sorted({document["source"] for document in documents})
    inputs, together = [], folder / "documents"
    together.mkdir(parents=True)
    for source in sources:
        rows = [{"id": d["id"], "text": d["text"]} for d in documents if d["source"] == source]
        corpus = write(rows, folder / source, 1)
        inputs.append({"name": source, "paths": f"{corpus.folder}/*.jsonl.gz"})
        shutil.copy(corpus.folder / "part-00000.jsonl.gz", together / f"{source}.jsonl.gz")
    return inputs, together


@dataclass
class Peers:
    """The peers that can be had on this machine, and why the others cannot (`absent`)."""

    names: Sequence[str] = tuple(PEERS)
    pythons: dict[str, Path] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.names:
            try:
                self.pythons[name] = peer_python(name, PEERS[name])
            except subprocess.CalledProcessError as error:
                self.absent[name] = f"`pip install {' '.join(PEERS[name])}` failed with exit code {error.returncode}"

    def minhash(self, name: str, documents: Path, work: Path, **job: Any) -> tuple[Cost, Path]:
        """One run of a peer's MinHash deduplication over a folder of .jsonl.gz: (cost, its output folder)."""
        out = work / name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        given = work / f"{name}.json"
        given.write_text(json.dumps({"documents": str(documents), "out": str(out), "cores": cores(), **job}))
        quiet = {"HF_HOME": str(out / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TQDM_DISABLE": "1"}
        return run([self.pythons[name], SCRIPTS[name], given], env=quiet), out

    def decision(self, name: str, documents: Path, work: Path) -> Decision | None:
        """What a peer decides; None when it is not there or fails, for the reason that `absent` then gives."""
        if name in self.absent:
            return None
        try:
            _, out = self.minhash(name, documents, work, decision=True)
        except SystemExit as error:
            said = [line for line in str(error).splitlines() if line.strip()]
            self.absent[name] = f"its run failed: {said[-1].strip()}"
            return None
        found = json.loads((out / "decision.json").read_text())
        return Decision(frozenset(found["kept"]), found["cluster"])
