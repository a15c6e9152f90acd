"""text-dedup's side of bench-dedup: its MinHash command; runs in text-dedup's own environment.

    python text_dedup_minhash.py JOB.json

A job as in datatrove_minhash.py. The bands are given, so that its threshold is not used.
"""

import json
import subprocess
import sys
from pathlib import Path

from clock import load


def main(job):
    source, out = Path(job["documents"]), Path(job["out"])
    options = {
        "path": "json",
        "data_files": f"{source}/*.jsonl.gz",
        "split": "train",
        "cache_dir": f"{out}/cache",
        "output": f"{out}/kept",
        "column": "text",
        "idx_column": "id",
        "ngram": 5,
        "num_perm": 112,
        "b": 14,
        "r": 8,
        "num_proc": job["cores"],
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    subprocess.run([sys.executable, "-m", "text_dedup.minhash", *flags, "--debug"], check=True)
    if job.get("decision"):
        import pickle

        from datasets import load_from_disk

        kept = list(load_from_disk(f"{out}/kept")["id"])
        found = pickle.loads(Path(f"{out}/kept/uf.pkl").read_bytes())  # noqa: S301 (written by the command above)
        ids = {row["id"] for row in load(source)}
        cluster = {id: str(found.find(id)) for id in ids & set(found.parent)}
        (out / "decision.json").write_text(json.dumps({"kept": kept, "cluster": cluster}))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
