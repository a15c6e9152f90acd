"""bench-dedup_theory: whether text.minhash_dedup does what the formula says, and what it removes of a template's pages.

Two tables, written to benchmarks/results/dedup_theory.json:

- candidates: pairs of sets whose Jaccard similarity is known exactly, and how many of them LSH makes candidates, for
  every published setting, against 1 - (1 - J^r)^b; z is the difference in standard errors.
- template: families of documents that share a template and nothing else (t of each document's shingles are the
  template's; any two have Jaccard similarity t / (2 - t)), deduplicated by `sluice curate`. Where candidates are
  duplicates and connected components keep one (verify: null), about 1 - (1 - t^r)^b of a family is removed, as many as
  if its similarity were t; with verification, none.

Shingles are single words of random letters here, so that sets of any similarity can be written as texts.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.agreement import our_verdicts
from benchmarks.harness import CACHE, RESULTS, machine, our_versions, size
from pipeline.curate import curate
from pipeline.graph import Launcher
from pipeline.recipe import resolve
from schemas.sample import sample_batch
from transforms.dedup.lsh import candidate_probability
from transforms.registry import build

#: (bands, rows per band) of every preset of text.minhash_dedup that differs in them
SETTINGS = ((14, 8), (450, 20), (20, 13), (14, 9), (9, 13), (5, 25), (26, 11), (93, 15), (25, 10), (32, 8))
SIMILARITIES = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))
PAIRS = {"small": 2_000, "full": 10_000}
#: (bands, rows per band) -> shares of the template
FAMILIES = {
    (14, 8): (0.5, 0.6, 0.7, 0.75, 0.8),
    (20, 13): (0.7, 0.75, 0.8, 0.85),
    (26, 11): (0.75, 0.8),
}
FAMILY = {
    "small": {"documents": 800, "words": 300, "seeds": 1},
    "full": {"documents": 800, "words": 300, "seeds": 3},
}

_UNION = 200  # words that a pair has in all: every similarity of SIMILARITIES is that of whole words
_LETTERS = 10
_BATCH = 500


def pair_texts(jaccard: float, count: int, rng: np.random.Generator) -> list[str]:
    """2 * `count` texts; neighbours are pairs of _UNION words in all, a share `jaccard` of which are in both."""
    shared = round(jaccard * _UNION)
    own = (_UNION - shared) // 2
    found = []
    for _ in range(count):
        words = _words(_UNION, rng)
        found += [" ".join(words[: shared + own]), " ".join(words[:shared] + words[shared + own :])]
    return found


def candidate_rate(texts: Sequence[str], bands: int, rows_per_band: int) -> float:
    """The share of neighbours in `texts` that agree in a band."""
    step = build("text.minhash_dedup", {"ngram": 1, "bands": bands, "rows_per_band": rows_per_band})
    step.setup()
    hits = 0
    for start in range(0, len(texts), _BATCH):
        some = texts[start : start + _BATCH]
        rows = [{"id": str(k), "source": str(k), "text": text} for k, text in enumerate(some)]
        key = step.keys(sample_batch(rows)).key.reshape(len(some), bands, 2)
        hits += int((key[::2] == key[1::2]).all(axis=2).any(axis=1).sum())
    return hits * 2 / len(texts)


def candidates(
    pairs: int, settings: Iterable[tuple[int, int]] = SETTINGS, similarities: Sequence[float] = SIMILARITIES
) -> list[dict[str, Any]]:
    """A line for each similarity and setting: bands, rows, jaccard, expected, observed, z."""
    found = []
    for jaccard in similarities:
        texts = pair_texts(jaccard, pairs, np.random.default_rng(round(jaccard * 100)))
        for bands, rows in settings:
            expected = float(candidate_probability(jaccard, bands, rows))
            observed = candidate_rate(texts, bands, rows)
            error = float(np.sqrt(expected * (1 - expected) / pairs))
            z = (observed - expected) / error if error else 0.0
            found.append(
                {
                    "bands": bands,
                    "rows": rows,
                    "jaccard": jaccard,
                    "expected": expected,
                    "observed": observed,
                    "z": z,
                }
            )
    return found


def family_texts(template_ratio: float, documents: int, words: int, seed: int) -> list[str]:
    """Texts of so many words, a share of which is the same in all of them."""
    rng = np.random.default_rng([seed, round(template_ratio * 100)])
    template = _words(round(template_ratio * words), rng)
    return [" ".join(template + _words(words - len(template), rng)) for _ in range(documents)]


def removed_of_families(
    texts: dict[str, list[str]], bands: int, rows_per_band: int, verify: dict[str, float] | None, work: Path
) -> dict[str, float]:
    """The share of every family's documents that a run of `sluice curate` over all of them removes as duplicates."""
    source = work / "documents.jsonl"
    with source.open("w") as file:
        for name, family in texts.items():
            file.writelines(json.dumps({"id": f"{name}:{k}", "text": text}) + "\n" for k, text in enumerate(family))
    step = {"ngram": 1, "bands": bands, "rows_per_band": rows_per_band, "verify": verify}
    recipe = {
        "recipe": 1,
        "name": "template_trap",
        "inputs": [{"use": "jsonl", "with": {"paths": str(source)}}],
        "steps": [{"use": "text.minhash_dedup", "with": step}],
        "tokens": {"tokenizer": "bytes", "sequence_length": 2048},
        "output": {"path": str(work / "out")},
    }
    curate(resolve(recipe), Launcher("direct", 1))
    verdicts = our_verdicts(work / "out")
    removed = Counter(id.partition(":")[0] for id, fate in verdicts.items() if fate == "duplicate")
    return {name: removed[name] / len(family) for name, family in texts.items()}


def template(documents: int, words: int, seeds: int) -> list[dict[str, Any]]:
    """A line for each setting and share: bands, rows, t, jaccard, S(jaccard), S(t), and what was removed without and
    with verification, the mean over seeds."""
    found = []
    for (bands, rows), ratios in FAMILIES.items():
        texts = {f"{t}/{seed}": family_texts(t, documents, words, seed) for t in ratios for seed in range(seeds)}
        removed = {}
        for name, verify in (("components", None), ("verified", {"jaccard": 0.8})):
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                removed[name] = removed_of_families(texts, bands, rows, verify, Path(folder))
        for t in ratios:
            jaccard = t / (2 - t)
            mean = {
                name: float(np.mean([shares[f"{t}/{seed}"] for seed in range(seeds)]))
                for name, shares in removed.items()
            }
            found.append(
                {
                    "bands": bands,
                    "rows": rows,
                    "t": t,
                    "jaccard": jaccard,
                    "S(jaccard)": float(candidate_probability(jaccard, bands, rows)),
                    "S(t)": float(candidate_probability(t, bands, rows)),
                    **mean,
                }
            )
    return found


def run(pairs: int, documents: int, words: int, seeds: int) -> dict[str, list[dict[str, Any]]]:
    """Both tables."""
    CACHE.mkdir(parents=True, exist_ok=True)
    return {"candidates": candidates(pairs), "template": template(documents, words, seeds)}


def main() -> None:
    """Prints the tables and writes benchmarks/results/dedup_theory.json."""
    family = FAMILY[size()]
    found = run(PAIRS[size()], **family)
    body = {"date": date.today().isoformat(), "pairs": PAIRS[size()], **family, **found, "machine": machine()}
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "dedup_theory.json"
    path.write_text(json.dumps(body | {"versions": our_versions(["sluice"])}, indent=2) + "\n")
    for name, lines in found.items():
        print(f"\n{name}\n" + "  ".join(f"{title:>10}" for title in lines[0]))
        for line in lines:
            print("  ".join(f"{value:>10.4g}" for value in line.values()))
    worst = max(abs(line["z"]) for line in found["candidates"])
    print(f"\n{len(found['candidates'])} points, the largest |z| {worst:.2f}; {path}")


def _words(count: int, rng: np.random.Generator) -> list[str]:
    letters = rng.integers(97, 123, (count, _LETTERS), np.uint8).tobytes().decode()
    return [letters[at : at + _LETTERS] for at in range(0, len(letters), _LETTERS)]


if __name__ == "__main__":
    main()
