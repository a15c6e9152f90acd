"""bench-parity: the verdicts of our preset datatrove against datatrove's own, document by document and rule by rule.

Both judge the same documents, of any language, with datatrove's defaults, each filter alone. DATA names a folder of
*.jsonl.gz files with a column `text`; without it the documents are generated English ones.

Chinese, Japanese, Thai and others are written without spaces, and datatrove takes a sentence of them for one English
word; our preset datatrove does too, and no other. Documents that hold such letters are reported apart as well.
Differences are counted by the pair of reasons, with some document numbers, so that a person can look.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.corpus import generated, write
from benchmarks.harness import (
    CACHE,
    DATATROVE,
    RESULTS,
    ROOT,
    cores,
    machine,
    our_versions,
    peer_python,
    peer_versions,
    run,
    size,
)
from schemas.sample import sample_batch
from transforms.registry import build, load_all
from transforms.signals import compute_signals
from transforms.text.words import split_unspaced

PEER_SCRIPT = Path(__file__).parent / "peers" / "datatrove_verdicts.py"
#: documents that are generated without DATA
GENERATED = {"small": 2_000, "full": 20_000}
RULES = ("text.gopher_quality", "text.gopher_repetition", "text.c4_quality", "text.fineweb_quality")
#: datatrove's reason -> ours
REASONS = {
    "gopher_short_doc": "too_few_words",
    "gopher_long_doc": "too_many_words",
    "gopher_below_avg_threshold": "words_too_short",
    "gopher_above_avg_threshold": "words_too_long",
    "gopher_too_many_hashes": "too_many_hashes",
    "gopher_too_many_ellipsis": "too_many_ellipses",
    "gopher_too_many_bullets": "too_many_bullets",
    "gopher_too_many_end_ellipsis": "too_many_ellipsis_lines",
    "gopher_below_alpha_threshold": "too_few_alphabetic_words",
    "gopher_enough_stop_words": "too_few_stop_words",
    "dup_line_frac": "duplicate_lines",
    "dup_line_char_frac": "duplicate_line_chars",
    "dup_para_frac": "duplicate_paragraphs",
    "dup_para_char_frac": "duplicate_paragraph_chars",
    "too_few_sentences": "too_few_sentences",
    "curly_bracket": "curly_bracket",
    "lorem_ipsum": "lorem_ipsum",
    "empty": "no_text",
    "line_punct_ratio": "too_few_punctuated_lines",
    "short_line_ratio": "too_many_short_lines",
    "char_dup_ratio": "duplicate_line_chars",
    "list_ratio": "too_many_newlines",
    **{f"top_{size}_gram": f"top_{size}_gram" for size in (2, 3, 4)},
    **{f"duplicated_{size}_n_grams": f"duplicate_{size}_grams" for size in range(5, 11)},
}
EXAMPLES = 20
BATCH_ROWS = 256


def texts(folder: Path) -> Iterator[str]:
    """The documents, in the order in which the peer's script reads them."""
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            for line in lines:
                yield json.loads(line)["text"]


def our_verdicts(folder: Path) -> Iterator[dict[str, str | None]]:
    """One mapping a document: rule -> reason or null, and the digest of the text that C4's rules leave."""
    load_all()
    steps = {name: build(name, {"preset": "datatrove"}) for name in RULES}
    documents = enumerate(texts(folder))
    while batch := [{"id": str(at), "source": "", "text": text} for at, text in _take(documents, BATCH_ROWS)]:
        verdicts: dict[str, dict[str, str | None]] = {row["id"]: {} for row in batch}
        for name, step in steps.items():
            outcome = step.apply(compute_signals(sample_batch(batch), step.signals()))
            for id, reason in _pairs(outcome.rejected, "reject.reason"):
                verdicts[id][name] = reason
            for id, text in _pairs(outcome.kept, "text"):
                verdicts[id][name] = None
                if name == "text.c4_quality":
                    verdicts[id]["c4_text"] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        yield from verdicts.values()


def _take(documents: Iterator[tuple[int, str]], count: int) -> Iterator[tuple[int, str]]:
    for _ in range(count):
        try:
            yield next(documents)
        except StopIteration:
            return


def _pairs(batch: pa.RecordBatch, column: str) -> Iterator[tuple[str, Any]]:
    return zip(batch.column("id").to_pylist(), batch.column(column).to_pylist(), strict=True)


def compare(
    ours: list[dict[str, str | None]], theirs: list[dict[str, str | None]], unspaced: list[bool]
) -> dict[str, dict[str, Any]]:
    """By rule, for all documents and for those without and with letters of unspaced scripts: how far verdicts agree."""
    if len(ours) != len(theirs):
        raise SystemExit(f"we judged {len(ours)} documents, datatrove {len(theirs)}")
    groups = {
        "all": range(len(ours)),
        "spaced": [at for at, letters in enumerate(unspaced) if not letters],
        "unspaced": [at for at, letters in enumerate(unspaced) if letters],
    }
    return {
        name: {group: _agreement(name, ours, theirs, rows) for group, rows in groups.items() if len(rows)}
        for name in RULES
    }


def _agreement(
    name: str, ours: list[dict[str, str | None]], theirs: list[dict[str, str | None]], rows: Sequence[int]
) -> dict[str, Any]:
    pairs = [(at, ours[at][name], REASONS.get(theirs[at][name] or "", theirs[at][name])) for at in rows]
    differ = [(at, one, other) for at, one, other in pairs if (one is None) != (other is None)]
    found: dict[str, Any] = {
        "documents": len(pairs),
        "same_verdict": 1 - len(differ) / len(pairs),
        "same_reason": sum(one == other for _, one, other in pairs) / len(pairs),
        "kept_by_datatrove": sum(other is None for *_, other in pairs) / len(pairs),
        "differences": dict(Counter(f"{one or 'kept'}, datatrove {other or 'kept'}" for _, one, other in differ)),
        "examples": [at for at, *_ in differ][:EXAMPLES],
    }
    kept = [at for at, one, other in pairs if one is None and other is None]
    if name == "text.c4_quality":
        found["same_text"] = sum(ours[at]["c4_text"] == theirs[at]["c4_text"] for at in kept) / max(len(kept), 1)
    return found


def has_unspaced(text: str) -> bool:
    """Whether a text holds letters of scripts without spaces."""
    return split_unspaced([text]) != [text]


def main() -> None:
    """Runs both sides; prints the table and writes benchmarks/results/parity.json."""
    python = peer_python("datatrove", DATATROVE)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        given = os.environ.get("DATA")
        folder = Path(given) if given else write(generated(GENERATED[size()]), Path(work) / "corpus", cores()).folder
        answer = Path(work) / "theirs.jsonl"
        run([python, PEER_SCRIPT, folder, answer, str(cores())], env={"HF_HUB_OFFLINE": "1"})
        theirs = [json.loads(line) for line in answer.read_text().splitlines()]
        rules = compare(list(our_verdicts(folder)), theirs, list(map(has_unspaced, texts(folder))))
    body = {
        "date": date.today().isoformat(),
        "documents": "generated" if given is None else "DATA",
        "rules": rules,
        "machine": machine(),
        "versions": our_versions(["sluice"]) | peer_versions(python, ["datatrove", "spacy"]),
    }
    path = RESULTS / "parity.json"
    path.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n")
    for name, groups in rules.items():
        for group, row in groups.items():
            print(f"{name}, {row['documents']} {group}: {row['same_verdict']:.2%} same verdict {row['differences']}")
    print(path.relative_to(ROOT), file=sys.stderr)


if __name__ == "__main__":
    main()
