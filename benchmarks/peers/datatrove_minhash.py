"""datatrove's side of bench-dedup: its four MinHash stages; runs in datatrove's own environment.

    python datatrove_minhash.py JOB.json

A job names `documents`, a folder of .jsonl.gz, `out` and `cores`; with `decision` the clusters are saved as well, and
OUT/decision.json says what was kept and what was held for the same. Parameters are those of its MinHash example.
"""

import json
import struct
import sys
from pathlib import Path

from clock import load
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter


def decision(out, source):
    """(ids kept, {id: cluster})."""
    ids = [[row["id"] for row in rows] for rows in files(source)]
    cluster, removed = {}, set()
    for rank, names in enumerate(ids):
        for doc, number in records(out / "remove" / f"{rank:06d}.clusters", "<2I"):
            cluster[names[doc]] = str(number)
        removed |= {names[doc] for (doc,) in records(out / "remove" / f"{rank:06d}.remove", "<I")}
    kept = [row["id"] for row in load(out / "kept")]
    if removed & set(kept) or len(removed) + len(kept) != sum(map(len, ids)):
        raise SystemExit("datatrove's removals and the documents it wrote do not add up")
    return kept, cluster


def files(source):
    """The documents of each file, in the order of the ranks that read them."""
    import gzip

    for path in sorted(source.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield [json.loads(line) for line in lines]


def records(path, layout):
    return struct.iter_unpack(layout, path.read_bytes()) if path.exists() else ()


def main(job):
    source, out, cores = Path(job["documents"]), Path(job["out"]), job["cores"]
    tasks = len(list(source.glob("*.jsonl.gz")))
    minhash = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)

    def stage(name, steps, tasks):
        # forked workers inherit the imports, which the default start method makes anew in every worker of every stage
        LocalPipelineExecutor(
            steps, tasks=tasks, workers=min(cores, tasks), logging_dir=f"{out}/logs/{name}", start_method="fork"
        ).run()

    def read():
        return JsonlReader(str(source))

    stage("minhash1", [read(), MinhashDedupSignature(f"{out}/sigs", minhash)], tasks)
    stage("minhash2", [MinhashDedupBuckets(f"{out}/sigs", f"{out}/buckets", config=minhash)], minhash.num_buckets)
    cluster = MinhashDedupCluster(
        f"{out}/buckets", f"{out}/remove", config=minhash, save_cluster_id=bool(job.get("decision"))
    )
    stage("minhash3", [cluster], 1)
    stage("minhash4", [read(), MinhashDedupFilter(f"{out}/remove"), JsonlWriter(f"{out}/kept")], tasks)
    if job.get("decision"):
        kept, found = decision(out, source)
        (out / "decision.json").write_text(json.dumps({"kept": kept, "cluster": found}))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
