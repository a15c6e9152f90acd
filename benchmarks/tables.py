"""bench-text's table from its measurements; the ratios aimed at stand beside those found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.corpus import Corpus
from benchmarks.harness import Cost, Stage

#: {side: {stage: {"documents", "bytes", "cpu_s"}}}
Rates = Mapping[str, Mapping[str, Mapping[str, Any]]]

PEERS = ("datatrove", "dolma")
PER_CPU_S = "MB per CPU second"
MIB = 2**20
_NAMES = {
    "read": "read jsonl.gz",
    "language": "language id",
    "filters": "Gopher, repetition, C4, FineWeb",
    "exact": "exact dedup",
    "minhash": "MinHash dedup, 14 x 8, 5-grams",
    "tokens": "tokenize, one BPE for all",
}
_TARGETS = {
    "language": {"datatrove": 10, "dolma": 10},
    "filters": {"datatrove": 200},
    "minhash": {"datatrove": 40},
    "tokens": {"datatrove": 10, "dolma": 10},
}
_END_TO_END = {"datatrove": 40, "dolma": 20}


def stages_table(rates: Rates) -> dict[str, Stage]:
    """Stages alone, in MB of text per CPU second. dolma's filters are its Gopher and C4 taggers; it has no MinHash, so
    both our dedup steps together stand against its weaker one."""
    table = {}
    for stage, name in _NAMES.items():
        peers = {peer: _speed(rates[peer][stage]) for peer in PEERS if stage in rates[peer]}
        floor = _speed(rates["floors"][stage])
        table[name] = Stage.of(
            _speed(rates["ours"][stage]), peers, PER_CPU_S, floor=floor, target=_TARGETS.get(stage, {})
        )
    ours = (
        rates["ours"]["minhash"]["bytes"] / 1e6 / sum(rates["ours"][stage]["cpu_s"] for stage in ("exact", "minhash"))
    )
    bloom = {"dolma": _speed(rates["dolma"]["paragraphs"])}
    table["both dedups (dolma: paragraphs by Bloom filter)"] = Stage.of(ours, bloom, PER_CPU_S)
    return table


def curated_table(corpora: Mapping[str, Corpus], costs: Mapping[str, Cost]) -> dict[str, Stage]:
    """The whole pipelines. Ours are `start` (a document a file), `once`, `many files` (the same documents), `four` and
    `sixteen` (times as many); a peer's are `PEER start` and `PEER once`, and its rate is that of what lies between."""
    peers = {peer: _between(corpora, costs, f"{peer} start", f"{peer} once") for peer in PEERS}
    alone = [costs[name].cpu_s - costs["start"].cpu_s for name in ("once", "four", "sixteen")]
    positive = [*alone, *(costs[f"{peer} once"].cpu_s - costs[f"{peer} start"].cpu_s for peer in PEERS)]
    if min(positive) <= 0:
        raise SystemExit(
            "a run over more documents took less time than one over fewer: this machine is too busy to measure on. "
            "Try again when it is idle, or with SIZE=full"
        )
    table = {
        f"end to end, {name}": Stage.of(
            corpora[key].text_bytes / 1e6 / costs[key].cpu_s, peers, PER_CPU_S, target=_END_TO_END
        )
        for name, key in (("1x", "once"), ("4x", "four"), ("16x", "sixteen"))
    }
    table["end to end, without start-up"] = Stage.of(
        _between(corpora, costs, "start", "sixteen"), peers, PER_CPU_S, target=_END_TO_END
    )
    starts = {peer: costs[f"{peer} start"].cpu_s for peer in PEERS}
    table["start-up"] = Stage.of(costs["start"].cpu_s, starts, "CPU seconds", less_is_better=True)
    for name, low, high in (("1x to 4x", "once", "four"), ("4x to 16x", "four", "sixteen")):
        table[f"four times the documents, {name}"] = Stage.of(
            costs[high].cpu_s / costs[low].cpu_s, {}, "times the CPU seconds"
        )
    memory = {peer: costs[f"{peer} once"].peak_rss_bytes / MIB for peer in PEERS}
    for name, key in (
        ("1x, 8 files", "once"),
        ("1x, 64 files", "many files"),
        ("4x, 8 files", "four"),
        ("16x, 8 files", "sixteen"),
    ):
        cost = costs[key]
        table[f"peak memory, {name}"] = Stage.of(
            cost.peak_rss_bytes / MIB, memory, "MiB, all processes", less_is_better=True
        )
        table[f"  its main process, {name}"] = Stage.of(cost.main_rss_bytes / MIB, {}, "MiB")
        table[f"  its largest worker, {name}"] = Stage.of(cost.worker_rss_bytes / MIB, {}, "MiB")
    return table


def documents_per_s(rates: Rates) -> dict[str, dict[str, float]]:
    """Documents per CPU second of the stages alone, by side."""
    return {
        side: {stage: found["documents"] / found["cpu_s"] for stage, found in stages.items()}
        for side, stages in rates.items()
    }


def _speed(found: Mapping[str, Any]) -> float:
    """MB per CPU second."""
    return float(found["bytes"] / 1e6 / found["cpu_s"])


def _between(corpora: Mapping[str, Corpus], costs: Mapping[str, Cost], low: str, high: str) -> float:
    """MB per CPU second of what one run has and another has not."""
    text = corpora[high].text_bytes - corpora[low].text_bytes
    return text / 1e6 / max(costs[high].cpu_s - costs[low].cpu_s, 1e-9)
