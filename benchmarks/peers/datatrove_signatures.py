"""datatrove's MinHash signatures; runs in datatrove's own environment.

    python datatrove_signatures.py JOB.json RESULT.json

A job names the folder `documents`, a `hash` (sha1 or xxhash), its `precision`, and a `scratch` folder.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from clock import WARM_UP, cpu_s, load, timed
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.utils.hashing import HashConfig


def signatures(step, rows):
    """A digest of each document's signature, by id; none for documents too short to have a shingle."""
    found = {}
    for row in rows:
        shingles = step.get_shingles(row["text"])
        if shingles.size:
            signature = np.asarray(step.get_signature(shingles), "<u8")
            found[row["id"]] = hashlib.sha256(signature.tobytes()).hexdigest()
    return found


def main(job):
    rows = load(job["documents"])
    config = MinhashConfig(hash_config=HashConfig(hash_fc=job["hash"], precision=job["precision"]))
    step = MinhashDedupSignature(job["scratch"], config)
    signatures(step, rows[:WARM_UP])
    seconds, found = cpu_s(signatures, step, rows)
    return timed(rows, seconds, signatures=found)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
