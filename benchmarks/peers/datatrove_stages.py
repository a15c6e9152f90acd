"""datatrove's stages alone; runs in datatrove's own environment.

    python datatrove_stages.py JOB.json RESULT.json

A job names the folders `pages` (read, language, tokens), `english` (filters, minhash) and `dedup` (exact: it is quick
and needs more to be timed on), `tokenizer` (a tokenizer.json), `lid` (lid.176.ftz) and `scratch`, a folder to write to.
Steps are called as an executor calls them, one after the other in this process; the executor's own work is left out.
"""

import json
import sys
from pathlib import Path

from clock import WARM_UP, cpu_s, exhaust, load, timed
from datatrove.data import Document
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


def documents(rows):
    return [Document(text=row["text"], id=row["id"]) for row in rows]


def chain(steps, docs):
    """What the last of some steps yields."""
    for step in steps:
        docs = step.run(docs, 0, 1)
    return list(docs)


def read_in(folder):
    exhaust(doc for doc in JsonlReader(folder).run(None, 0, 1))


def language(lid):
    step = LanguageFilter(label_only=True)
    step.model.MODEL_URL = lid
    return step


def filters():
    return [
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    ]


def exact(rows, folder):
    """The number of documents that exact deduplication drops."""
    config = ExactDedupConfig(content_getter=lambda doc: doc.text)
    exhaust([ExactDedupSignature(f"{folder}/sigs", config).run(documents(rows), 0, 1)])
    exhaust([ExactFindDedups(f"{folder}/sigs", f"{folder}/dups", config).run(None, 0, 1)])
    return len(rows) - len(chain([ExactDedupFilter(f"{folder}/dups", config)], documents(rows)))


def minhash(rows, folder):
    """The number of documents that MinHash deduplication drops."""
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    exhaust([MinhashDedupSignature(f"{folder}/sigs", config).run(documents(rows), 0, 1)])
    for bucket in range(config.num_buckets):
        step = MinhashDedupBuckets(f"{folder}/sigs", f"{folder}/buckets", config=config)
        exhaust([step.run(None, bucket, config.num_buckets)])
    exhaust([MinhashDedupCluster(f"{folder}/buckets", f"{folder}/remove", config=config).run(None, 0, 1)])
    return len(rows) - len(chain([MinhashDedupFilter(f"{folder}/remove")], documents(rows)))


def tokens(rows, folder, tokenizer):
    """The number of tokens written."""
    step = DocumentTokenizer(folder, tokenizer, eos_token="<|endoftext|>", shuffle_documents=False)
    exhaust([step.run(documents(rows), 0, 1)])
    return sum(path.stat().st_size for path in Path(folder).glob("*.ds")) // 2


def main(job):
    scratch = Path(job["scratch"])
    pages, english = load(job["pages"]), load(job["english"])
    few = pages[:WARM_UP]
    found = {}

    read_in(job["english"])
    seconds, _ = cpu_s(read_in, job["pages"])
    found["read"] = timed(pages, seconds)

    step = language(job["lid"])
    chain([step], documents(few))
    docs = documents(pages)
    seconds, docs = cpu_s(chain, [step], docs)
    found["language"] = timed(pages, seconds, labels={doc.id: doc.metadata["language"] for doc in docs})

    steps = filters()
    chain(steps, documents(english[:WARM_UP]))
    docs = documents(english)
    seconds, docs = cpu_s(chain, steps, docs)
    found["filters"] = timed(english, seconds, kept=[doc.id for doc in docs])

    for name, run, rows in (("exact", exact, load(job["dedup"])), ("minhash", minhash, english)):
        run(few, scratch / f"{name}-warm")
        seconds, dropped = cpu_s(run, rows, scratch / name)
        found[name] = timed(rows, seconds, dropped=dropped)

    tokens(few, f"{scratch}/tokens-warm", job["tokenizer"])
    seconds, count = cpu_s(tokens, pages, f"{scratch}/tokens", job["tokenizer"])
    found["tokens"] = timed(pages, seconds, tokens=count)
    return found


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
