"""Records of web archives: WARC (ISO 28500:2017) and the ARC format before it (Internet Archive, 1996).

The framing is our own because losing a record in silence is what it must not do: FastWARC 2.0 ends a file at the first
record whose length is wrong, takes one that the file cuts short for a whole one, and passes over the record behind a
chunked response. On sound files the two agree (tests/unit/test_source_warc.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from pipeline.sources.base import InputFile
from pipeline.sources.members import Broken, Piece, pieces
from pipeline.sources.objects import Fault

#: A header longer than this is taken for damage.
MAX_HEADER_BYTES = 256 * 2**10
#: How much of a file may be read again, looking for records inside a block whose length was wrong.
MAX_REREAD_BYTES = 256 * 2**20
#: What is kept of a block nobody asked for, in case its length turns out wrong.
_SPARE_BYTES = 2**20

_BEGINS = (b"WARC/", b"filedesc:")
_VERSION = re.compile(rb"WARC/\d+\.\d+[ \t\r]*\n\Z")
# URL, IP, date, type, (version 2: status, checksum, location, offset, file name,) length
_ARC_LINE = re.compile(rb"([^\s:]*+:\S*+) (\S*+) (\d{12,17}) (\S++)(?: .*)? (\d{1,18})\r?\n\Z")
_LENGTH = re.compile(r"\d{1,18}")
_BLANK = b"\r\n"
#: What a WARC record ends with; whatever comes behind it is another matter.
_LINE_ENDS = 2


@dataclass(slots=True)
class Record:
    """One record. `offset` is its place in the file; `headers` have lower-case names, and the first of each counts.

    `block` is what follows the header, at most as much as was asked for of its `size`; `fault` says what is wrong.
    """

    offset: str
    kind: str = ""  # WARC-Type; of ARC records `response`, of an ARC file's own first record `warcinfo`
    headers: dict[str, str] = field(default_factory=dict)
    block: bytes = b""
    size: int = 0
    fault: Fault | None = None


def records(handle: BinaryIO, file: InputFile, kinds: frozenset[str], max_bytes: int) -> Iterator[Record]:
    """Every record of an opened archive, with the blocks of those whose type is in `kinds`, up to `max_bytes` of each.

    An offset is a byte of the file; in a compressed one it is that of the member, with `+N` for a record that starts N
    bytes inside it. What cannot be read is a record with a fault (`corrupt`, `truncated`, `corrupt_compression`), and
    reading goes on at the next thing that looks like a record.
    """
    stream = _Stream(pieces(handle, file, _BEGINS))
    num_reread = num_records = 0
    while True:
        place = record = None
        try:
            if not stream.pass_blank_lines():
                break
            place = stream.place()
            record = _header(stream, place)
            if record.fault is None:
                wanted = max_bytes if record.kind in kinds else 0
                taken = stream.take(record.size, max(wanted, _SPARE_BYTES))
        except _BrokenError as error:
            broken = error.broken
            num_records += 1
            record = record or Record(place or broken.place())
            record.fault = Fault(broken.reason, broken.detail)
            yield record
            continue
        num_records += 1
        if record.fault is None:
            block = b"".join(piece.data for piece in taken.pieces)
            record.block = block[:wanted]
            record.fault = _fault_behind(stream, record.size, taken.num_bytes)
            if record.fault is not None:
                if len(block) == taken.num_bytes and num_reread < MAX_REREAD_BYTES:
                    num_reread += taken.num_bytes
                    stream.put_back(taken.pieces)
                stream.pass_to_record()
        yield record
    if not num_records:
        yield Record("0", fault=Fault("truncated", "an archive without a single record"))


def _header(stream: _Stream, place: str) -> Record:
    """The record whose header comes next, or one with a fault, after which a record comes next or the end."""
    first = stream.line()
    if _VERSION.match(first):
        return _warc_header(stream, place)
    if (found := _ARC_LINE.match(first)) is None:
        passed = len(first) + stream.pass_to_record()
        return Record(place, block=first[:1024], fault=Fault("corrupt", f"{passed} bytes that are no record"))
    stream.is_arc = True
    url, ip, date, content_type, length = (part.decode("utf-8", "replace") for part in found.groups())
    headers = {"warc-target-uri": url, "warc-ip-address": ip, "warc-date": _iso(date), "content-type": content_type}
    kind = "warcinfo" if url.startswith("filedesc:") else "response"
    return Record(place, kind, headers, size=int(length))


def _warc_header(stream: _Stream, place: str) -> Record:
    headers: dict[str, str] = {}
    name, size = "", 0
    while True:
        line = stream.line()
        size += len(line)
        if not line.endswith(b"\n"):
            complaint = "a header that does not end"
            stream.pass_to_record()
            reason = "corrupt" if line and not stream.is_over() else "truncated"
            return Record(place, fault=Fault(reason, complaint))
        if not line.strip():
            break
        if size > MAX_HEADER_BYTES:
            stream.pass_to_record()
            return Record(place, fault=Fault("corrupt", f"a header of more than {MAX_HEADER_BYTES} bytes"))
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text[0] in " \t" and name:
            headers[name] = f"{headers[name]} {text.strip()}"
            continue
        name, _, value = text.partition(":")
        name = name.strip().lower()
        headers.setdefault(name, value.strip())
    length = headers.get("content-length", "")
    kind = headers.get("warc-type", "").lower()
    if not kind or not _LENGTH.fullmatch(length):
        stream.pass_to_record()
        wrong = f"Content-Length {length[:40]!r}" if kind else "no WARC-Type"
        return Record(place, kind, headers, fault=Fault("corrupt", f"a header with {wrong}"))
    return Record(place, kind, headers, size=int(length))


def _fault_behind(stream: _Stream, size: int, num_read: int) -> Fault | None:
    """What is wrong with a record, by what comes behind it."""
    if num_read < size:
        return Fault("truncated", f"{num_read} of {size} bytes, then its file or member ends")
    broken = stream.broken_behind()
    if broken is not None:
        return Fault(broken.reason, broken.detail)
    if stream.num_blank < _LINE_ENDS and not stream.at_record():
        return Fault("corrupt", f"it does not end {size} bytes behind its header, as Content-Length says")
    return None


def _iso(date: str) -> str:
    """An ARC date (YYYYMMDDhhmmss) as WARC writes it."""
    return f"{date[:4]}-{date[4:6]}-{date[6:8]}T{date[8:10]}:{date[10:12]}:{date[12:14] or '00'}Z"


class _BrokenError(Exception):
    def __init__(self, broken: Broken) -> None:
        super().__init__(broken.detail)
        self.broken = broken


@dataclass(slots=True)
class _Taken:
    """Bytes taken from the stream, as far as they were kept, and how many there were."""

    pieces: list[Piece]
    num_bytes: int


class _Stream:
    """Decompressed bytes, read forwards, that know where in the file they lie. Raises _BrokenError in between."""

    def __init__(self, source: Iterator[Piece | Broken]) -> None:
        self.source = source
        self.waiting: list[Piece | Broken] = []  # to be read before the source, last first
        self.piece = Piece(-1, 0, b"")
        self.at = 0
        self.num_blank = 0  # line ends that the last pass_blank_lines() passed
        self.is_arc = False

    def place(self) -> str:
        """Where the next byte lies."""
        return self.piece.place(self.at)

    def line(self) -> bytes:
        """The next line with its end; without one when the file ends, a record starts, or it would be too long."""
        parts: list[Piece] = []
        size = 0
        while size <= MAX_HEADER_BYTES and self._fill() and not (parts and self._starts_member()):
            end = self.piece.data.find(b"\n", self.at) + 1
            parts.append(self._cut(end or len(self.piece.data)))
            size += len(parts[-1].data)
            if end:
                break
        return b"".join(part.data for part in parts)

    def take(self, size: int, keep: int) -> _Taken:
        """Takes `size` bytes, or as many as there are before the end or a member that starts with a record."""
        taken = _Taken([], 0)
        while taken.num_bytes < size and self._fill() and not (taken.num_bytes and self._starts_member()):
            part = self._cut(min(len(self.piece.data), self.at + size - taken.num_bytes))
            if taken.num_bytes < keep:
                taken.pieces.append(part)
            taken.num_bytes += len(part.data)
        return taken

    def put_back(self, parts: list[Piece]) -> None:
        """Makes these the next bytes again."""
        if self.at < len(self.piece.data):
            self.waiting.append(self._cut(len(self.piece.data)))
        self.waiting += reversed(parts)

    def pass_blank_lines(self) -> bool:
        """Passes over line ends; False when nothing comes behind them."""
        self.num_blank = 0
        while self._fill():
            begin = self.at
            self.at = len(self.piece.data) - len(self.piece.data[begin:].lstrip(_BLANK))
            self.num_blank += self.piece.data.count(b"\n", begin, self.at)
            if self.at < len(self.piece.data):
                return True
        return False

    def is_over(self) -> bool:
        """Whether nothing but blank lines or damage comes."""
        try:
            return not self.pass_blank_lines()
        except _BrokenError as error:
            self.waiting.append(error.broken)
            return True

    def broken_behind(self) -> Broken | None:
        """What breaks the member that the last bytes were from, if nothing but line ends comes before."""
        member = self.piece.member
        try:
            self.pass_blank_lines()
        except _BrokenError as error:
            if error.broken.member == member:
                return error.broken
            self.waiting.append(error.broken)
        return None

    def at_record(self) -> bool:
        """Whether a record comes next, or the end; stands behind blank lines."""
        kept: list[Piece] = []
        line = b""
        try:
            if not self.pass_blank_lines():
                return True
            if self.piece.data.startswith(b"WARC/", self.at):
                return True
            while not line.endswith(b"\n") and len(line) < MAX_HEADER_BYTES and self._fill():
                if kept and self._starts_member():
                    break
                end = self.piece.data.find(b"\n", self.at) + 1
                kept.append(self._cut(end or len(self.piece.data)))
                line += kept[-1].data
        except _BrokenError as error:
            self.waiting.append(error.broken)
        self.put_back(kept)
        return line.startswith(b"WARC/") or (self.is_arc and _ARC_LINE.match(line) is not None)

    def pass_to_record(self) -> int:
        """Passes over what is no record: how many bytes that were. Damage ends it, and comes up next."""
        passed = 0
        try:
            while self.is_arc and not self.at_record():
                passed += len(self.line())
            while not self.is_arc and self._fill():
                if self.piece.data.startswith(b"WARC/", self.at):
                    break
                found = self.piece.data.find(b"\nWARC/", self.at)
                if found >= 0:
                    passed += found + 1 - self.at
                    self.at = found + 1
                    break
                # the mark may lie across two pieces
                tail = self._cut(len(self.piece.data))
                passed += len(tail.data)
                if len(tail.data) > 5 and self._fill() and self.piece.member == tail.member:
                    passed -= 5
                    joined = Piece(tail.member, tail.inner + len(tail.data) - 5, tail.data[-5:] + self.piece.data)
                    self.piece, self.at = joined, 0
        except _BrokenError as error:
            self.waiting.append(error.broken)
        return passed

    def _starts_member(self) -> bool:
        piece = self.piece
        return piece.member > 0 and not piece.inner and not self.at and piece.data.startswith(_BEGINS)

    def _cut(self, end: int) -> Piece:
        """The piece's bytes up to `end`, which are thereby read."""
        part = Piece(self.piece.member, self.piece.inner + self.at, self.piece.data[self.at : end])
        self.at = end
        return part

    def _fill(self) -> bool:
        """Whether there is a next byte, which is then in `piece`."""
        while self.at >= len(self.piece.data):
            found = self.waiting.pop() if self.waiting else next(self.source, None)
            if found is None:
                return False
            if isinstance(found, Broken):
                raise _BrokenError(found)
            self.piece, self.at = found, 0
        return True
