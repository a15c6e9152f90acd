"""dolma's side of bench-text end to end; runs in dolma's own environment.

    python dolma_curate.py JOB.json

A job names `out`, a folder with .jsonl.gz in `documents/`, `tokenizer`, `end_of_text`, `lid` and `cores`. Attributes
are left where dolma looks for them, beside `documents/`: its mixer drops every document whose attributes it does not
find, and says nothing. The commands are those of its documentation: tag, mix, dedupe, mix, tokens; each is a process.

What dolma does is less: no FineWeb rules, no sentence count and no edited lines in C4, and repeated paragraphs found by
a Bloom filter where the others look for duplicate and near-duplicate documents.
"""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

TAGGERS = ["ft_lang_id_en_doc_v2", "gopher_v2", "c4_v2"]
#: what keeps a document out: Gopher's published limits and C4's page rules, on the taggers' attributes
LIMITS = {
    "gopher_v2__word_count": ("< 50", "> 100000"),
    "gopher_v2__median_word_length": ("< 3", "> 10"),
    "gopher_v2__symbol_to_word_ratio": ("> 0.1",),
    "gopher_v2__fraction_of_words_with_alpha_character": ("< 0.8",),
    "gopher_v2__required_word_count": ("< 2",),
    "gopher_v2__fraction_of_lines_starting_with_bullet_point": ("> 0.9",),
    "gopher_v2__fraction_of_lines_ending_with_ellipsis": ("> 0.3",),
    "gopher_v2__fraction_of_duplicate_lines": ("> 0.3",),
    "gopher_v2__fraction_of_characters_in_duplicate_lines": ("> 0.2",),
    "gopher_v2__fraction_of_characters_in_most_common_2grams": ("> 0.2",),
    "gopher_v2__fraction_of_characters_in_most_common_3grams": ("> 0.18",),
    "gopher_v2__fraction_of_characters_in_most_common_4grams": ("> 0.16",),
    "gopher_v2__fraction_of_characters_in_duplicate_5grams": ("> 0.15",),
    "gopher_v2__fraction_of_characters_in_duplicate_6grams": ("> 0.14",),
    "gopher_v2__fraction_of_characters_in_duplicate_7grams": ("> 0.13",),
    "gopher_v2__fraction_of_characters_in_duplicate_8grams": ("> 0.12",),
    "gopher_v2__fraction_of_characters_in_duplicate_9grams": ("> 0.11",),
    "gopher_v2__fraction_of_characters_in_duplicate_10grams": ("> 0.10",),
    "c4_v2__has_curly_brace": ("> 0",),
    "c4_v2__has_lorem_ipsum": ("> 0",),
    "c4_v2__has_javascript": ("> 0",),
}


def where(attribute, condition):
    return f"$.attributes[?(@.{attribute}[0][2] {condition})]"


def command(name, config, out):
    """Runs one of dolma's commands with a config file."""
    path = out / f"{name}.json"
    path.write_text(json.dumps(config))
    program = "from dolma.cli.main import main; main()"
    subprocess.run([sys.executable, "-c", program, "-c", str(path), name.partition("-")[0]], check=True)


def count(pattern):
    """Lines of the files of a glob."""
    return sum(1 for path in pattern for _ in gzip.open(path, "rt"))


def check(name, found, expected):
    if found != expected:
        raise SystemExit(f"dolma's {name} has {found} documents, not {expected}")


def main(job):
    out = Path(job["out"])
    source = out / "documents"
    os.environ |= {"LID_MODEL": job["lid"], "TQDM_DISABLE": "1"}
    documents = count(source.glob("*.gz"))
    command(
        "tag",
        {
            "documents": [f"{source}/*.gz"],
            "experiment": "bench",
            "taggers": TAGGERS,
            "tagger_modules": [str(Path(__file__).with_name("dolma_lid.py"))],
            "processes": job["cores"],
            "work_dir": work(out, "tag"),
        },
        out,
    )
    check("tag", count(out.glob("attributes/bench/*.gz")), documents)
    limits = {f"bench__{name}": conditions for name, conditions in LIMITS.items()}
    command(
        "mix-filter",
        {
            "streams": [
                {
                    "name": "filtered",
                    "documents": [f"{source}/*.gz"],
                    "attributes": ["bench"],
                    "output": {"path": f"{out}/filtered/documents"},
                    "filter": {
                        "include": [where("bench__ft_lang_id_en_doc_v2__en", ">= 0.65")],
                        "exclude": [where(name, each) for name, conditions in limits.items() for each in conditions],
                    },
                }
            ],
            "processes": job["cores"],
            "work_dir": work(out, "filter"),
        },
        out,
    )
    kept = count(out.glob("filtered/documents/*.gz"))
    if not kept:
        raise SystemExit("dolma's filters kept nothing")
    command(
        "dedupe",
        {
            "documents": [f"{out}/filtered/documents/*.gz"],
            "dedupe": {"name": "repeats", "paragraphs": {"attribute_name": "repeats"}, "skip_empty": True},
            "bloom_filter": {
                "file": f"{out}/bloom.bin",
                "read_only": False,
                "estimated_doc_count": 100 * documents,
                "desired_false_positive_rate": 1e-4,
            },
            "processes": job["cores"],
            "work_dir": work(out, "dedupe"),
        },
        out,
    )
    check("dedupe", count(out.glob("filtered/attributes/repeats/*.gz")), kept)
    command(
        "mix-deduplicate",
        {
            "streams": [
                {
                    "name": "deduplicated",
                    "documents": [f"{out}/filtered/documents/*.gz"],
                    "attributes": ["repeats"],
                    "output": {"path": f"{out}/deduplicated/documents"},
                    "span_replacement": [{"span": "$.attributes.repeats", "min_score": 0.5, "replacement": ""}],
                }
            ],
            "processes": job["cores"],
            "work_dir": work(out, "deduplicate"),
        },
        out,
    )
    command(
        "tokens",
        {
            "documents": [f"{out}/deduplicated/documents/*.gz"],
            "destination": f"{out}/tokens",
            "tokenizer": {
                "name_or_path": job["tokenizer"],
                "eos_token_id": job["end_of_text"],
                "pad_token_id": job["end_of_text"],
            },
            "processes": job["cores"],
            "dtype": "uint16",
            "work_dir": work(out, "tokens"),
        },
        out,
    )
    written = sum(path.stat().st_size for path in out.glob("tokens/*.npy")) // 2
    (out / "counts.json").write_text(json.dumps({"read": documents, "kept": kept, "tokens": written}))


def work(out, name):
    return {"input": f"{out}/work/{name}/in", "output": f"{out}/work/{name}/out"}


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
