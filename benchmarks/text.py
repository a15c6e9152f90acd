"""bench-text: raw text to packed token shards, ours against datatrove and dolma: stages alone, and end to end.

    [DATA=folder] [SIZE=small|full] make bench-text        or: python -m benchmarks.text

DATA is a folder of .jsonl.gz (benchmarks.corpus); without it the documents are generated. Stages alone are timed inside
a process (benchmarks.peers.clock), whole pipelines from outside, every process of theirs (benchmarks.measure). Peers
are slow, so they get a prefix of the same documents; rates are compared. Whole pipelines of peers are run over next to
nothing as well, and their rate is that of the documents by which the two runs differ: their start-up counts for
nothing. Ours is shown with its start-up and without.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from benchmarks.agreement import check_curated, check_stages, datatrove_verdicts, our_verdicts
from benchmarks.corpus import Corpus, Pages, copies, load, text_bytes, write
from benchmarks.harness import (
    CACHE,
    DATATROVE,
    ROOT,
    Cost,
    cores,
    machine,
    markdown,
    our_versions,
    peer_python,
    peer_versions,
    run,
    size,
    typical,
    write_result,
    write_section,
)
from benchmarks.ours import EXACT, FILTERS, LANGUAGE, MINHASH, recipe
from benchmarks.tables import curated_table, documents_per_s, stages_table
from schemas.control_tokens import END_OF_TEXT
from transforms.text.language import bundled_lid176

PEERS = {
    "datatrove": DATATROVE,
    "dolma": ("dolma==1.2.1", "boto3==1.28.17", "s3fs==2023.6.0"),  # pip tries hundreds of others without the last two
}
SCRIPTS = Path(__file__).parent / "peers"
#: input files: our runs', and those of the run that shows what more of them cost
FEW, MANY = 8, 64


@dataclass(frozen=True)
class Plan:
    """How often everything is run, and on how many documents: our stages alone on `pages` of all languages, the peers'
    on `peer_pages` of them and, the slow ones, on `peer_english`; the peers' pipelines on `peer_curate`. The rest takes
    every English document, or four and sixteen times that many."""

    runs: int
    pages: int
    peer_pages: int
    peer_english: int
    peer_curate: int


PLANS = {"small": Plan(1, 1_500, 500, 160, 320), "full": Plan(3, 6_000, 2_000, 800, 1_600)}


@dataclass(frozen=True)
class Bench:
    """The peers' Pythons, what every script is told, and a folder to work in."""

    pythons: Mapping[str, Path]
    job: Mapping[str, Any]
    work: Path

    def stages(self, side: str, job: Mapping[str, Any]) -> dict[str, Any]:
        """One run of a side's stages alone."""
        _say(f"stages alone: {side}")
        scratch = self.work / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        given, result = self.work / "job.json", self.work / "result.json"
        given.write_text(json.dumps({**self.job, **job, "scratch": str(scratch)}))
        if side in self.pythons:
            script = SCRIPTS / f"{side}_stages.py"
            run([self.pythons[side], script, given, result], env=self.environment)
        else:
            run([sys.executable, "-m", f"benchmarks.{side}", given, result])
        found: dict[str, Any] = json.loads(result.read_text())
        return found

    def sluice(self, corpus: Corpus) -> tuple[Cost, Path]:
        """One run of `sluice curate`; returns its cost and the dataset."""
        _say(f"end to end: sluice, {corpus.documents:,} documents")
        out = self.work / "sluice"
        shutil.rmtree(out, ignore_errors=True)
        file = self.work / "recipe.yaml"
        steps = [LANGUAGE, *FILTERS, EXACT, MINHASH]
        file.write_text(yaml.safe_dump(recipe(corpus.folder, steps, self.job["tokenizer"], out), sort_keys=False))
        return run([sys.executable, "-m", "jobs.cli", "curate", file, "--workers", str(cores())]), out

    def peer(self, name: str, corpus: Corpus) -> tuple[Cost, Path]:
        """One run of a peer's whole pipeline; returns its cost and its folder."""
        _say(f"end to end: {name}, {corpus.documents:,} documents")
        out = self.work / name
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(corpus.folder, out / "documents")
        given = self.work / "job.json"
        given.write_text(json.dumps({**self.job, "out": str(out), "cores": cores()}))
        return run([self.pythons[name], SCRIPTS / f"{name}_curate.py", given], env=self.environment), out

    @property
    def environment(self) -> dict[str, str]:
        """Peers find models in no user's cache and do not try to download any."""
        return {"HF_ASSETS_CACHE": str(CACHE / "assets"), "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}


def tokenizer(source: Path, work: Path) -> dict[str, Any]:
    """A tokenizer trained on a corpus, as peers are given it: `tokenizer`, a file, `end_of_text`, an id, and how many
    tokens it has, `vocabulary`.

    dolma's older library reads merges only as "a b"; the others read both."""
    folder = work / "tokenizer"
    run([sys.executable, "-m", "jobs.cli", "tokenizer", "train", source, "--out", folder])
    path = folder / "tokenizer.json"
    definition = json.loads(path.read_text())
    definition["model"]["merges"] = [" ".join(pair) for pair in definition["model"]["merges"]]
    path.write_text(json.dumps(definition, ensure_ascii=False))
    added = {token["content"]: token["id"] for token in definition["added_tokens"]}
    return {
        "tokenizer": str(path),
        "vocabulary": len(definition["model"]["vocab"] | added),
        "end_of_text": added[END_OF_TEXT],
        "lid": str(bundled_lid176()),
    }


def time_stages(bench: Bench, pages: Pages, plan: Plan) -> tuple[dict[str, list[dict[str, Any]]], Any]:
    """Every side's stages alone, `plan.runs` times; and how far they agree."""
    given = pages.everything[: plan.pages]
    ours = {
        "pages": write(given, bench.work / "pages", FEW),
        "english": write(pages.english, bench.work / "english", FEW),
        "dedup": write(copies(pages.english, 4), bench.work / "dedup", FEW),
    }
    peers = {
        "pages": write(given[: plan.peer_pages], bench.work / "peer-pages", FEW),
        "english": write(pages.english[: plan.peer_english], bench.work / "peer-english", FEW),
        "dedup": ours["english"],
    }
    ours_job, peers_job = ({name: str(corpus.folder) for name, corpus in corpora.items()} for corpora in (ours, peers))
    bench.stages("ours", {**ours_job, **peers_job})  # compiles the kernels
    made: dict[str, list[dict[str, Any]]] = {side: [] for side in ("ours", "floors", *bench.pythons)}
    for _ in range(plan.runs):  # interleaved, so that a slow minute of the machine hits all
        for side, runs in made.items():
            runs.append(bench.stages(side, ours_job if side in ("ours", "floors") else peers_job))
    sides = {name: made[name][0] for name in bench.pythons}
    prefixes = (given[: plan.peer_pages], pages.english[: plan.peer_english])
    agreement = check_stages(made["ours"][0], sides, *([page["id"] for page in some] for some in prefixes))
    return made, agreement


def time_curated(bench: Bench, pages: Pages, plan: Plan) -> tuple[dict[str, Corpus], dict[str, Cost], Any]:
    """The whole pipelines: what each was given, their costs by the same names, and how far verdicts agree."""
    english, given = pages.english, pages.english[: plan.peer_curate]
    corpora = {
        "start": write(english[:FEW], bench.work / "start", FEW),
        "once": write(english, bench.work / "once", FEW),
        "many files": write(english, bench.work / "many", MANY),
        "four": write(copies(english, 4), bench.work / "four", FEW),
        "sixteen": write(copies(english, 16), bench.work / "sixteen", FEW),
    }
    peer_corpora = {
        "start": write(english[:FEW], bench.work / "peer-start", FEW),
        "once": write(given, bench.work / "peer-once", FEW),
    }
    bench.sluice(corpora["start"])  # compiles bytecode, and so do the peers'
    for peer in bench.pythons:
        bench.peer(peer, peer_corpora["start"])
    costs: dict[str, list[Cost]] = {}
    verdicts: dict[str, dict[str, str]] = {}
    for _ in range(plan.runs):
        for peer in bench.pythons:
            for name, corpus in peer_corpora.items():
                cost, out = bench.peer(peer, corpus)
                costs.setdefault(f"{peer} {name}", []).append(cost)
                if peer == "datatrove":
                    verdicts["datatrove"] = datatrove_verdicts(out)
        for name, corpus in corpora.items():
            cost, out = bench.sluice(corpus)
            costs.setdefault(name, []).append(cost)
            if name == "once":
                verdicts["sluice"] = our_verdicts(out)
    ids = [page["id"] for page in given]
    agreement = check_curated(verdicts["sluice"], verdicts["datatrove"], len(english), ids)
    for peer in bench.pythons:
        corpora |= {f"{peer} {name}": corpus for name, corpus in peer_corpora.items()}
    return corpora, {name: typical(runs) for name, runs in costs.items()}, agreement


def compile_cost(bench: Bench, pages: Pages) -> dict[str, float]:
    """CPU seconds of a process that runs every stage of ours once on a few documents: kernels compiled, and cached."""
    few = write(pages.english[:32], bench.work / "few", 1)
    given, result = bench.work / "job.json", bench.work / "result.json"
    given.write_text(json.dumps({**bench.job, **dict.fromkeys(("pages", "english", "dedup"), str(few.folder))}))
    environment = {"NUMBA_CACHE_DIR": str(bench.work / "kernels")}
    names = ("kernels_compiled_cpu_s", "kernels_cached_cpu_s")
    return {
        name: run([sys.executable, "-m", "benchmarks.ours", given, result], env=environment).cpu_s for name in names
    }


def main() -> None:
    """Runs it all; prints the table, writes benchmarks/results/text.json and the section of docs/benchmarks.md."""
    plan, where = PLANS[size()], machine()
    pages = load(os.environ.get("DATA"))
    pythons = {name: peer_python(name, requirements) for name, requirements in PEERS.items()}
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        work = Path(folder)
        sample = write(pages.everything[: plan.pages], work / "sample", 1)
        bench = Bench(pythons, tokenizer(sample.folder, work), work)
        made, agreement = time_stages(bench, pages, plan)
        corpora, costs, agreement["end to end"] = time_curated(bench, pages, plan)
        compiling = compile_cost(bench, pages) if size() == "full" else {}
    rates = {side: {stage: _typical([run[stage] for run in runs]) for stage in runs[0]} for side, runs in made.items()}
    table = stages_table(rates) | curated_table(corpora, costs)
    path = write_result(
        "text",
        table,
        machine=where,
        versions={
            **our_versions(["sluice", "apache-beam", "pyarrow", "numpy", "numba", "fasttext-predict", "fastokens"]),
            **peer_versions(pythons["datatrove"], ["datatrove", "spacy"]),
            **peer_versions(pythons["dolma"], ["dolma"]),
        },
        size=size(),
        runs=plan.runs,
        data=pages.name,
        english_bytes=text_bytes(pages.english),
        vocabulary=bench.job["vocabulary"],
        documents={"stages": {side: {k: v["documents"] for k, v in rates[side].items()} for side in rates}}
        | {"end to end": {name: corpus.documents for name, corpus in corpora.items()}},
        documents_per_cpu_s=documents_per_s(rates),
        agreement=agreement,
        **compiling,
    )
    taken = f"{size()}, {pages.name}, {plan.runs} run{'s' * (plan.runs > 1)}, load {where['load']}"
    write_section(ROOT / "docs" / "benchmarks.md", "text", f"{taken} on {where['processor']}.\n\n{markdown(table)}")
    print(f"{taken}. Agreement: {json.dumps(agreement)}. {path}")


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _typical(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {**runs[0], "cpu_s": median(each["cpu_s"] for each in runs)}


if __name__ == "__main__":
    main()
