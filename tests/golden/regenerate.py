"""Regenerates tests/golden/demo_text.json: `python -m tests.golden.regenerate`.

The golden file says what the demo recipe makes of a small demo corpus's text: every rejected row's step and reason,
and a digest of the token ids of every shard. A change to it needs a version bump of the transform whose output changed,
and a word in the commit that says why.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml

from jobs.sample import write_sample
from pipeline.curate import curate
from pipeline.graph import Launcher
from pipeline.recipe import resolve
from schemas.manifest import read_manifest
from schemas.shard import open_shard

GOLDEN = Path(__file__).with_name("demo_text.json")
RECIPE = Path(__file__).parents[2] / "recipes" / "demo.yaml"


def observed(folder: Path) -> dict[str, Any]:
    """Curates the text of a small demo corpus in `folder`; its verdicts and token digests."""
    write_sample(folder / "demo", seed=17, scale=0.05)
    recipe = yaml.safe_load(RECIPE.read_text())
    recipe["inputs"] = [{"use": "jsonl", "with": {"paths": str(folder / "demo" / "text"), "name": "text"}}]
    recipe["tokens"] |= {"tokenizer": {"train": {"vocab_size": 1024}}}
    recipe["output"] = {"path": str(folder / "out"), "shard_tokens": 32768}
    curate(resolve(recipe), Launcher("direct", 1))
    manifest = read_manifest(folder / "out")
    rejected = {}
    for entry in manifest.ledger:
        for row in pq.read_table(folder / "out" / entry.path, columns=["source", "step", "reason"]).to_pylist():
            if row["reason"] is not None:
                rejected[row["source"]] = f"{row['step']} {row['reason']}"
    return {
        "rows_in": manifest.counts.rows_in,
        "tokenizer": manifest.tokenizer.fingerprint,
        "rejected": dict(sorted(rejected.items())),
        "shards": [_digest(folder / "out" / entry.path) for entry in manifest.shards],
    }


def _digest(path: Path) -> str:
    """Digest of what a shard says, apart from how Arrow lays it out in the file."""
    table = open_shard(path)
    state = hashlib.sha256()
    for name in ("input_ids", "document_lengths"):
        state.update(table.column(name).combine_chunks().flatten().to_numpy().astype(np.int32).tobytes())
    state.update(json.dumps(table.column("source_ids").to_pylist()).encode())
    return state.hexdigest()


def main() -> None:
    """Writes the golden file."""
    with tempfile.TemporaryDirectory() as folder:
        GOLDEN.write_text(json.dumps(observed(Path(folder)), indent=1, ensure_ascii=False) + "\n")
    print(GOLDEN)


if __name__ == "__main__":
    main()
