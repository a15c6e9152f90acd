"""bench-dedup at scale: exact and MinHash deduplication of up to a million documents, one in ten of a crowded template.

Document k depends on (seed, k) alone, and its number says what it is: of twenty, two are of one template family (frame
four fifths of the words, the rest their own: Jaccard about 0.67, so that they crowd keys and none is a duplicate), one
is an exact copy and two are near copies (three words changed: about 0.9) of an earlier original, fifteen are originals.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.dedup_runs import EXACT, MINHASH, Curated, curate
from benchmarks.harness import Cost, Stage, cores

#: documents of the smaller and the larger run
DOCUMENTS = {"small": (5_000, 20_000), "full": (250_000, 1_000_000)}
#: files of the larger run; the smaller one reads the first quarter of them
FILES = 16
WORDS = (200, 300)
FRAME_WORDS, OWN_WORDS = 200, 50
CHANGED_WORDS = 3
VOCABULARY = 20_000
#: documents that the tokenizer is trained on
SAMPLE = 2_000
#: four times the documents may cost so many times as much
MAX_GROWTH = 4.4
MIB = 2**20
#: what the labels of phases of a run become in the table
PHASES = {"stage 1": "read and sign", "1:text.exact_dedup": "exact", "2:text.minhash_dedup": "MinHash, verified"}


def kind(k: int) -> str:
    """What document k is."""
    return {3: "copy", 7: "near", 13: "near", 9: "template", 19: "template"}.get(k % 20, "original")


@cache
def vocabulary() -> tuple[np.ndarray, np.ndarray]:
    """(made-up words, their cumulative probability), as frequent as Zipf has it."""
    rng = np.random.default_rng(17)
    syllables = np.asarray([c + v for c in "bdfghklmnprstvz" for v in "aeiou"])
    drawn, lengths = (
        syllables[rng.integers(len(syllables), size=(2 * VOCABULARY, 4))],
        rng.integers(2, 5, 2 * VOCABULARY),
    )
    words = sorted({"".join(row[:length]) for row, length in zip(drawn.tolist(), lengths.tolist(), strict=True)})
    chosen = rng.permutation(len(words))[:VOCABULARY]
    weights = 1 / np.arange(10, len(chosen) + 10)
    return np.asarray(words, object)[chosen], np.cumsum(weights / weights.sum())


def text(k: int) -> str:
    """The text of document k, ASCII."""
    words, cumulative = vocabulary()

    def draw(rng: np.random.Generator, count: int) -> list[str]:
        return list(words[np.searchsorted(cumulative[:-1], rng.random(count), side="right")])

    rng = np.random.default_rng([17, k])
    what = kind(k)
    if what == "template":
        frame = frame_words()
        return " ".join([*frame[: FRAME_WORDS // 2], *draw(rng, OWN_WORDS), *frame[FRAME_WORDS // 2 :]])
    if what == "original" or k < 20:
        return " ".join(draw(rng, int(rng.integers(*WORDS))))
    copy = text(original(int(rng.integers(k)))).split(" ")
    if what == "near":
        for at in rng.choice(len(copy), CHANGED_WORDS, replace=False).tolist():
            copy[at] = f"{copy[at]}x"
    return " ".join(copy)


@cache
def frame_words() -> list[str]:
    """The template's frame."""
    words, cumulative = vocabulary()
    rng = np.random.default_rng(18)
    return list(words[np.searchsorted(cumulative[:-1], rng.random(FRAME_WORDS), side="right")])


def original(k: int) -> int:
    """The last original up to document k."""
    while kind(k) != "original":
        k -= 1
    return k


def write(folder: Path, documents: int, files: int) -> list[str]:
    """Writes documents 0 to `documents` as plain .jsonl; returns the paths."""
    folder.mkdir(parents=True)
    paths = []
    for n in range(files):
        paths.append(str(folder / f"part-{n:05d}.jsonl"))
        with open(paths[-1], "w", encoding="ascii") as file:
            for k in range(documents * n // files, documents * (n + 1) // files):
                file.write(f'{{"id": "{k:07d}", "text": "{text(k)}"}}\n')
    return paths


def run(
    size: str, work: Path, tokenizer: Callable[[Path], str]
) -> tuple[dict[str, Stage], dict[str, bool], dict[str, bool]]:
    """(table, what must hold, the targets); `tokenizer` trains one on a folder."""
    few, many = DOCUMENTS[size]
    write(work / "sample", SAMPLE, 1)
    encoder = tokenizer(work / "sample")
    table: dict[str, Stage] = {}
    claims: dict[str, bool] = {}
    targets: dict[str, bool] = {}
    costs: dict[int, Cost] = {}
    phases: dict[int, dict[str, float]] = {}
    files = write(work / "rows", many, FILES)
    for documents in (few, many):
        source = {"name": "rows", "paths": files[: FILES * documents // many]}
        made = curate([source], [EXACT, MINHASH], work / "run", tokenizer=encoder)
        costs[documents], phases[documents] = made.cost, made.phases
        claims |= check(made, documents)
        table |= rows(made, documents)
    dedup = {documents: sum(_dedup(found).values()) for documents, found in phases.items()}
    growth = {"CPU seconds": costs[many].cpu_s / costs[few].cpu_s, "seconds of both dedups": dedup[many] / dedup[few]}
    for what, times in growth.items():
        table[f"{few:,} to {many:,} documents, {what}"] = Stage.of(times, {}, "times")
        targets[f"four times the documents cost at most {MAX_GROWTH:g} times the {what}"] = times <= MAX_GROWTH
    return table, claims, targets


def rows(made: Curated, documents: int) -> dict[str, Stage]:
    """What a run cost."""
    cost = made.cost
    named = {PHASES.get(name, name): seconds for name, seconds in made.phases.items() if seconds > 0}
    return {
        f"{documents:,} documents": Stage.of(cost.wall_s, {}, f"seconds on {cores()} cores"),
        f"  {documents:,}: CPU": Stage.of(cost.cpu_s, {}, "CPU seconds, all processes"),
        f"  {documents:,}: rate": Stage.of(documents / cost.cpu_s, {}, "documents per CPU second"),
        f"  {documents:,}: peak memory": Stage.of(cost.peak_rss_bytes / MIB, {}, "MiB, all processes"),
        f"  {documents:,}: largest process": Stage.of(max(cost.main_rss_bytes, cost.worker_rss_bytes) / MIB, {}, "MiB"),
    } | {f"  {documents:,}: {name}": Stage.of(seconds, {}, "seconds") for name, seconds in named.items()}


def check(made: Curated, documents: int) -> dict[str, bool]:
    """What was removed against what was planted."""
    lost = {"copy": 0, "near": 0, "template": 0, "original": 0}
    for id, _, _ in made.removals:
        lost[kind(int(id))] += 1
    there = {what: sum(kind(k) == what for k in range(20, documents)) for what in lost}
    return {
        f"{documents:,} documents: every exact copy is removed": lost["copy"] == there["copy"],
        f"{documents:,} documents: 0.99 of the near copies are removed": lost["near"] >= 0.99 * there["near"],
        f"{documents:,} documents: no original and no member of the template is": lost["template"] + lost["original"]
        == 0,
    }


def _dedup(phases: dict[str, float]) -> dict[str, float]:
    return {name: seconds for name, seconds in phases.items() if name.endswith("_dedup")}
