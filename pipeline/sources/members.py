"""The members of a compressed archive, decompressed, and going on behind one that is damaged.

Web archives compress every record by itself (ISO 28500:2017, annex D), so the offset of a member names a record, and
damage to one member costs that record and no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import zstandard
from isal import igzip_lib

from pipeline.sources.base import InputFile
from pipeline.sources.opening import GZIP_OUT_BYTES, READ_BYTES, ZSTD_IN_BYTES, read_bytes

_GZIP = b"\x1f\x8b"
#: deflate, reserved flags unset (RFC 1952, 2.3.1)
_GZIP_MEMBER = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]", re.DOTALL)
_ZSTD = b"\x28\xb5\x2f\xfd"
#: A zstd skippable frame that holds the dictionary of a .warc.zst (IIPC, "Zstandard compression for WARC files" 1.0).
_ZSTD_DICTIONARY = b"\x5d\x2a\x4d\x18"
_MAX_DICTIONARY_BYTES = 16 * 2**20
#: What of a member is looked at to see whether a record begins there.
_PROBE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Piece:
    """Decompressed bytes. `member` is the file offset of their member (-1 in a plain file), `inner` theirs within."""

    member: int
    inner: int
    data: bytes

    def place(self, at: int = 0) -> str:
        """The place in the file of the byte at `at`: OFFSET, or OFFSET+N for one N bytes inside a member."""
        inner = self.inner + at
        if self.member < 0:
            return str(inner)
        return f"{self.member}+{inner}" if inner else str(self.member)


@dataclass(frozen=True, slots=True)
class Broken:
    """Where a member stops to make sense, and why."""

    member: int
    inner: int
    reason: str
    detail: str

    def place(self) -> str:
        """As of Piece."""
        return Piece(self.member, self.inner, b"").place()


def pieces(handle: BinaryIO, file: InputFile, begins: tuple[bytes, ...]) -> Iterator[Piece | Broken]:
    """The rest of an opened file in bounded pieces. Compression goes by the first bytes, not by the name.

    A damaged gzip member yields a Broken, after what could be read of it, and reading goes on at the next member
    that starts with one of `begins`. Damage to zstd is the end: frames cannot be told from data.
    """
    head = read_bytes(handle, 4, file.path)
    handle.seek(0)
    if head.startswith(_GZIP):
        yield from _gunzip(handle, file, begins)
    elif head in (_ZSTD, _ZSTD_DICTIONARY):
        yield from _unzstd(handle, file)
    else:
        at = 0
        while data := read_bytes(handle, READ_BYTES, file.path):
            yield Piece(-1, at, data)
            at += len(data)


def _gunzip(handle: BinaryIO, file: InputFile, begins: tuple[bytes, ...]) -> Iterator[Piece | Broken]:
    start, data = 0, read_bytes(handle, READ_BYTES, file.path)  # `data` lies at `start`
    while data:
        padding = len(data) - len(data.lstrip(b"\0"))
        start, data = start + padding, data[padding:]
        if not data:
            start, data = _next(handle, file, start, data)
            continue
        member, inner = start, 0
        decoder: Any = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        fed = data
        try:
            while not decoder.eof:
                if decoder.needs_input and not fed:
                    start, data = _next(handle, file, start, data)
                    if not data:
                        yield Broken(member, inner, "truncated", "the gzip stream ends inside a member")
                        return
                    fed = data
                out = decoder.decompress(fed, GZIP_OUT_BYTES)
                fed = b""
                if out:
                    yield Piece(member, inner, out)
                    inner += len(out)
        except igzip_lib.IsalError as error:  # type: ignore[misc]
            yield Broken(member, inner, "corrupt_compression", f"gzip member at byte {member}: {error}")
            # the decoder may have run into the next member before it stumbled: search all that is still in memory
            skip = max(0, member + 1 - start)
            start, data = _resync(handle, file, start + skip, data[skip:], begins)
        else:
            rest = decoder.unused_data
            start, data = start + len(data) - len(rest), rest
            if not data:
                start, data = _next(handle, file, start, data)


def _next(handle: BinaryIO, file: InputFile, start: int, data: bytes) -> tuple[int, bytes]:
    return start + len(data), read_bytes(handle, READ_BYTES, file.path)


def _resync(handle: BinaryIO, file: InputFile, start: int, data: bytes, begins: tuple[bytes, ...]) -> tuple[int, bytes]:
    """Where the next member with a record begins, and the bytes from there; no bytes when there is none."""
    while True:
        for found in _GZIP_MEMBER.finditer(data):
            at = found.start()
            probe = data[at : at + _PROBE_BYTES]
            if len(probe) < _PROBE_BYTES:
                data += read_bytes(handle, READ_BYTES, file.path)
                probe = data[at : at + _PROBE_BYTES]
            if _begins(probe, begins):
                return start + at, data[at:]
        keep = data[-3:]
        more = read_bytes(handle, READ_BYTES, file.path)
        if not more:
            return start + len(data), b""
        start, data = start + len(data) - len(keep), keep + more


def _begins(probe: bytes, begins: tuple[bytes, ...]) -> bool:
    decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    try:
        return decoder.decompress(probe, 64).startswith(begins)
    except igzip_lib.IsalError:  # type: ignore[misc]
        return False


def _unzstd(handle: BinaryIO, file: InputFile) -> Iterator[Piece | Broken]:
    start, data = 0, read_bytes(handle, READ_BYTES, file.path)
    dictionary = None
    if data.startswith(_ZSTD_DICTIONARY):
        size = int.from_bytes(data[4:8], "little")
        while (
            len(data) < size + 8
            and size <= _MAX_DICTIONARY_BYTES
            and (more := read_bytes(handle, READ_BYTES, file.path))
        ):
            data += more
        dictionary = _dictionary(data[8 : size + 8])
        if len(data) < size + 8 or dictionary is None:
            yield Broken(0, 0, "corrupt_compression", "zstd: the dictionary in the first frame cannot be read")
            return
        start, data = size + 8, data[size + 8 :] or read_bytes(handle, READ_BYTES, file.path)
    decoder: Any = None
    member = inner = 0
    while data:
        for at in range(0, len(data), ZSTD_IN_BYTES):
            fed = data[at : at + ZSTD_IN_BYTES]
            end = start + at + len(fed)
            while fed:
                if decoder is None:
                    member, inner = end - len(fed), 0
                    decoder = zstandard.ZstdDecompressor(dict_data=dictionary).decompressobj()
                try:
                    out = decoder.decompress(fed)
                except zstandard.ZstdError as error:
                    yield Broken(member, inner, "corrupt_compression", f"zstd frame at byte {member}: {error}")
                    return
                if out:
                    yield Piece(member, inner, out)
                    inner += len(out)
                fed = b""
                if decoder.eof:
                    fed, decoder = decoder.unused_data, None
        start, data = _next(handle, file, start, data)
    if decoder is not None:
        yield Broken(member, inner, "truncated", "the zstd stream ends inside a frame")


def _dictionary(data: bytes) -> zstandard.ZstdCompressionDict | None:
    """A dictionary, itself compressed or not; None when it does not decode."""
    try:
        if data.startswith(_ZSTD):
            data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        return zstandard.ZstdCompressionDict(data)
    except zstandard.ZstdError:
        return None
