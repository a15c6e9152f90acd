"""The ledger's lines of the named rows, and what other rows share with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.forget.tombstones import (
    DIGESTS,
    IDENTIFYING,
    NAMES,
    Burial,
    is_tombstone,
    tombstone_id,
    tombstone_source,
)
from pipeline.forget.wanted import Wanted
from pipeline.report.tally import TOKENS, read_ledger
from schemas.ledger import KEPT

_COLUMNS = ("id", "source", "part", "verdict", "step", "match_id", "url", *DIGESTS, TOKENS)
#: other rows with something of a forgotten row that are named one by one; all are counted
MAX_COPIES = 100


class Line(NamedTuple):
    """A ledger line of a row to forget, and which of the ledger's files it is in."""

    file: int
    values: dict[str, Any]

    @property
    def row(self) -> tuple[str, str]:
        """What identifies the row."""
        return self.values["source"], self.values["id"]


@dataclass
class Found:
    """What the ledger has under the wanted names. `lines`: every line that matched; `names`: the names that did;
    `buried`: names of rows forgotten before, `graves` those of them that are a tombstone's own; `tokens`: of the kept
    rows of each ledger file."""

    lines: list[Line] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    buried: set[str] = field(default_factory=set)
    graves: set[str] = field(default_factory=set)
    tokens: list[int] = field(default_factory=list)


def find_lines(ledger: Sequence[Path], wanted: Wanted, salt: str) -> Found:
    """Looks the names up in every line that is no tombstone. A name is also known when it is, or would have become,
    the name of a tombstone."""
    found = Found(tokens=[0] * len(ledger))
    graves = {name: name for name in wanted.names} | {tombstone_id(name, salt): name for name in wanted.names}
    graves |= {tombstone_source(name, salt): name for name in wanted.names}
    stones = Wanted(graves)
    number = {str(path): at for at, path in enumerate(ledger)}
    for where, batch in read_ledger(ledger, _COLUMNS):
        kept = pc.equal(batch.column("verdict"), KEPT)
        if TOKENS in batch.schema.names:
            found.tokens[number[where]] += pc.sum(batch.column(TOKENS).filter(kept)).as_py() or 0
        dead = is_tombstone(batch)
        if dead.any():
            gone = batch.filter(pa.array(dead))
            hits = stones.match(gone.num_rows, strings=[gone.column("id"), gone.column("source")]).names
            found.graves |= hits & set(wanted.names)
            found.buried |= found.graves | {graves[name] for name in hits}
        alive = batch.filter(pa.array(~dead))
        has = set(alive.schema.names)
        hit = wanted.match(
            alive.num_rows,
            strings=[alive.column(name) for name in NAMES if name in has],
            digests=[alive.column(name) for name in DIGESTS if name in has],
        )
        found.names |= hit.names
        found.lines += [Line(number[where], line) for line in alive.filter(pa.array(hit.rows)).to_pylist()]
    return found


def rows_and_parts(lines: Sequence[Line], wanted: Wanted) -> tuple[set[tuple[str, str]], set[tuple[str, str, int]]]:
    """The rows to forget, and the lines of removed media parts to forget while their rows live: a part that was
    removed is in no shard, so whoever names its digest has no quarrel with the rest of the row."""
    names = set(wanted.names)
    rows, parts = set(), set()
    for line in lines:
        by_name = not names.isdisjoint(line.values.get(name) for name in NAMES)
        if line.values["part"] is None or by_name:
            rows.add(line.row)
        else:
            parts.add((*line.row, line.values["part"]))
    return rows, {part for part in parts if part[:2] not in rows}


@dataclass
class Survey:
    """What is known once all that goes is. `lines`: all lines that go, also those a name did not match; `files`: ledger
    files to rewrite; `rivals`: kept rows that stay and have the id of one that goes; `copies`: lines that stay and
    share something with one that goes, with what they share; `quoting`: how many lines were matched with one."""

    burial: Burial
    lines: list[Line] = field(default_factory=list)
    files: set[int] = field(default_factory=set)
    rivals: list[Line] = field(default_factory=list)
    copies: list[dict[str, Any]] = field(default_factory=list)
    num_copies: int = 0
    quoting: int = 0


def survey(ledger: Sequence[Path], burial: Burial) -> Survey:
    """Reads the ledger twice: for all that the rows had (into `burial`), and for who else has it."""
    found = Survey(burial)
    number = {str(path): at for at, path in enumerate(ledger)}
    had = burial.had
    had["id"].update(row_id for _, row_id in burial.rows)
    had["source"].update(source for source, _ in burial.rows)
    anchors: set[str] = set()
    for where, batch in read_ledger(ledger, _COLUMNS):
        for line in batch.filter(pa.array(burial.lines(batch))).to_pylist():
            found.lines.append(Line(number[where], line))
            had["media_sha256"].update(line.get("media_sha256") or [])
            if found.lines[-1].row in burial.rows:
                had["url"] |= {line.get("url")} - {None}
                had["text_sha256"] |= {line.get("text_sha256")} - {None}
                anchors |= {line["match_id"]} - {None}
    burial.gone = {name: set(values) for name, values in had.items()}
    matched = Wanted(sorted(anchors))
    names = {name: Wanted(sorted(v if name in NAMES else v.hex() for v in had[name])) for name in IDENTIFYING}
    for where, batch in read_ledger(ledger, _COLUMNS):
        lines, quoting = burial.lines(batch), burial.quoting(batch)
        if lines.any() or quoting.any():
            found.files.add(number[where])
        found.quoting += int(quoting.sum())
        rest = ~lines & ~is_tombstone(batch)
        sharing = {"match_id": matched.match(batch.num_rows, strings=[batch.column("id")]).rows & rest}
        for name in set(IDENTIFYING) & set(batch.schema.names):
            column = [batch.column(name)]
            if name in NAMES:
                sharing[name] = names[name].match(batch.num_rows, strings=column).rows & rest
            else:  # what a line quotes of the row it was matched with is cleared
                sharing[name] = names[name].match(batch.num_rows, digests=column).rows & rest & ~quoting
        for at in np.flatnonzero(np.any(list(sharing.values()), axis=0)).tolist():
            _note(found, Line(number[where], batch.slice(at, 1).to_pylist()[0]), [n for n in sharing if sharing[n][at]])
    return found


def _note(found: Survey, line: Line, shares: list[str]) -> None:
    values = line.values
    for name in shares:
        if name in IDENTIFYING:
            found.burial.gone[name] -= set(values[name] if name == "media_sha256" else [values[name]])
    if "id" in shares and values["verdict"] == KEPT:
        found.rivals.append(line)
    found.num_copies += 1
    if len(found.copies) < MAX_COPIES:
        named = {name: values[name] for name in ("id", "source", "part", "verdict")}
        found.copies.append(named | {"shares": sorted(shares)})
