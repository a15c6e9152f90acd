"""What every transform keeps, as functions: each takes a transform and a batch, and raises ContractBroken.

`check_all` runs them in turn. The global steps (`Dedup`), which decide nothing themselves, have `check_dedup`; those on
spans of text (`SpanDedup`) have both, because they are local steps too.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import pickle
import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import SchemaError
from schemas.reject import rejected_schema
from schemas.sample import SAMPLE_COLUMNS, SENTINEL, check_sample, is_part_field
from tests.conformance.batches import contract_batches
from transforms.base import Explode, Outcome, Transform
from transforms.dedup.base import Dedup, Keys
from transforms.dedup.spans import SpanDedup, SpanKeys

#: Columns that say who a row is; no transform changes them in a row it keeps.
_IDENTITY = ("id", "source", "url", "meta")


class ContractBroken(AssertionError):
    """A transform did something no transform may; the message says what, and to which batch."""


def first_complaint(check: Callable[[Any, pa.RecordBatch], Any], transform: Any) -> str | None:
    """What a check has against a transform, over every batch of the contract; None when it passes."""
    transform.setup()
    for batch in contract_batches().values():
        try:
            check(transform, batch)
        except ContractBroken as error:
            return str(error)
    return None


def check_all(transform: Transform, batch: pa.RecordBatch) -> Outcome:
    """Every check on one batch; returns what the transform made of it."""
    outcome = check_input_untouched(transform, batch)
    for check in (check_schemas, check_reasons, check_rows_once, check_order, check_kept_samples):
        check(transform, batch, outcome)
    check_deterministic(transform, batch, outcome)
    check_pickles(transform, batch, outcome)
    check_split_invariant(transform, batch, outcome)
    return outcome


def check_input_untouched(transform: Transform, batch: pa.RecordBatch) -> Outcome:
    """The batch given in is the same afterwards, byte for byte."""
    before = _ipc(batch)
    outcome = transform.apply(batch)
    _hold(isinstance(outcome, Outcome), f"apply returned a {type(outcome).__name__}, not an Outcome")
    _hold(_ipc(batch) == before, "apply changed the batch it was given")
    return outcome


def check_schemas(transform: Transform, batch: pa.RecordBatch, outcome: Outcome) -> None:
    """Declared is produced: output_schema for kept rows, and the same with the reject fields for rejected ones."""
    declared = transform.output_schema(batch.schema)
    _same_schema("kept rows", outcome.kept.schema, declared)
    _same_schema("rejected rows", outcome.rejected.schema, rejected_schema(outcome.kept.schema))
    for part in (outcome.kept, outcome.rejected):
        try:
            part.validate(full=True)
        except pa.ArrowInvalid as error:
            raise ContractBroken(f"an invalid Arrow batch: {error}") from error


def check_reasons(transform: Transform, batch: pa.RecordBatch, outcome: Outcome) -> None:
    """Every rejection has a reason, and the class declares it."""
    reasons = outcome.rejected.column("reject.reason")
    _hold(reasons.null_count == 0, "a rejected row has no reason")
    undeclared = set(reasons.to_pylist()) - transform.reasons
    _hold(not undeclared, f"reasons {sorted(undeclared)} are not declared; declared: {sorted(transform.reasons)}")


def check_rows_once(transform: Transform, batch: pa.RecordBatch, outcome: Outcome) -> None:
    """Every row comes out on exactly one side; a removed part belongs to a row that is kept, and leaves it once."""
    given = _sources(batch)
    whole = pc.is_null(outcome.rejected.column("reject.part"))
    kept, gone = _sources(outcome.kept), _sources(outcome.rejected.filter(whole))
    if isinstance(transform, Explode):
        kept = list(dict.fromkeys(kept))
    counts = Counter(kept + gone)
    _hold(not set(given) - set(counts), f"rows {sorted(set(given) - set(counts))} were lost")
    _hold(not set(counts) - set(given), f"rows {sorted(set(counts) - set(given))} came from nowhere")
    twice = sorted(source for source, times in counts.items() if times > 1)
    _hold(not twice, f"rows {twice} came out more than once")
    parts = outcome.rejected.filter(pc.is_valid(outcome.rejected.column("reject.part")))
    _hold(not set(_sources(parts)) - set(kept), "a part was removed from a row that was not kept")
    if not isinstance(transform, Explode):
        _parts_once(batch, outcome.kept, parts)


def check_order(transform: Transform, batch: pa.RecordBatch, outcome: Outcome) -> None:
    """Both sides are in the order of the input."""
    position = {source: at for at, source in enumerate(_sources(batch))}
    whole = outcome.rejected.filter(pc.is_null(outcome.rejected.column("reject.part")))
    for side, rows in (("kept", outcome.kept), ("rejected", outcome.rejected), ("rejected", whole)):
        positions = [position[source] for source in _sources(rows)]
        _hold(positions == sorted(positions), f"the {side} rows are out of order")


def check_kept_samples(transform: Transform, batch: pa.RecordBatch, outcome: Outcome) -> None:
    """Kept rows are SAMPLE rows still: sentinels fit parts, part columns fit media, identity and content are theirs."""
    kept = outcome.kept
    try:
        check_sample(kept, type(transform).__name__)
    except SchemaError as error:
        raise ContractBroken(str(error)) from error
    lengths = pc.list_value_length(kept.column("media"))
    for at, field in enumerate(kept.schema):
        if is_part_field(field):
            aligned = pc.list_value_length(kept.column(at)).equals(lengths)
            _hold(aligned, f"the part column {field.name} is not aligned with media")
    if isinstance(transform, Explode):
        return
    by_source = {row["source"]: row for row in batch.select(sorted(SAMPLE_COLUMNS)).to_pylist()}
    for row in kept.select(sorted(SAMPLE_COLUMNS)).to_pylist():
        before = by_source[row["source"]]
        changed = [name for name in _IDENTITY if row[name] != before[name]]
        if not transform.edits_text and _words(row) != _words(before):
            changed.append("text")
        parts = {part["index"]: part for part in before["media"]}
        if any(part != parts.get(part["index"]) for part in row["media"]):
            changed.append("media")
        _hold(not changed, f"{' and '.join(changed)} of a kept row changed")


def check_deterministic(transform: Transform, batch: pa.RecordBatch, outcome: Outcome) -> None:
    """The same instance gives the same again."""
    _same_outcome("a second run", outcome, transform.apply(batch))


def check_pickles(transform: Transform, batch: pa.RecordBatch, outcome: Outcome) -> None:
    """A fresh instance, pickled before setup as Beam ships it, gives the same."""
    fresh = type(transform)(transform.params)
    try:
        shipped = pickle.loads(pickle.dumps(fresh))  # noqa: S301 - our own bytes
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ContractBroken(f"it does not pickle: {error}") from error
    shipped.setup()
    _same_outcome("the pickled transform", outcome, shipped.apply(batch))


def check_split_invariant(transform: Transform, batch: pa.RecordBatch, outcome: Outcome) -> None:
    """Batch borders decide nothing: the pieces' outcomes, put together, are the whole's. Runners choose the borders."""
    for borders in _splits(batch.num_rows):
        pieces = [transform.apply(batch.slice(start, end - start)) for start, end in itertools.pairwise(borders)]
        together = Outcome(_join([piece.kept for piece in pieces]), _join([piece.rejected for piece in pieces]))
        _same_outcome(f"the batch split at {borders[1:-1]}", outcome, together)


def check_dedup(step: Dedup | SpanDedup, batch: pa.RecordBatch) -> Keys | SpanKeys:
    """The smaller contract of a global step: its keys exist, are deterministic and split-invariant, and it pickles."""
    before = _ipc(batch)
    keys = _signed(step, batch)
    _hold(_ipc(batch) == before, "keys changed the batch it was given")
    lengths = {field.name: len(getattr(keys, field.name)) for field in dataclasses.fields(keys)}
    _hold(len(set(lengths.values())) == 1, f"the key arrays differ in length: {lengths}")
    _hold(keys.key.shape == (len(keys.row), 2), f"key is {keys.key.shape}, not [n, 2]")
    (_spans_are_text if isinstance(keys, SpanKeys) else _keys_name_what_is_there)(batch, keys)
    if isinstance(step, Dedup) and step.proof:
        nodes = set(zip(keys.row.tolist(), keys.part.tolist(), strict=True))
        _hold(len(nodes) == len(keys.row), "two keys of one row or part, where equal keys are proof")
    _same_keys("a second run", keys, _signed(step, batch))
    shipped = pickle.loads(pickle.dumps(type(step)(step.params)))  # noqa: S301 - our own bytes
    shipped.setup()
    _same_keys("the pickled step", keys, _signed(shipped, batch))
    for borders in _splits(batch.num_rows):
        pieces = []
        for start, end in itertools.pairwise(borders):
            piece = _signed(step, batch.slice(start, end - start))
            pieces.append(dataclasses.replace(piece, row=piece.row + np.uint32(start)))
        _same_keys(f"the batch split at {borders[1:-1]}", keys, _join_keys(pieces))
    if isinstance(step, SpanDedup) and not step.proof:
        _check_proven(step, batch, keys.key)
    return keys


def _check_proven(step: SpanDedup, batch: pa.RecordBatch, shared: np.ndarray) -> None:
    """The second round's keys are of text, and every row's are its own."""
    keys = step.proven(batch, shared)
    _spans_are_text(batch, keys)
    alone = [step.proven(batch.slice(row, 1), shared) for row in range(batch.num_rows)]
    alone = [dataclasses.replace(piece, row=piece.row + np.uint32(row)) for row, piece in enumerate(alone)]
    if alone:
        _same_keys("the batch split into rows", keys, _join_keys(alone))


def _signed(step: Dedup | SpanDedup, batch: pa.RecordBatch) -> Any:
    return step.span_keys(batch) if isinstance(step, SpanDedup) else step.keys(batch)


def _hold(claim: bool, otherwise: str) -> None:
    if not claim:
        raise ContractBroken(otherwise)


def _ipc(batch: pa.RecordBatch) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _sources(batch: pa.RecordBatch) -> list[str]:
    # `source` is unique by SAMPLE's contract; Explode's children inherit their parent's, and ids may repeat.
    return batch.column("source").to_pylist()


def _words(row: dict[str, Any]) -> str:
    # A sentinel leaves with its part; every other character is the text's own.
    return row["text"].replace(SENTINEL, "")


def _keys_name_what_is_there(batch: pa.RecordBatch, keys: Keys) -> None:
    there = {(row, -1) for row in range(batch.num_rows)}
    for row, media in enumerate(batch.column("media").to_pylist()):
        there |= {(row, part["index"]) for part in media}
    named = set(zip(keys.row.tolist(), keys.part.tolist(), strict=True))
    _hold(named <= there, f"keys of rows or parts that are not there: {sorted(named - there)}")


def _spans_are_text(batch: pa.RecordBatch, keys: SpanKeys) -> None:
    places = list(zip(keys.row.tolist(), keys.start.tolist(), keys.stop.tolist(), strict=True))
    _hold(places == sorted(places), "spans are out of order")
    texts = [text.encode() for text in batch.column("text").to_pylist()]
    for row, start, stop in places:
        _hold(row < len(texts) and start < stop <= len(texts[row]), f"a span that is not there: {(row, start, stop)}")
        try:
            held = texts[row][start:stop].decode()
        except UnicodeDecodeError as error:
            raise ContractBroken(f"a span that cuts a character: {(row, start, stop)}") from error
        _hold(SENTINEL not in held, f"a span that holds a media part: {(row, start, stop)}")


def _parts_once(batch: pa.RecordBatch, kept: pa.RecordBatch, removed: pa.RecordBatch) -> None:
    surviving = set(_sources(kept))
    given = Counter(_part_names(batch, surviving))
    out = Counter(_part_names(kept, surviving))
    out.update(zip(_sources(removed), removed.column("reject.part").to_pylist(), strict=True))
    _hold(given == out, f"media parts were lost or doubled: {sorted((given - out) + (out - given))}")


def _part_names(batch: pa.RecordBatch, sources: set[str]) -> Iterable[tuple[str, int]]:
    for source, media in zip(_sources(batch), batch.column("media").to_pylist(), strict=True):
        if source in sources:
            yield from ((source, part["index"]) for part in media)


def _same_schema(what: str, got: pa.Schema, declared: pa.Schema) -> None:
    if got.equals(declared, check_metadata=True):
        return
    ours, theirs = ([f"{field} {field.metadata or ''}".strip() for field in schema] for schema in (got, declared))
    only = [f"got {name}" for name in ours if name not in theirs] + [f"declared {n}" for n in theirs if n not in ours]
    difference = "; ".join(only) or "the order of the columns, or the schema's metadata"
    raise ContractBroken(f"the schema of {what} is not the declared one: {difference}")


def _same_outcome(what: str, one: Outcome, other: Outcome) -> None:
    for side, a, b in (("kept", one.kept, other.kept), ("rejected", one.rejected, other.rejected)):
        _hold(_equal(a, b), f"{what} gives other {side} rows")


def _equal(a: pa.RecordBatch, b: pa.RecordBatch) -> bool:
    if not a.schema.equals(b.schema) or a.num_rows != b.num_rows:
        return False
    # repr makes NaN equal to itself, which Arrow's equality does not
    return a.equals(b) or repr(a.to_pylist()) == repr(b.to_pylist())


def _splits(rows: int) -> list[list[int]]:
    """Borders to cut a batch of `rows` at: all single rows, and three random sets of cuts."""
    if rows < 2:
        return []
    rng = random.Random(rows)
    cuts = [sorted(rng.sample(range(1, rows), rng.randint(1, min(3, rows - 1)))) for _ in range(3)]
    return [list(range(rows + 1)), *([0, *cut, rows] for cut in cuts)]


def _join(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    table = pa.Table.from_batches(batches).combine_chunks()
    return table.to_batches()[0] if table.num_rows else batches[0].slice(0, 0)


def _join_keys(pieces: list[Any]) -> Any:
    names = [field.name for field in dataclasses.fields(pieces[0])]
    return type(pieces[0])(**{name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in names})


def _same_keys(what: str, one: Keys | SpanKeys, other: Keys | SpanKeys) -> None:
    names: list[str] = [field.name for field in dataclasses.fields(one)]
    differing = [name for name in names if not _same_array(getattr(one, name), getattr(other, name))]
    _hold(not differing, f"{what} gives other {' and '.join(differing)}")


def _same_array(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b)
