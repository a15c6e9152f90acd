"""The manifest's counts, recounted from the written ledger and shards; counters and caches are not asked.

The recount is also a proof, and raises SchemaError when it fails:

- every input row has one verdict: no line appears twice, each is kept or rejected for a reason, in = kept + rejected;
- the shards hold exactly the ledger's kept rows: token sums are equal, and so are the order-free fingerprints
  sum(hash(id) * tokens) mod 2^64 of both sides, so one row's tokens cannot stand in for another's.

Memory is bounded whatever the size of the dataset: ledger columns are streamed, shards are memory-mapped and only
their lengths and source ids are touched, and the lines' identities are checked by pipeline.report.once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.report.once import Once, line_hash
from pipeline.report.tally import (
    FIXED,
    LANGUAGE,
    TOKENS,
    Cell,
    Tally,
    is_kept,
    is_rejected,
    is_removed_part,
    is_row,
    read_ledger,
)
from schemas.errors import SchemaError
from schemas.ledger import KEPT
from schemas.manifest import Counts
from schemas.shard import open_shard

_MASK = (1 << 64) - 1
_NAMED = 3


@dataclass(frozen=True)
class ShardSums:
    """Sums over token shards. `documents` counts packed pieces: a document cut in two counts twice. `fingerprint` is
    sum(hash(source_id) * tokens) mod 2^64 over them. `by_shard` holds (rows, tokens) a file."""

    documents: int = 0
    sequences: int = 0
    tokens: int = 0
    slots: int = 0
    fingerprint: int = 0
    by_shard: tuple[tuple[int, int], ...] = ()

    @property
    def padding_ratio(self) -> float:
        """Share of the sequences' slots that hold no token; 0 when there are none."""
        return (self.slots - self.tokens) / self.slots if self.slots else 0.0


class LedgerCheck:
    """Feeds on every ledger batch; at the end says whether the ledger is sound and agrees with the shards."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._once = Once()
        self._prints = {"id": 0, "source": 0}

    def add(self, batch: pa.RecordBatch, where: str) -> None:
        """Counts a batch of ledger lines read from the file `where`."""
        self.tally.add(batch, where)
        self._once.add(_line_hashes(batch))
        at = batch.schema.get_field_index(TOKENS)
        if at < 0:
            return
        counted = batch.filter(pc.equal(batch.column("verdict"), KEPT))
        tokens = pc.fill_null(counted.column(at), 0).to_numpy(zero_copy_only=False).astype(np.uint64)
        ids, sources = counted.column("id"), counted.column("source")
        by_id = _fingerprint(ids, tokens)
        by_source = by_id if ids.equals(sources) else _fingerprint(sources, tokens)
        self._prints["id"] = (self._prints["id"] + by_id) & _MASK
        self._prints["source"] = (self._prints["source"] + by_source) & _MASK

    def finish(self, ledger: Sequence[str | Path], shards: ShardSums) -> Counts:
        """The counts; raises SchemaError naming what does not add up."""
        with self._once as once:
            repeated = once.repeated()
        if repeated:
            _refuse_repeats(ledger, repeated)
        counts = _counts(self.tally, shards)
        kept = self.tally.total(is_kept)
        if kept.tokens != shards.tokens:
            raise SchemaError(
                f"the shards hold {shards.tokens:,} tokens, but the ledger's kept rows have {kept.tokens:,} "
                f"({TOKENS}): the files of this dataset do not belong together or are incomplete. Run the recipe again"
            )
        if shards.fingerprint not in self._prints.values():
            raise SchemaError(
                f"shards and ledger both count {shards.tokens:,} tokens, but not the same tokens a row: the shards' "
                "source_ids do not match the ledger's kept rows. Run the recipe again"
            )
        return counts


def recount(ledger: Sequence[str | Path], shards: Sequence[str | Path]) -> Counts:
    """Recounts a dataset from its ledger files (Parquet) and token shards (Arrow IPC).

    Raises SchemaError when a file is damaged, a line appears twice or has no reason, or shards and ledger disagree.
    """
    check = LedgerCheck()
    for where, batch in read_ledger(ledger, (*FIXED, LANGUAGE, TOKENS)):
        check.add(batch, where)
    return check.finish(ledger, sum_shards(shards))


def sum_shards(paths: Sequence[str | Path]) -> ShardSums:
    """Sums over token shards; raises SchemaError on a shard that is damaged or contradicts itself."""
    documents = sequences = tokens = slots = fingerprint = 0
    by_shard = []
    for path in paths:
        table = open_shard(path)
        length = table.schema.field("input_ids").type.list_size
        in_shard = 0
        for batch in table.select(["document_lengths", "source_ids"]).to_batches():
            lengths, ids = batch.column("document_lengths"), batch.column("source_ids")
            pieces = lengths.flatten().to_numpy(zero_copy_only=False)
            if not pc.list_value_length(lengths).equals(pc.list_value_length(ids)):
                raise SchemaError(f"{path}: a sequence does not have one source id a document")
            rows = pc.list_parent_indices(lengths).to_numpy(zero_copy_only=False)
            used = np.bincount(rows, weights=pieces, minlength=batch.num_rows)
            if batch.num_rows and used.max() > length:
                raise SchemaError(f"{path}: a sequence of {length} tokens says its documents hold {used.max():.0f}")
            fingerprint = (fingerprint + _fingerprint(ids.flatten(), pieces.astype(np.uint64))) & _MASK
            documents += len(pieces)
            in_shard += int(pieces.sum())
        sequences += table.num_rows
        slots += table.num_rows * length
        tokens += in_shard
        by_shard.append((table.num_rows, in_shard))
    return ShardSums(documents, sequences, tokens, slots, fingerprint, tuple(by_shard))


def _counts(tally: Tally, shards: ShardSums) -> Counts:
    def table(key: Callable[[Cell], str]) -> dict[str, dict[str, int]]:
        return {k: {"rows": sums.rows, "tokens": sums.tokens} for k, sums in tally.by(key, is_kept).items()}

    def reasons(chosen: Callable[[Cell], bool]) -> dict[str, dict[str, int]]:
        nested: dict[str, dict[str, int]] = {}
        for (step, reason), sums in tally.by(lambda cell: (cell.step, cell.reason), chosen).items():
            nested.setdefault(step, {})[reason] = sums.rows
        return nested

    return Counts(
        rows_in=tally.total(is_row).rows,
        rows_kept=tally.total(is_kept).rows,
        rows_rejected=tally.total(is_rejected).rows,
        parts_rejected_total=tally.total(is_removed_part).rows,
        documents=shards.documents,
        tokens=shards.tokens,
        sequences=shards.sequences,
        padding_ratio=shards.padding_ratio,
        rejected=reasons(is_rejected),
        parts_rejected=reasons(is_removed_part),
        by_language=table(lambda cell: cell.language),
        by_modality=table(lambda cell: cell.modality),
        by_source=table(lambda cell: cell.dataset),
    )


def _line_hashes(batch: pa.RecordBatch) -> list[int]:
    # The id is in it because a step that turns one row into several leaves them their parent's source.
    columns = (batch.column(name).to_pylist() for name in ("source", "id", "part"))
    return [line_hash(*identity) for identity in zip(*columns, strict=True)]


def _fingerprint(ids: pa.Array, tokens: np.ndarray) -> int:
    hashes = np.fromiter(map(line_hash, ids.to_pylist()), np.uint64, len(ids))
    return int(np.sum(hashes * tokens, dtype=np.uint64))


def _refuse_repeats(ledger: Sequence[str | Path], hashes: set[int]) -> None:
    """Raises SchemaError naming lines that truly appear twice; unequal lines with equal hashes are no fault."""
    seen: dict[tuple, str] = {}
    twice = []
    for where, batch in read_ledger(ledger, ("source", "id", "part")):
        for row, value in enumerate(_line_hashes(batch)):
            if value not in hashes:
                continue
            line = tuple(batch.column(name)[row].as_py() for name in ("source", "id", "part"))
            if line in seen:
                source, _, part = line
                what = f"row {source!r}" if part is None else f"part {part} of row {source!r}"
                place = where if seen[line] == where else f"{seen[line]} and {where}"
                twice.append(f"{what} (in {place})")
            seen[line] = where
    if twice:
        more = f" and {len(twice) - _NAMED} more" if len(twice) > _NAMED else ""
        raise SchemaError(
            f"the ledger counts {'; '.join(twice[:_NAMED])}{more} twice, but a row must have exactly one verdict. "
            "Two inputs may share a name and file label, or ledger files of two runs lie in one folder"
        )
