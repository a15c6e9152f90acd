"""Which documents of which shards are a row's. A shard knows documents by row id only, and ids may repeat.

Shards and ledger files are written in groups, in one order, so running sums of tokens tell which shards hold a ledger
file's rows. Among the rows of a group with one id, the number of tokens tells documents apart; where it does not,
rows cannot be told apart and have to go together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.forget.lookup import Line
from pipeline.report.tally import TOKENS
from schemas.ledger import KEPT

#: ids of documents to cut; those of the lengths only, or of any (None)
Cuts = dict[str, set[int] | None]


@dataclass
class Places:
    """By shard number, the documents to cut; and rows that have to go too, as their documents could be the others'."""

    cuts: dict[int, Cuts] = field(default_factory=dict)
    joined: list[Line] = field(default_factory=list)


def shard_groups(ledger_tokens: Sequence[int], shard_tokens: Sequence[int]) -> list[range]:
    """For each ledger file, the shards that hold its rows; all of them where the sums do not tell."""
    groups, at = [], 0
    for tokens in ledger_tokens:
        start, held = at, 0
        while held < tokens and at < len(shard_tokens):
            held += shard_tokens[at]
            at += 1
        if held != tokens:
            break
        groups.append(range(start, at))
    whole = range(len(shard_tokens))
    return groups if len(groups) == len(ledger_tokens) and at == len(shard_tokens) else [whole] * len(ledger_tokens)


def find_places(lines: Sequence[Line], rivals: Sequence[Line], groups: list[range], sequence_length: int) -> Places:
    """Where the kept rows among `lines` are; `rivals` are the kept rows of their ids that stay."""
    places = Places()
    going, staying = _by_id(lines, groups), _by_id(rivals, groups)
    for (shards, row_id), rows in going.items():
        others = staying.get((shards, row_id), [])
        sizes: list[Any] = [row.values.get(TOKENS) for row in (*rows, *others)]
        lengths: set[int] | None = None
        if others and all(size is not None and size <= sequence_length for size in sizes):  # one piece each
            lengths = set(sizes[: len(rows)])
            others = [other for other, size in zip(others, sizes[len(rows) :], strict=True) if size in lengths]
        places.joined += others
        for shard in shards:
            places.cuts.setdefault(shard, {})[row_id] = lengths
    return places


def to_cut(batch: pa.RecordBatch, cuts: Cuts) -> np.ndarray:
    """Which documents of a shard's batch to cut, bool [documents]."""
    ids = batch.column("source_ids").flatten()
    found = np.array(pc.is_in(ids, pa.array(sorted(cuts), ids.type)))
    sizes = batch.column("document_lengths").flatten()
    for at in np.flatnonzero(found).tolist():
        lengths = cuts[ids[at].as_py()]
        found[at] = lengths is None or sizes[at].as_py() in lengths
    return found


def _by_id(lines: Sequence[Line], groups: list[range]) -> dict[tuple[range, str], list[Line]]:
    found: dict[tuple[range, str], list[Line]] = defaultdict(list)
    for line in lines:
        if line.values["verdict"] == KEPT and line.values["part"] is None:
            found[groups[line.file], line.values["id"]].append(line)
    return found
