"""bench-signatures: MinHash signatures under `signature: datatrove` against datatrove's own, bit for bit.

DATA names a folder of .jsonl.gz with `id`, `text` and, where it is known, `lang_label`, of any language; without it
the documents are generated English ones. Both sides sign the same documents (14 x 8, word 5-grams, English tokenizer),
once with the hash that FineWeb used and once with datatrove's default; a signature counts as equal when all of its 112
numbers are.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.corpus import load, write
from benchmarks.harness import (
    CACHE,
    DATATROVE,
    Stage,
    machine,
    our_versions,
    peer_python,
    peer_versions,
    run,
    size,
    write_result,
)
from benchmarks.peers import clock
from transforms.registry import build

PEER_SCRIPT = Path(__file__).parent / "peers" / "datatrove_signatures.py"
#: documents signed
DOCUMENTS = {"small": 1_500, "full": 4_000}
#: ours -> datatrove's
HASHES = {
    "sha1_64": {"hash": "sha1", "precision": 64},
    "xxh64": {"hash": "xxhash", "precision": 64},
}


def ours(rows: list[dict[str, str]], hashed_by: str) -> dict[str, Any]:
    """Our side, as datatrove's script reports its own."""
    step = build("text.minhash_dedup", {"signature": "datatrove", "datatrove_hash": hashed_by})
    step.setup()

    def sign(some: list[dict[str, str]]) -> dict[str, str]:
        signed, which = step.signatures(pa.array([row["text"] for row in some], pa.large_string()))
        ids = [some[at]["id"] for at in which.tolist()]
        return {id: hashlib.sha256(row.tobytes()).hexdigest() for id, row in zip(ids, signed, strict=True)}

    sign(rows[: clock.WARM_UP])
    seconds, found = clock.cpu_s(sign, rows)
    return clock.timed(rows, seconds, signatures=found)


def agreement(ours: Mapping[str, str], theirs: Mapping[str, str], ids: list[str]) -> dict[str, Any]:
    """How many documents have the same signature, or none on both sides; and some that do not."""
    differ = [id for id in ids if ours.get(id) != theirs.get(id)]
    return {"documents": len(ids), "equal": len(ids) - len(differ), "differ": differ[:20]}


def main() -> None:
    """Runs both sides; prints the table and writes benchmarks/results/signatures.json."""
    where, pages = machine(), load(os.environ.get("DATA"))
    python = peer_python("datatrove", DATATROVE)
    table, equal = {}, {}
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        work = Path(folder)
        rows = pages.everything[: DOCUMENTS[size()]]
        given = write(rows, work / "documents", 1).folder
        english = {page["id"] for page in pages.english}
        for name, chosen in HASHES.items():
            job, result = work / "job.json", work / "result.json"
            job.write_text(json.dumps({**chosen, "documents": str(given), "scratch": str(work / "scratch")}))
            run([python, PEER_SCRIPT, job, result], env={"HF_HUB_OFFLINE": "1"})
            theirs, mine = json.loads(result.read_text()), ours(rows, name)
            rates = [side["bytes"] / 1e6 / side["cpu_s"] for side in (mine, theirs)]
            table[f"signatures by {name}"] = Stage.of(rates[0], {"datatrove": rates[1]}, "MB per CPU second")
            groups = {"English": True, "other languages": False}
            equal[name] = {
                group: agreement(
                    mine["signatures"],
                    theirs["signatures"],
                    [row["id"] for row in rows if (row["id"] in english) == which],
                )
                for group, which in groups.items()
            }
    versions = our_versions(["sluice"]) | peer_versions(python, ["datatrove", "spacy"])
    path = write_result("signatures", table, machine=where, versions=versions, data=pages.name, equal=equal)
    for name, found in equal.items():
        for group, row in found.items():
            print(f"{name}, {group}: {row['equal']:,} of {row['documents']:,} signatures are equal")
    print(path)


if __name__ == "__main__":
    main()
