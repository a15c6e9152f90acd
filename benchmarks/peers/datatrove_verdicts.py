"""datatrove's side of bench-parity; runs in datatrove's own environment.

    python datatrove_verdicts.py INPUT_DIR OUT.jsonl CORES

One line a document, in the order of the files and their lines: what each filter, alone and with its defaults, says of
it (null keeps it, a word is the reason), and the digest of the text that the C4 filter left. Every language is judged
with the English word splitter, as datatrove's filters do unless told otherwise.
"""

import gzip
import hashlib
import json
import multiprocessing
import sys
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

FILTERS = {
    "text.gopher_quality": GopherQualityFilter(),
    "text.gopher_repetition": GopherRepetitionFilter(),
    "text.c4_quality": C4QualityFilter(),
    "text.fineweb_quality": FineWebQualityFilter(),
}


def judge(text):
    verdicts = {}
    for name, rule in FILTERS.items():
        doc = Document(text=text, id="")
        try:
            said = rule.filter(doc)
        except Exception as error:  # noqa: BLE001 (a filter that falls over has no verdict)
            said = False, f"error:{type(error).__name__}"
        verdicts[name] = None if said is True else said[1] if isinstance(said, tuple) else "rejected"
        if name == "text.c4_quality":
            verdicts["c4_text"] = hashlib.sha256(doc.text.encode("utf-8", "surrogatepass")).hexdigest()
    return verdicts


def texts(folder):
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            for line in lines:
                yield json.loads(line)["text"]


def main(source, out, cores):
    with multiprocessing.get_context("fork").Pool(cores) as pool, out.open("w") as file:
        for verdicts in pool.imap(judge, texts(source), chunksize=16):
            file.write(json.dumps(verdicts) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
