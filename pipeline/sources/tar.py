"""Tar archives as a sequence of members, read forwards. Nothing is ever extracted, and no name becomes a path.

Formats: POSIX.1-1988 ustar and POSIX.1-2001 pax headers, GNU long names and base-256 sizes (the GNU tar manual,
"Basic Tar Format").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from pipeline.sources.objects import Fault
from pipeline.sources.opening import Damage, read_bytes

BLOCK = 512
#: A name longer than this is not taken for one: names become ids.
MAX_NAME_CHARS = 1024
#: A pax header or long name larger than this is taken for damage, not for a name.
MAX_HEADER_BYTES = 2**20
_SKIP_BYTES = 256 * 2**10

_REGULAR = (b"0", b"\0", b"7")
_PASSED_OVER = (b"5", b"V")  # folders, volume labels
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"x", b"g", b"L", b"K"
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a named pipe",
    b"S": "a sparse file",
    b"M": "the continuation of a file from another volume",
}
_DIGITS = re.compile(r"[0-9]{1,19}")
_OCTAL = re.compile(rb"[0-7]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Member:
    """One archive member. `offset`: where its first header starts; `size` in bytes; `fault`: why not to read it."""

    offset: int
    name: str
    size: int
    fault: Fault | None = None


class Bytes:
    """Reads a stream forwards: what is there of `n` bytes, and whether it was all. `damage` says why the end came."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces = pieces
        self.held = b""
        self.position = 0
        self.damage: Damage | None = None

    def read(self, count: int) -> bytes:
        """At most `count` bytes, fewer only at the end."""
        parts, missing = [], count
        while missing:
            if not self.held and not self._more():
                break
            part, self.held = self.held[:missing], self.held[missing:]
            parts.append(part)
            missing -= len(part)
        self.position += count - missing
        return b"".join(parts)

    def skip(self, count: int) -> bool:
        """Passes over `count` bytes; False when the end came first."""
        while count:
            got = len(self.read(min(count, _SKIP_BYTES)))
            if not got:
                return False
            count -= got
        return True

    def _more(self) -> bool:
        try:
            self.held = next(self.pieces, b"")
        except Damage as damage:
            self.damage = damage
        return bool(self.held)


class SeekableBytes:
    """As Bytes, over an opened file of `size` bytes: what is skipped is not read."""

    damage: Damage | None = None

    def __init__(self, handle: BinaryIO, size: int, path: str, start: int) -> None:
        self.handle = handle
        self.size = size
        self.path = path
        self.position = start
        handle.seek(start)

    def read(self, count: int) -> bytes:
        """At most `count` bytes, fewer only at the end."""
        data = read_bytes(self.handle, count, self.path)
        self.position += len(data)
        return data

    def skip(self, count: int) -> bool:
        """Passes over `count` bytes; False when the end came first."""
        if count > self.size - self.position:
            self.position = self.size
            self.handle.seek(self.size)
            return False
        self.position += count
        self.handle.seek(self.position)
        return True


class TarReader:
    """Members of an archive in order, from wherever `data` stands (the start of a member's headers).

    After each member, `read` may take its bytes; what it leaves is skipped. Folders are passed over, and so are zero
    blocks wherever they are: concatenated archives are read to the end. Raises Damage (`truncated`, `corrupt`, or that
    of the compression) where the archive cannot be followed any further; `in_member` says whether inside a member.
    """

    def __init__(self, data: Bytes | SeekableBytes) -> None:
        self.data = data
        self.offset = data.position  # of the current member's first header
        self.in_member = False
        self._left = 0  # bytes of the current member not read yet, padding included

    def __iter__(self) -> Iterator[Member]:
        extended: dict[str, str] = {}
        ended = False
        while True:
            self._pass(self._left)
            self.in_member = False
            if not extended:
                self.offset = self.data.position
            header = self.data.read(BLOCK)
            if ended and len(header) < BLOCK and not (header.strip(b"\0") or extended or self.data.damage):
                return
            if len(header) < BLOCK:
                self._end("inside a header" if header or extended else "without an end-of-archive mark")
            if not header.strip(b"\0"):
                ended = True
                continue
            ended = False
            size, kind = self._header(header, extended)
            self._left = size + -size % BLOCK
            if kind in (_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK):
                extended |= self._extension(kind, size)
                continue
            name, fault = _name(header, extended)
            if "sparse" in extended:
                kind = b"S"
            if kind not in _REGULAR:
                fault = Fault("unsupported_member", f"{name} is {_KINDS.get(kind, f'of type {kind!r}')}")
            extended = {}
            if kind not in _PASSED_OVER and not (name.endswith("/") and not size):
                self.in_member = True
                yield Member(self.offset, name, size, fault)

    def read(self, count: int) -> bytes:
        """The next `count` bytes of the current member; raises Damage when the archive ends first."""
        data = self.data.read(count)
        self._left -= len(data)
        if len(data) < count:
            self._end("inside a member")
        return data

    def _pass(self, count: int) -> None:
        if count and not self.data.skip(count):
            self._end("inside a member")
        self._left = 0

    def _end(self, place: str) -> NoReturn:
        if self.data.damage is not None:
            raise self.data.damage
        if not self.data.position:
            raise Damage("truncated", "0 bytes, not even a tar header")
        raise Damage("truncated", f"the archive ends {place}, at byte {self.data.position}")

    def _header(self, header: bytes, extended: dict[str, str]) -> tuple[int, bytes]:
        """Size and type of a member, with a pax header's size if it has one."""
        # The checksum counts its own field as spaces (POSIX, ustar interchange format).
        if _number(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * ord(" "):
            raise Damage("corrupt", f"no tar header at byte {self.data.position - BLOCK}", header)
        size, kind = _number(header[124:136]), header[156:157]
        if kind not in (_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK) and "size" in extended:
            size = int(extended["size"]) if _DIGITS.fullmatch(extended["size"]) else -1
        if not 0 <= size < 2**63:
            raise Damage("corrupt", f"the member at byte {self.offset} has no sensible size", header)
        # links and devices have no data, whatever their size says (POSIX)
        return (0 if kind in b"123456" and kind not in _REGULAR else size), kind

    def _extension(self, kind: bytes, size: int) -> dict[str, str]:
        """What a header about the next member says of it: `path`, `size`, `sparse`."""
        if size > MAX_HEADER_BYTES:
            raise Damage("corrupt", f"the extended header at byte {self.offset} has {size} bytes")
        data = self.read(size)
        if kind == _GNU_NAME:
            return {"path": _decode(data.rstrip(b"\0"))}
        if kind != _PAX:
            return {}
        says: dict[str, str] = {}
        while data:
            length, _, _ = data[:20].partition(b" ")
            end = int(length) if _DIGITS.fullmatch(length.decode("ascii", "replace")) else 0
            key, equals, value = data[len(length) + 1 : end - 1].partition(b"=")
            if not equals or data[end - 1 : end] != b"\n":
                raise Damage("corrupt", f"the pax header at byte {self.offset} is malformed", data[:100])
            if key in (b"path", b"size"):
                says[key.decode()] = _decode(value)
            elif key.startswith(b"GNU.sparse."):
                says["sparse"] = "1"
            data = data[end:]
        return says


def _number(field: bytes) -> int:
    """A numeric header field: octal text, or base 256 when its first bit is set (GNU); -1 when it is neither."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big") if field[0] == 0x80 else -1
    text = field.replace(b"\0", b" ").strip()
    return int(text or b"0", 8) if _OCTAL.fullmatch(text) else -1


def _name(header: bytes, extended: dict[str, str]) -> tuple[str, Fault | None]:
    """A member's name without a leading `./`, and what is wrong with it."""
    raw = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and header[345] and "path" not in extended:
        raw = header[345:500].split(b"\0", 1)[0] + b"/" + raw
    name = extended["path"] if "path" in extended else _decode(raw)
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    if "\ufffd" in name:
        return name, Fault("bad_member_name", "the name is not UTF-8")
    if not name or len(name) > MAX_NAME_CHARS or _CONTROL.search(name):
        return name, Fault("bad_member_name", f"the name is empty, too long or has control characters: {name[:80]!r}")
    if name.startswith("/") or ".." in name.split("/"):
        return name, Fault("bad_member_name", f"the name leads out of the archive: {name[:200]!r}")
    return name, None


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
