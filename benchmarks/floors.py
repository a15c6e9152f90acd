"""What a stage costs at least: for each the fastest loop we know of, one that does nothing else.

    python -m benchmarks.floors JOB.json RESULT.json

A job as in benchmarks.ours. read: gzip by isal, JSON by orjson, nothing kept. language: fastText's own predict over a
list of texts. filters: no loop does the same; splitting at white space and counting the words, which any of the rules
needs. exact: a 128-bit hash of the text. minhash: the signature kernel over shingles hashed before. tokens: fastokens'
batch call on one thread.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import orjson
import pyarrow as pa
import xxhash
from isal import igzip

from benchmarks.peers.clock import WARM_UP, cpu_s, load, timed
from transforms.dedup.fast_shingles import shingle_rows
from transforms.kernels.shingles import signatures
from transforms.text.language import bundled_lid176

PERMUTATIONS = 14 * 8


def read(folder: str) -> int:
    """Documents of a folder."""
    count = 0
    for path in sorted(Path(folder).glob("*.jsonl.gz")):
        for line in igzip.decompress(path.read_bytes()).splitlines():
            orjson.loads(line)
            count += 1
    return count


def count_words(texts: list[str]) -> None:
    """The words of each text with how often each occurs."""
    for text in texts:
        Counter(text.split())


def hash_texts(texts: list[str]) -> int:
    """How many texts differ."""
    return len({xxhash.xxh3_128_digest(text.encode()) for text in texts})


def signer(texts: list[str]) -> Callable[[], None]:
    """The signatures of texts, their shingles hashed."""
    hashed, bounds = shingle_rows(pa.array(texts, pa.large_string()), 5)
    multipliers, offsets = np.random.default_rng(0).integers(2**63, size=(2, PERMUTATIONS), dtype=np.uint64)
    out = np.empty((len(texts), PERMUTATIONS), np.uint64)
    return lambda: signatures(hashed, bounds, multipliers | np.uint64(1), offsets, out)


def main(job: dict[str, str]) -> dict[str, Any]:
    """Every floor."""
    os.environ |= {"RAYON_NUM_THREADS": "1", "FASTOKENS_BPE_THREADS": "1"}
    import fastokens  # sizes its pools by the environment, when it first encodes

    pages, english, many = (load(job[name]) for name in ("pages", "english", "dedup"))
    texts = {name: [row["text"] for row in rows] for name, rows in (("p", pages), ("e", english), ("m", many))}
    model = fasttext.load_model(str(bundled_lid176()))
    tokenizer = fastokens.Tokenizer.from_file(job["tokenizer"])

    def language(some: list[str]) -> None:
        model.f.multilinePredict([" ".join(text.split()) + "\n" for text in some], 1, 0.0, "strict")

    loops: dict[str, tuple[list[dict[str, str]], Callable[[], Any]]] = {
        "read": (pages, lambda: read(job["pages"])),
        "language": (pages, lambda: language(texts["p"])),
        "filters": (english, lambda: count_words(texts["e"])),
        "exact": (many, lambda: hash_texts(texts["m"])),
        "minhash": (many, signer(texts["m"])),
        "tokens": (pages, lambda: tokenizer.encode_batch_flat(texts["p"])),
    }
    language(texts["p"][:WARM_UP])
    signer(texts["m"][:WARM_UP])()
    tokenizer.encode_batch_flat(texts["p"][:WARM_UP])
    return {name: timed(rows, cpu_s(loop)[0]) for name, (rows, loop) in loops.items()}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
