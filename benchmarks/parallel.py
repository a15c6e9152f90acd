"""bench-parallel: recipes/parallel_text_v1 on right and wrong pairs, and pair.align on documents with gaps.

    DATA=folder make bench-parallel        or: python -m benchmarks.parallel DATA

Reads DATA/text/jsonl: pages that share a `group` are one page in several languages. Where a page and its English one
have as many lines, whose lengths go together (correlation of .9 or more), line k of the one translates line k of the
other: right pairs. Each English line beside another line of the same language makes as many wrong ones. Per language:
what the rules without the lexicon leave, what all steps keep, and the AUC of the score among the pairs it sees. The
lexicon is learned from these very pairs, the wrong half included. SIZE=small takes five languages.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import statistics
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import size
from pipeline.alignment import train_lexicon
from pipeline.engine import run_steps
from pipeline.reading import local_steps, read_all, recipe_sources
from pipeline.recipe import load_recipe
from transforms.pair.align import align
from transforms.text.sentences import split_sentences

RECIPE = Path(__file__).parents[1] / "recipes" / "parallel_text_v1.yaml"
LANGUAGES = {
    "small": ["de", "fr", "ru", "ja", "hi"],
    "full": ["de", "fr", "es", "pt", "ru", "uk", "tr", "cs", "vi", "ko", "ja", "zh", "hi", "ar", "th"],
}
_SOURCES = ("azd-mt", "fastapi-docs", "udhr", "xquad", "cncf-glossary", "electron-i18n", "opensource.guide")
Pair = tuple[str, str]


def parallel_pages(folder: Path) -> dict[str, dict[str, list[tuple[list[str], list[str]]]]]:
    """source -> language -> (English lines, its lines) of pages that run in parallel."""
    pages: dict[tuple[str, str, str], dict[str, list[str]]] = defaultdict(dict)
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path) as lines:
            for row in map(json.loads, lines):
                if row["source"] in _SOURCES:
                    part = row["id"].rpartition(":")[2] if row["source"] != "udhr" else ""
                    text = [line.strip() for line in row["text"].split("\n") if line.strip()]
                    pages[row["source"], row["group"], part].setdefault(row["lang_label"], text)
    found: dict[str, dict[str, list[tuple[list[str], list[str]]]]] = defaultdict(lambda: defaultdict(list))
    for (source, _, _), texts in sorted(pages.items()):
        for lang in sorted(set(texts) - {"en"}) if "en" in texts else ():
            if in_parallel(texts["en"], texts[lang]):
                found[source][lang].append((texts["en"], texts[lang]))
    return found


def in_parallel(english: list[str], other: list[str]) -> bool:
    """Whether two pages have the same lines, by the number and lengths of them."""
    if len(english) != len(other) or len(english) < 5:
        return False
    lengths = [list(map(len, page)) for page in (english, other)]
    if any(len(set(side)) == 1 for side in lengths):
        return False
    return statistics.correlation(*lengths) >= 0.9


def judge(pairs: list[Pair], lang: str, folder: Path) -> dict[str, float]:
    """Precision before and after the score, recall, and AUC, over these pairs and as many wrong ones."""
    rng = random.Random(3)
    rng.shuffle(pairs)
    wrong = [(source, other) for (source, _), (_, other) in zip(pairs, pairs[1:] + pairs[:1], strict=True)]
    rows = [
        {"id": f"{kind}{at}", "text": f"{source}\t{target}"}
        for kind, side in (("right", pairs), ("wrong", wrong))
        for at, (source, target) in enumerate(side)
    ]
    rng.shuffle(rows)
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    lexicon = folder / "lexicon.arrow"
    places = [
        f"inputs.0.paths={folder / 'pairs.jsonl'}",
        f"steps.pair.split.target_lang={lang}",
        f"steps.pair.score.lexicon={lexicon}",
    ]
    recipe = load_recipe(RECIPE, places)
    train_lexicon(recipe, lexicon, len(rows))
    steps = local_steps(recipe.steps)
    for step in steps:
        step.transform.setup()
    kept: Counter[str] = Counter()
    scores: dict[str, list[float]] = {"right": [], "wrong": []}
    for outcome in read_all(recipe_sources(recipe)):
        judged = run_steps(steps, outcome.kept)
        kept.update(name[:5] for name in judged.kept.column("id").to_pylist())
        for rows_seen in (judged.kept, *(rows for label, rows in judged.rejected if label.endswith("select.range"))):
            named = zip(*(rows_seen.column(name).to_pylist() for name in ("id", "score.alignment")), strict=True)
            for name, score in named:
                scores[name[:5]].append(score or 0.0)
    seen = {kind: len(values) for kind, values in scores.items()}
    right, false = (np.array(scores[kind]) for kind in ("right", "wrong"))
    above = (right[:, None] > false[None, :]).mean() + (right[:, None] == false[None, :]).mean() / 2
    return {
        "pairs": len(pairs),
        "precision by rules": seen["right"] / (seen["right"] + seen["wrong"]),
        "precision": kept["right"] / (kept["right"] + kept["wrong"]),
        "recall": kept["right"] / len(pairs),
        "AUC": float(above),
    }


def aligned_rightly(english: list[str], other: list[str], every: int | None) -> tuple[int, int]:
    """(right beads, beads) of a page's sentences; with `every`, each such line of the other side is missing. A bead is
    right when the lines that its sentences come from are the same on both sides."""
    source = [(at, sentence) for at, line in enumerate(english) for sentence in split_sentences(line)]
    target = [
        (at, sentence)
        for at, line in enumerate(other)
        if every is None or at % every != every // 2
        for sentence in split_sentences(line)
    ]
    beads, _ = align([sentence for _, sentence in source], [sentence for _, sentence in target])
    right = i = j = 0
    for bead in beads:
        while " ".join(text for _, text in source[i : i + bead.num_source]) != bead.source:
            i += 1
        while " ".join(text for _, text in target[j : j + bead.num_target]) != bead.target:
            j += 1
        lines = ({at for at, _ in source[i : i + bead.num_source]}, {at for at, _ in target[j : j + bead.num_target]})
        right += lines[0] == lines[1]
        i, j = i + bead.num_source, j + bead.num_target
    return right, len(beads)


def main() -> None:
    """Runs it and prints both tables."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DATA", "")) / "text" / "jsonl"
    if not folder.is_dir():
        raise SystemExit(f"{folder} does not exist; give the data folder as an argument or in DATA")
    pages = parallel_pages(folder)
    names: tuple[str, ...] = ("pairs", "precision by rules", "precision", "recall", "AUC")
    print(f"| English and | {' | '.join(names)} |")
    for lang in LANGUAGES[size()]:
        lines = [pair for of_source in pages.values() for page in of_source[lang] for pair in zip(*page, strict=True)]
        pairs = [(s, t) for s, t in dict.fromkeys(lines) if s != t and "\t" not in s + t and len(s) <= 2000]
        with tempfile.TemporaryDirectory() as work:
            found: dict[str, Any] = judge(pairs, lang, Path(work))
        print(f"| {lang} | {found['pairs']:,} | " + " | ".join(f"{found[name]:.3f}" for name in names[1:]) + " |")
    print("\n| pages | beads | right | beads, every tenth line missing | right |")
    for source in ("azd-mt", "fastapi-docs", "udhr", "xquad"):
        whole, gaps = (
            np.array(
                [aligned_rightly(*page, every) for of in pages[source].values() for page in of if len(page[0]) > 7]
            )
            for every in (None, 10)
        )
        cells = [f"{side[:, 1].sum():,} | {side[:, 0].sum() / side[:, 1].sum():.3f}" for side in (whole, gaps)]
        print(f"| {source}, {len(whole)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
