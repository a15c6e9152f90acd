"""HTTP responses as web archives store them: status, headers, and the body without its encodings (RFC 9110, 9112)."""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import dataclass

import zstandard
from fastwarc.stream_io import BrotliReader

from pipeline.sources.objects import Fault

_STATUS = re.compile(rb"(?:HTTP|ICY)/?[\d.]* +(\d{3})(?:[ \r\n]|\Z)")
_END = re.compile(rb"\r?\n[ \t]*\r?\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")
_SPLIT = re.compile(r"[,\s]+")


@dataclass(frozen=True, slots=True)
class Response:
    """A response; `headers` have lower-case names, and of a repeated one the first value counts."""

    status: int
    headers: dict[str, str]
    body: bytes


def parse_response(block: bytes, max_bytes: int) -> Response | Fault:
    """The response in a record's block, its body decoded to at most `max_bytes`.

    Faults: `bad_http` (no status line), `corrupt_payload` (an encoding that does not decode), `too_long`. Archives
    often store a body decoded and its headers unchanged, so an encoding that the first bytes contradict is passed over.
    """
    found = _STATUS.match(block)
    if found is None:
        return Fault("bad_http", f"no HTTP status line: {block[:60]!r}")
    end = _END.search(block)
    head, body = (block[: end.start()], block[end.end() :]) if end else (block, b"")
    headers: dict[str, str] = {}
    for line in head.split(b"\n")[1:]:
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    if "chunked" in headers.get("transfer-encoding", "").lower():
        unchunked = _unchunk(body)
        if isinstance(unchunked, Fault):
            return unchunked
        body = unchunked
    for encoding in reversed(_SPLIT.split(headers.get("content-encoding", "").lower().strip())):
        decoded = _decode(encoding, body, max_bytes)
        if isinstance(decoded, Fault):
            return decoded
        body = decoded
    if len(body) > max_bytes:
        return Fault("too_long", f"a body of {len(body)} bytes; at most {max_bytes}")
    return Response(int(found[1]), headers, body)


def _unchunk(body: bytes) -> bytes | Fault:
    """A chunked body in one piece (RFC 9112, 7.1); as it is when it does not begin with a chunk."""
    if _CHUNK.match(body) is None:
        return body
    parts: list[bytes] = []
    at = 0
    while True:
        found = _CHUNK.match(body, at)
        if found is None:
            return Fault("corrupt_payload", f"no chunk at byte {at} of a chunked body of {len(body)}")
        size = int(found[1], 16)
        if not size:
            return b"".join(parts)
        part = body[found.end() : found.end() + size]
        parts.append(part)
        at = found.end() + size
        if len(part) < size:
            return Fault("corrupt_payload", f"a chunked body of {len(body)} bytes ends inside a chunk")
        at += 2 if body.startswith(b"\r\n", at) else 1 if body.startswith(b"\n", at) else 0


def _decode(encoding: str, body: bytes, max_bytes: int) -> bytes | Fault:
    """The body without one content encoding."""
    try:
        if encoding in ("gzip", "x-gzip") and body.startswith(b"\x1f\x8b"):
            decoded = _inflate(body, 31, max_bytes)
        elif encoding == "deflate" and body and not body.lstrip().startswith(b"<"):
            # RFC 9110, 8.4.1.2: zlib, though some senders leave its wrapper out
            zlib_wrapped = body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
            decoded = _inflate(body, 15 if zlib_wrapped else -15, max_bytes)
        elif encoding == "zstd" and body.startswith(b"\x28\xb5\x2f\xfd"):
            decoded = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body)).read(max_bytes + 1)
        elif encoding == "br" and body and not body.lstrip().startswith(b"<"):
            decoded = _unbrotli(body, max_bytes)
        else:
            return body
    except (zlib.error, zstandard.ZstdError, OSError) as error:
        return Fault("corrupt_payload", f"Content-Encoding {encoding}: {error}")
    if len(decoded) > max_bytes:
        return Fault("too_long", f"a body of more than {max_bytes} bytes once decoded")
    return decoded


def _inflate(body: bytes, window: int, max_bytes: int) -> bytes:
    """At most one byte more than `max_bytes`; raises zlib.error when the body ends early."""
    decoder = zlib.decompressobj(window)
    decoded = decoder.decompress(body, max_bytes + 1)
    if not decoder.eof and len(decoded) <= max_bytes:
        raise zlib.error("the body ends early")
    return decoded


def _unbrotli(body: bytes, max_bytes: int) -> bytes:
    reader = BrotliReader(io.BytesIO(body))
    parts: list[bytes] = []
    size = 0
    while size <= max_bytes and (part := reader.read(2**16)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)
