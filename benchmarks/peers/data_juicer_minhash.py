"""Data-Juicer's side of bench-dedup: its MinHash deduplicator; runs in Data-Juicer's own environment.

    python data_juicer_minhash.py JOB.json

A job as in datatrove_minhash.py. The operator is called as its executor calls it: hashes of every sample, then the
whole dataset; words are split at spaces, its setting for languages that have them.
"""

import json
import sys
from pathlib import Path

from clock import load
from data_juicer.core.data import NestedDataset
from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator
from datasets import Dataset


def main(job):
    operator = DocumentMinhashDeduplicator(
        tokenization="space", window_size=5, lowercase=True, num_permutations=112, num_bands=14, num_rows_per_band=8
    )
    rows = NestedDataset(Dataset.from_list(load(job["documents"])))
    hashed = rows.map(operator.compute_hash, num_proc=job["cores"])
    kept, pairs = operator.process(hashed, show_num=len(rows) if job.get("decision") else 0)
    kept.to_json(f"{job['out']}/kept.jsonl")
    if job.get("decision"):
        cluster = {row["id"]: str(number) for number, found in pairs.items() for row in found}
        decision = {"kept": list(kept["id"]), "cluster": cluster}
        Path(job["out"], "decision.json").write_text(json.dumps(decision))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
