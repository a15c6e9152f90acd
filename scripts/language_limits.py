"""Writes the limits of other languages than English into transforms/text/assets/languages.yaml.

    python scripts/language_limits.py DIR

DIR holds *.jsonl.gz files of documents with `text`, `lang_label` and `group`, which is the same in all translations of
a document. A limit in a language is the English one times the median ratio, over documents that exist in both, of what
the rule looks at: FineWeb2's MedianRatio (Penedo et al. 2025, arXiv 2506.20920). Matching quantiles would need
documents beyond the English limits, of which a clean corpus has next to none. A language that shares too few documents
with English is compared with others that do not, and the ratios multiplied; one that shares them with none takes a
relative's limits.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from transforms.text.fused import compute
from transforms.text.languages import ENGLISH, language_of, shipped

#: documents in both languages below which a language is left to reasoning
MIN_DOCUMENTS = 20
#: ratios nearer to 1 than this are English's
TOLERANCE = 0.1
ASSET = Path(__file__).parents[1] / "transforms" / "text" / "assets" / "languages.yaml"
#: language -> the related one, or the one written likewise, whose limits it takes when there is nothing to measure
RELATIVES = {
    "af": "nl", "az": "tr", "be": "uk", "bs": "hr", "ca": "es", "cy": "en", "eo": "es", "eu": "hu", "ga": "en",
    "gl": "es", "gu": "hi", "hy": "el", "is": "sv", "ka": "tr", "kk": "tr", "km": "th", "kn": "te", "la": "it",
    "lo": "th", "lv": "lt", "mk": "bg", "ml": "ta", "my": "th", "nn": "no", "sq": "ro", "uz": "tr",
}  # fmt: skip
COLUMNS = {
    "word_chars": "signal.gopher.word_length.paper",
    "words": "signal.gopher.word_count.paper",
    "newlines": "signal.fineweb.newline_ratio.paper",
}


def documents(folder: Path) -> dict[str, dict[str, str]]:
    """language -> group -> text, the parts of a document together."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                found[language_of(row["lang_label"])][row["group"]].append(row["text"])
    return {
        language: {group: "\n".join(texts) for group, texts in groups.items()} for language, groups in found.items()
    }


def measured(texts: list[str], language: str) -> dict[str, np.ndarray]:
    """What the rules look at, each [documents]; NaN for null. Sizes are per line: translations keep lines, and of some
    documents not all parts are there in every language."""
    langs = pa.array([language] * len(texts), pa.string())
    columns = compute(pa.array(texts, pa.large_string()), langs, list(COLUMNS.values())).columns
    values = {
        name: column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        for name, column in zip(COLUMNS, columns, strict=True)
    }
    lines = [[line for line in text.split("\n") if line.strip()] for text in texts]
    counts = np.array([max(len(of_text), 1) for of_text in lines])
    chars = np.array([sum(map(len, of_text)) for of_text in lines]) / counts
    return values | {"words": values["words"] / counts, "chars": chars}


def limits(ratios: dict[str, float]) -> dict[str, dict[str, float]]:
    """transform -> parameter -> value, of the ratios that differ from 1."""
    far = {name: ratio for name, ratio in ratios.items() if abs(ratio - 1) > TOLERANCE}
    quality: dict[str, float] = {}
    fineweb: dict[str, float] = {}
    if "word_chars" in far:
        quality = {
            "min_word_chars": round(3 * far["word_chars"], 1),
            "max_word_chars": round(10 * far["word_chars"], 1),
        }
    # A language that needs more words than English says less with each; its short pages are not held against it.
    if far.get("words", 1) < 1:
        quality["min_words"] = round(50 * far["words"])
    if far.get("words", 1) > 1:
        quality["max_words"] = int(round(100_000 * far["words"], -3))
    if "chars" in far:
        fineweb["short_line_chars"] = round(30 * far["chars"])
    if far.get("newlines", 1) > 1:
        fineweb["max_newline_ratio"] = round(0.3 * far["newlines"], 2)
    found = {"text.gopher_quality": quality, "text.fineweb_quality": fineweb}
    return {transform: by_name for transform, by_name in found.items() if by_name}


def ratios_between(one: dict[str, str], language: str, other: dict[str, str], against: str) -> dict[str, float]:
    """The median ratios of a language to another over the documents both have; empty when they have too few."""
    groups = sorted(set(one) & set(other))
    if len(groups) < MIN_DOCUMENTS:
        return {}
    here = measured([one[group] for group in groups], language)
    there = measured([other[group] for group in groups], against)
    ratios = {}
    for name in here:
        known = (here[name] > 0) & (there[name] > 0)
        if known.sum() >= MIN_DOCUMENTS:
            ratios[name] = float(np.median(here[name][known] / there[name][known]))
    return ratios


def through(pivots: list[tuple[dict[str, float], dict[str, float]]]) -> dict[str, float]:
    """The median of what several languages in between say: pairs of ratios to one and of this one to English."""
    found: dict[str, list[float]] = defaultdict(list)
    for to_pivot, to_english in pivots:
        for name in to_pivot.keys() & to_english.keys():
            found[name].append(to_pivot[name] * to_english[name])
    return {name: float(np.median(values)) for name, values in sorted(found.items())}


def main() -> None:
    """Measures, and rewrites the asset."""
    by_language = documents(Path(sys.argv[1]))
    direct: dict[str, dict[str, float]] = {}
    for language in shipped():
        found = ratios_between(by_language.get(language, {}), language, by_language[ENGLISH], ENGLISH)
        if found and language != ENGLISH:
            direct[language] = found
    entries = yaml.safe_load(ASSET.read_text(encoding="utf-8"))
    made: dict[str, tuple[str, dict[str, dict[str, float]]]] = {}
    for language in sorted(shipped()):
        if language == ENGLISH:
            made[language] = "published", {}
            continue
        if language in direct:
            made[language] = "measured", limits(direct[language])
            continue
        here = by_language.get(language, {})
        pivots = [(ratios_between(here, language, by_language[pivot], pivot), direct[pivot]) for pivot in direct]
        pivots = [pair for pair in pivots if pair[0]]
        if pivots:
            made[language] = f"measured through {len(pivots)} languages", limits(through(pivots))
    for language, relative in RELATIVES.items():
        if language not in made:
            made[language] = f"family ({relative})", made[relative][1] if relative in made else {}
    header = "".join(line for line in ASSET.read_text(encoding="utf-8").splitlines(True) if line.startswith("#"))
    ASSET.write_text(header + "".join(written(code, entries[code], *made[code]) for code in sorted(entries)))


def written(code: str, entry: dict[str, Any], origin: str, by_transform: dict[str, dict[str, float]]) -> str:
    """A language's entry as YAML."""
    key = '"no"' if code == "no" else code  # YAML's false
    lines = [f"{key}:", *([f"  also: {json.dumps(entry['also'])}"] if "also" in entry else [])]
    if "stop_words" in entry:
        lines.append(f"  stop_words: {json.dumps(entry['stop_words'], ensure_ascii=False)}")
    lines.append(f"  from: {origin}")
    if by_transform:
        lines.append("  limits:")
        lines += [f"    {name}: {json.dumps(by_name)}" for name, by_name in by_transform.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
