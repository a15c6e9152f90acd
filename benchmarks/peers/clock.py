"""What the scripts of all sides time with, ours included; standard library only, since peers have no other of ours.

A stage is timed inside one process: models and rules are made and have run on WARM_UP documents before, documents are
in memory, and the process's CPU time (all threads, user and system) is read before and after.
"""

import gzip
import json
import time
from collections import deque
from pathlib import Path

WARM_UP = 16


def load(folder):
    """The documents of a folder of .jsonl.gz, as [{"id", "text"}]."""
    rows = []
    for path in sorted(Path(folder).glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows += map(json.loads, lines)
    return rows


def cpu_s(function, *arguments):
    """(CPU seconds of a call, what it gives)."""
    began = time.process_time()
    result = function(*arguments)
    return time.process_time() - began, result


def exhaust(iterator):
    """Runs an iterator to its end."""
    deque(iterator, maxlen=0)


def timed(documents, seconds, **facts):
    """A stage as the scripts report it; `facts` are what can be compared with the other sides'."""
    size = sum(len(document["text"].encode()) for document in documents)
    return {"documents": len(documents), "bytes": size, "cpu_s": seconds, **facts}
