"""dolma's stages alone; runs in dolma's own environment.

    python dolma_stages.py JOB.json RESULT.json

A job as in datatrove_stages.py, with `end_of_text` (an id). Taggers are called as its tag command calls them; writing
their attributes is left out. It has no MinHash: its deduplication is of paragraphs, by a Bloom filter.
"""

import gzip
import json
import os
import sys
from pathlib import Path

from clock import WARM_UP, cpu_s, load, timed


def specs(rows, make):
    return [make(id=row["id"], text=row["text"]) for row in rows]


def tags(taggers, rows):
    return [[tagger.tag(row) for tagger in taggers] for row in rows]


def read_in(folder):
    """As the tag command reads."""
    import msgspec
    import smart_open
    from dolma.core.data_types import InputSpec

    decoder = msgspec.json.Decoder(InputSpec)
    count = 0
    for path in sorted(Path(folder).glob("*.jsonl.gz")):
        with smart_open.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                decoder.decode(line)
                count += 1
    return count


def dedupe(folder, documents):
    """The number of paragraphs found to be repeats."""
    from dolma import deduper

    deduper(
        {
            "documents": [f"{folder}/documents/*.gz"],
            "work_dir": {"input": f"{folder}/in", "output": f"{folder}/out"},
            "dedupe": {
                "name": "paragraphs",
                "paragraphs": {"attribute_name": "repeats"},
                "skip_empty": True,
                "document_dir": "documents",
            },
            "bloom_filter": {
                "file": f"{folder}/bloom.bin",
                "read_only": False,
                "size_in_bytes": 0,
                "estimated_doc_count": 100 * documents,
                "desired_false_positive_rate": 1e-4,
            },
            "processes": 1,
            "compression": {"input": None, "output": None},
            "is_s3_volume": False,
        }
    )
    found = load(f"{folder}/attributes/paragraphs")
    if len(found) != documents:
        raise SystemExit(f"dolma wrote attributes of {len(found)} documents, not of {documents}")
    return sum(len(row["attributes"].get("repeats", ())) for row in found)


def tokens(folder, tokenizer, end_of_text):
    """The number of tokens written."""
    from dolma.tokenizer import tokenize_in_parallel

    tokenize_in_parallel(
        sources=[f"{folder}/documents/*.gz"],
        destination=f"{folder}/tokens",
        metadata_dir=f"{folder}/done",
        tokenizer_name_or_path=tokenizer,
        bos_token_id=None,
        eos_token_id=end_of_text,
        pad_token_id=end_of_text,
        dtype="uint16",
        debug=True,  # in this process
    )
    return sum(path.stat().st_size for path in Path(folder).glob("tokens/*.npy")) // 2


def placed(rows, folder):
    """A folder with the rows where dolma's commands look for them."""
    (folder / "documents").mkdir(parents=True)
    for name in ("in", "out"):
        (folder / name).mkdir()
    with gzip.open(folder / "documents" / "part-0.jsonl.gz", "wt", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row | {"source": "bench"}, ensure_ascii=False) + "\n")
    return str(folder)


def main(job):
    os.environ["LID_MODEL"] = job["lid"]
    import dolma_lid  # noqa: F401
    from dolma.core.data_types import InputSpec
    from dolma.core.registry import TaggerRegistry

    scratch = Path(job["scratch"])
    pages, english = load(job["pages"]), load(job["english"])
    few = pages[:WARM_UP]
    found = {}

    read_in(job["english"])
    seconds, count = cpu_s(read_in, job["pages"])
    if count != len(pages):
        raise SystemExit(f"dolma read {count} documents, not {len(pages)}")
    found["read"] = timed(pages, seconds)

    tagger = TaggerRegistry.get("ft_lang_id_doc_v1")()
    tags([tagger], specs(few, InputSpec))
    seconds, made = cpu_s(tags, [tagger], specs(pages, InputSpec))
    labels = {row["id"]: best(result[0]) for row, result in zip(pages, made, strict=True)}
    found["language"] = timed(pages, seconds, labels=labels)

    taggers = [TaggerRegistry.get(name)() for name in ("gopher_v2", "c4_v2")]
    tags(taggers, specs(few, InputSpec))
    seconds, made = cpu_s(tags, taggers, specs(english, InputSpec))
    if not all(all(attributes) for attributes in made):
        raise SystemExit("dolma's taggers gave no attributes for some documents")
    found["filters"] = timed(english, seconds)

    dedupe(placed(few, scratch / "dedupe-warm"), len(few))
    many = load(job["dedup"])
    folder = placed(many, scratch / "dedupe")
    seconds, repeats = cpu_s(dedupe, folder, len(many))
    found["paragraphs"] = timed(many, seconds, repeats=repeats)

    tokens(placed(few, scratch / "tokens-warm"), job["tokenizer"], job["end_of_text"])
    folder = placed(pages, scratch / "tokens")
    seconds, count = cpu_s(tokens, folder, job["tokenizer"], job["end_of_text"])
    found["tokens"] = timed(pages, seconds, tokens=count)
    return found


def best(attributes):
    """The label of the highest score."""
    return max(attributes, key=lambda label: attributes[label][0][2])


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
