"""Opening input files, wherever fsspec finds them, and reading them as bounded chunks, decompressed on the way.

What is wrong with the environment (no permission, file gone or changed) is a SluiceError: the run stops and says what
to do. What is wrong with the bytes is `Damage`, which a source turns into a rejected row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import zstandard
from fsspec.core import url_to_fs
from isal import igzip_lib

from pipeline.sources.base import InputFile
from schemas.errors import SluiceError

#: One read from a file. Constant, so that the rows saved from a corrupt stream do not depend on any setting.
READ_BYTES = 128 * 2**10
#: Most bytes one call to the gzip decoder may give.
GZIP_OUT_BYTES = 256 * 2**10
#: Bytes fed to the zstd decoder at a time. A zstd block of 4 bytes can stand for 128 KiB (RFC 8878, 3.1.1.2), so this
#: bounds what one call gives to 32 MiB however hostile the input; the decoder itself has no output limit.
ZSTD_IN_BYTES = 2**10
#: Decompressed zstd output is handed on in pieces of about this size.
ZSTD_OUT_BYTES = 256 * 2**10


class Damage(Exception):
    """The bytes of a file end early or do not decode; `reason` is a source's reject reason, `partial` what was cut."""

    def __init__(self, reason: str, detail: str, partial: bytes = b"") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.partial = partial


def compression_of(path: str) -> str | None:
    """`gzip`, `zstd` or None, by the file name's ending."""
    lower = path.lower()
    return "gzip" if lower.endswith((".gz", ".tgz")) else "zstd" if lower.endswith(".zst") else None


@contextmanager
def open_input(file: InputFile) -> Iterator[BinaryIO]:
    """Opens a file for reading; raises SluiceError when it cannot be, or is no longer as it was when planned."""
    try:
        fs, path = url_to_fs(file.path)
        handle = fs.open(path, "rb")
    except (OSError, ValueError, ImportError) as error:
        raise unreadable(file.path, error) from error
    with handle:
        size = getattr(handle, "size", None)
        if size is not None and size != file.size:
            raise SluiceError(
                f"{file.path} is {size} bytes, but was {file.size} when the run was planned: something is writing to"
                " it; wait until it is complete and run again"
            )
        yield handle


def unreadable(path: str, error: BaseException) -> SluiceError:
    """The error for a file that cannot be read, with what to do about it."""
    if isinstance(error, FileNotFoundError):
        return SluiceError(f"{path} does not exist any more; restore it or take it out of the recipe's paths")
    if isinstance(error, PermissionError):
        return SluiceError(f"{path} may not be read by this user; grant read permission (chmod +r) or take it out")
    return SluiceError(f"{path} cannot be read ({type(error).__name__}: {error}); check the path and try again")


def read_bytes(handle: BinaryIO, count: int, path: str) -> bytes:
    """At most `count` bytes, fewer only at the end of the file."""
    try:
        return handle.read(count)
    except OSError as error:
        raise unreadable(path, error) from error


def chunks(handle: BinaryIO, file: InputFile) -> Iterator[bytes]:
    """The rest of a file in bounded chunks, decompressed as its name says; raises Damage after the last good one."""
    raw = iter(lambda: read_bytes(handle, READ_BYTES, file.path), b"")
    compression = compression_of(file.path)
    if compression is None:
        return raw
    return _gunzip(raw) if compression == "gzip" else _unzstd(raw)


def _gunzip(raw: Iterator[bytes]) -> Iterator[bytes]:
    """Every member of a gzip file; zero padding between and after members is skipped, as gzip does."""
    decoder: Any = None
    num_members = 0
    for data in raw:
        while True:
            if decoder is None:
                data = data.lstrip(b"\0") if num_members else data
                if not data:
                    break
                decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            try:
                out = decoder.decompress(data, GZIP_OUT_BYTES)
            except igzip_lib.IsalError as error:  # type: ignore[misc]
                raise Damage("corrupt_compression", _where(error, num_members, "gzip")) from error
            if out:
                yield out
            data = b""
            if decoder.eof:
                data, decoder, num_members = decoder.unused_data, None, num_members + 1
            elif decoder.needs_input:
                break
    if decoder is not None or not num_members:
        raise Damage("truncated", "the gzip stream ends early" if decoder else "0 bytes, not even a gzip header")


def _unzstd(raw: Iterator[bytes]) -> Iterator[bytes]:
    """Every frame of a zstd file."""
    decoder: Any = None
    num_frames = 0
    held: list[bytes] = []
    num_held = 0
    for block in raw:
        for at in range(0, len(block), ZSTD_IN_BYTES):
            data = block[at : at + ZSTD_IN_BYTES]
            while data:
                decoder = decoder or zstandard.ZstdDecompressor().decompressobj()
                try:
                    out = decoder.decompress(data)
                except zstandard.ZstdError as error:
                    yield b"".join(held)
                    raise Damage("corrupt_compression", _where(error, num_frames, "zstd")) from error
                held.append(out)
                num_held += len(out)
                data = b""
                if decoder.eof:
                    data, decoder, num_frames = decoder.unused_data, None, num_frames + 1
                if num_held >= ZSTD_OUT_BYTES:
                    yield b"".join(held)
                    held, num_held = [], 0
    yield b"".join(held)
    if decoder is not None or not num_frames:
        raise Damage("truncated", "the zstd stream ends early" if decoder else "0 bytes, not even a zstd header")


def _where(error: BaseException, num_before: int, kind: str) -> str:
    place = f"after {num_before} complete {kind} member(s)" if num_before else "in the first member"
    return f"{kind}: {error} {place}"
