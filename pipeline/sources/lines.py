"""Splitting a byte stream into lines: whole blocks of lines at a time, and never a line longer than allowed in memory.

Lines end at `\\n`; a `\\r` before it stays with the line. A line belongs to the span of its file in which its first
byte lies, so any cut of a file into spans gives every line exactly once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import BinaryIO, TypeAlias

from pipeline.sources.base import Span
from pipeline.sources.opening import Damage, chunks, compression_of
from schemas.errors import SluiceError

#: At most so many bytes of an overlong line are kept for a person to look at; never more than a line may have, since
#: how much of it had been read when it grew too long depends on where the reads fell.
HEAD_BYTES = 1024


class Overlong:
    """A line longer than allowed: its first bytes and its length (`len()`), which is all that was kept of it."""

    __slots__ = ("head", "size")

    def __init__(self, head: bytes, size: int) -> None:
        self.head = head
        self.size = size

    def __len__(self) -> int:
        return self.size


Line: TypeAlias = bytes | Overlong


def line_blocks(
    pieces: Iterator[bytes], max_bytes: int, offset: int = 0, stop: int | None = None
) -> Iterator[tuple[int, list[Line]]]:
    """Blocks of lines, each with the offset of its first line; lines that start at `stop` or later are left out.

    `offset` is where `pieces` starts. A last line without `\\n` counts. Damage passes through, carrying the
    beginning of the line it cut.
    """
    tail = _Tail(max_bytes)
    try:
        for piece in pieces:
            lines: list[Line] = list(piece.split(b"\n"))
            rest = lines.pop()
            if not lines:
                tail.add(rest)  # type: ignore[arg-type]
                continue
            tail.add(lines[0])  # type: ignore[arg-type]
            lines[0] = tail.take()
            if max(map(len, lines)) > max_bytes:
                lines = [_bounded(line, max_bytes) for line in lines]
            after = offset + sum(map(len, lines)) + len(lines)
            if stop is not None and after >= stop:
                yield offset, _before(lines, offset, stop)
                return
            yield offset, lines
            offset = after
            if rest:
                tail.add(rest)  # type: ignore[arg-type]
    except Damage as damage:
        damage.partial = tail.head()
        raise
    if tail.size:
        yield offset, [tail.take()]


def span_blocks(handle: BinaryIO, span: Span, max_bytes: int) -> Iterator[tuple[int, list[Line]]]:
    """`line_blocks` of a span of an opened file: byte ranges of a plain file, the whole of a compressed one."""
    pieces = chunks(handle, span.file)
    if not span.start:
        return line_blocks(pieces, max_bytes, 0, span.stop)
    if compression_of(span.file.path) is not None:
        raise SluiceError(f"{span.file.path} is compressed and cannot be read from byte {span.start}; plan it again")
    # The byte before the span tells whether a line starts right at its first byte.
    handle.seek(span.start - 1)
    offset = span.start - 1
    for piece in pieces:
        at = piece.find(b"\n")
        if at >= 0:
            offset += at + 1
            if span.stop is not None and offset >= span.stop:
                break
            return line_blocks(itertools.chain([piece[at + 1 :]], pieces), max_bytes, offset, span.stop)
        offset += len(piece)
        if span.stop is not None and offset >= span.stop:
            break  # one line covers the whole span; it is an earlier span's
    return iter(())


def even_spans(span: Span, target_bytes: int) -> list[Span]:
    """A plain file cut into byte ranges of about `target_bytes`; a compressed one whole, since it cannot be sought."""
    size = span.file.size
    num_spans = 1 if compression_of(span.file.path) else max(1, round(size / target_bytes))
    cuts = [size * k // num_spans for k in range(num_spans)]
    return [Span(span.file, start, stop) for start, stop in itertools.zip_longest(cuts, cuts[1:])]


class _Tail:
    """The beginning of a line whose end has not been seen yet."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.pieces: list[bytes] = []
        self.size = 0

    def add(self, piece: bytes) -> None:
        held = self.size <= self.max_bytes
        self.size += len(piece)
        if held:
            self.pieces.append(piece)
            if self.size > self.max_bytes:
                self.pieces = [self.head()]

    def head(self) -> bytes:
        return b"".join(self.pieces)[: min(HEAD_BYTES, self.max_bytes)]

    def take(self) -> Line:
        line = b"".join(self.pieces) if len(self.pieces) != 1 else self.pieces[0]
        taken = Overlong(line, self.size) if self.size > self.max_bytes else line
        self.pieces, self.size = [], 0
        return taken


def _bounded(line: Line, max_bytes: int) -> Line:
    if isinstance(line, Overlong) or len(line) <= max_bytes:
        return line
    return Overlong(line[: min(HEAD_BYTES, max_bytes)], len(line))


def _before(lines: list[Line], offset: int, stop: int) -> list[Line]:
    for at, line in enumerate(lines):
        if offset >= stop:
            return lines[:at]
        offset += len(line) + 1
    return lines
