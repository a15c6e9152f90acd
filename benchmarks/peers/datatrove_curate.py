"""datatrove's side of bench-text end to end; runs in datatrove's own environment.

    python datatrove_curate.py JOB.json

A job names `out`, a folder with .jsonl.gz in `documents/`, `tokenizer` (a tokenizer.json), `lid` and `cores`. The
stages are those of datatrove's examples/fineweb.py and its exact and MinHash examples, with their published parameters;
what differs is the language model (the compressed lid.176.ftz, which ours uses too), the tokenizer (the same file for
both) and local folders. The ids of documents read, kept by the filters and kept at the end go to OUT/*.txt, so that
both sides can be compared.
"""

import json
import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.exact_dedup import ExactDedupConfig
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter


class Witness:
    """Passes documents through and writes their ids, one a line."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name

    def __call__(self, data, rank=0, world_size=1):
        with open(f"{self.folder}/{self.name}-{rank:05d}.txt", "w") as file:
            for doc in data:
                file.write(doc.id + "\n")
                yield doc


def content(doc):
    return doc.text


def main(job):
    out, cores = Path(job["out"]), job["cores"]
    source = out / "documents"
    files = len(list(source.glob("*.jsonl.gz")))
    language = LanguageFilter(["en"], language_threshold=0.65)
    language.model.MODEL_URL = job["lid"]
    minhash = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    exact = ExactDedupConfig(content_getter=content)

    def stage(name, steps, tasks):
        # forked workers inherit the imports, which the default start method makes anew in every worker of every stage
        LocalPipelineExecutor(
            steps, tasks=tasks, workers=min(cores, tasks), logging_dir=f"{out}/logs/{name}", start_method="fork"
        ).run()

    def read(name):
        return JsonlReader(f"{out}/{name}")

    stage(
        "filters",
        [
            JsonlReader(str(source)),
            Witness(out, "read"),
            language,
            GopherRepetitionFilter(),
            GopherQualityFilter(),
            C4QualityFilter(filter_no_terminal_punct=False),
            FineWebQualityFilter(),
            Witness(out, "filtered"),
            JsonlWriter(f"{out}/filtered"),
        ],
        files,
    )
    stage("exact1", [read("filtered"), ExactDedupSignature(f"{out}/exact_sigs", exact)], files)
    stage("exact2", [ExactFindDedups(f"{out}/exact_sigs", f"{out}/exact_dups", exact)], 1)
    stage(
        "exact3", [read("filtered"), ExactDedupFilter(f"{out}/exact_dups", exact), JsonlWriter(f"{out}/exact")], files
    )
    stage("minhash1", [read("exact"), MinhashDedupSignature(f"{out}/sigs", minhash)], files)
    stage("minhash2", [MinhashDedupBuckets(f"{out}/sigs", f"{out}/buckets", config=minhash)], minhash.num_buckets)
    stage("minhash3", [MinhashDedupCluster(f"{out}/buckets", f"{out}/remove", config=minhash)], 1)
    stage(
        "minhash4",
        [
            read("exact"),
            MinhashDedupFilter(f"{out}/remove"),
            Witness(out, "kept"),
            DocumentTokenizer(f"{out}/tokens", job["tokenizer"], eos_token="<|endoftext|>", shuffle_documents=False),
        ],
        files,
    )


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
