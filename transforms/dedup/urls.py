"""Rows of one web page: those whose URLs are equal in one spelling."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from urllib.parse import quote_from_bytes

import numpy as np
import pyarrow as pa
from pydantic import field_validator

from transforms.base import Params
from transforms.dedup.base import Dedup, Keys
from transforms.dedup.bloom import Bloom
from transforms.dedup.keep import Keep, check_keep, rank_of
from transforms.registry import register
from transforms.text.url_block_lists import canonical_host

#: parameters that say where a reader came from, not what the page is: of Google, Meta, Microsoft, Yandex, X, TikTok,
#: LinkedIn, Instagram, Mailchimp, HubSpot, Marketo, Matomo, Adobe, Klaviyo, and session ids of web frameworks
TRACKING = (
    "utm_*", "gclid", "gclsrc", "dclid", "gbraid", "wbraid", "gad_source", "_ga", "_gl", "fbclid", "fb_action_ids",
    "fb_action_types", "fb_source", "msclkid", "yclid", "ysclid", "_openstat", "twclid", "ttclid", "li_fat_id",
    "igshid", "igsh", "mc_cid", "mc_eid", "_hsenc", "_hsmi", "hsctatracking", "mkt_tok", "mtm_*", "pk_*", "piwik_*",
    "s_cid", "_ke", "phpsessid", "jsessionid", "aspsessionid*",
)  # fmt: skip

_SCHEME = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]{0,20}):)?//")
_AUTHORITY_END = re.compile(r"[/\\?#]")
_PORT = re.compile(r":([0-9]*)\Z")
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}
_IGNORED = re.compile(r"[\t\n\r]")  # as browsers do (WHATWG URL, section 4.4)
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
#: what RFC 3986 lets stand in a path and a query, and the sign of what is escaped already
_SAFE = "/?&=:@!$'()*+,;~%"


class TextUrlDedupParams(Params):
    """Parameters of text.url_dedup: what is no difference between URLs."""

    #: https://a.example/ is http://a.example/; other schemes are others
    ignore_scheme: bool = True
    #: www.a.example is a.example
    ignore_www: bool = True
    #: query parameters that are left out, whatever their case; a * at the end stands for any ending
    ignore_parameters: tuple[str, ...] = TRACKING
    #: names under which servers give a folder's own page: /a/index.html is /a
    ignore_files: tuple[str, ...] = ("index.html", "index.htm", "index.php")
    #: which of the rows of one URL stays
    keep: Keep = "first"
    #: null: keys are compared, and every duplicate is told its match
    bloom: Bloom | None = None

    @field_validator("ignore_parameters", "ignore_files")
    @classmethod
    def _in_lower_case(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.lower() for name in names)

    @field_validator("ignore_parameters")
    @classmethod
    def _stars_come_last(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name.strip("*") == "" or "*" in name[:-1]:
                raise ValueError(f"{name!r}: give a parameter's name, or its beginning and one * at the end")
        return names


@register("text.url_dedup", version=1)
class TextUrlDedup(Dedup[TextUrlDedupParams]):
    """Rows with the same URL, in the one spelling of `canonical_url`, as C4, RefinedWeb and OBELICS drop them.

    Rows without a URL, or with what is none, are left alone. A page that was crawled twice may have changed meanwhile:
    `keep: longest`, or a column with its date, chooses. Which media a row holds does not matter.
    """

    Params = TextUrlDedupParams

    @property
    def bloom_rate(self) -> float | None:
        return self.params.bloom.false_positive_rate if self.params.bloom else None

    def check(self, schema: pa.Schema) -> None:
        check_keep(self.params.keep, schema)

    def setup(self) -> None:
        self._is_ignored = ignored(self.params.ignore_parameters)

    def keys(self, batch: pa.RecordBatch) -> Keys:
        rows, digests = [], []
        for row, url in enumerate(batch.column("url").to_pylist()):
            one = canonical_url(url, self.params, self._is_ignored) if url else None
            if one is not None:
                rows.append(row)
                digests.append(hashlib.blake2b(one.encode(), digest_size=16).digest())
        count = len(rows)
        key = np.frombuffer(b"".join(digests), "<u8").reshape(count, 2).copy()
        rank = rank_of(self.params.keep, batch)[rows]
        return Keys(np.asarray(rows, np.uint32), np.full(count, -1, np.int32), np.zeros(count, np.uint16), key, rank)


def canonical_url(url: str, params: TextUrlDedupParams, is_ignored: Callable[[str], bool]) -> str | None:
    """A URL in one spelling, None when it is none: it must name a host, and one without a scheme a dotted one.

    As RFC 3986, section 6, has it: scheme and host in lower case (the host in punycode), no default port, escapes only
    where they are needed and in upper case, no dot segments. Beyond it: no user, no fragment (but a hashbang's, #!,
    which named a page of its own), no final slash, no folder's file, query parameters by name, less those ignored.
    """
    rest = _IGNORED.sub("", url.strip())
    found = _SCHEME.match(rest)
    scheme = (found[1] or "").lower() if found else ""
    rest = rest[found.end() :] if found else rest
    end = _AUTHORITY_END.search(rest)
    authority, rest = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    if not found and ("@" in authority or "." not in authority):
        return None
    authority = authority.rsplit("@", 1)[-1]
    port = _PORT.search(authority)
    host = canonical_host(authority[: port.start()] if port else authority, keep_www=not params.ignore_www)
    number = int(port[1]) if port and port[1] and len(port[1]) <= 9 else None
    if host is None or (number is None and port and port[1]) or (number or 0) > 0xFFFF:
        return None
    if number is not None and number != _DEFAULT_PORTS.get(scheme or "http"):
        host = f"{host}:{number}"
    rest, _, fragment = rest.partition("#")
    path, _, query = rest.partition("?")
    one = host + _path(escaped(path.replace("\\", "/")), params.ignore_files)
    if query:
        fields = [field for field in escaped(query).split("&") if field and not is_ignored(field.partition("=")[0])]
        fields.sort(key=lambda field: field.partition("=")[0])  # stable: a repeated name's values keep their order
        one += "?" + "&".join(fields) if fields else ""
    if fragment.startswith("!"):
        one += "#" + escaped(fragment)
    scheme = scheme or "http"
    return one if params.ignore_scheme and scheme in ("http", "https") else f"{scheme}://{one}"


def escaped(part: str) -> str:
    """Part of a URL with percent-encoding in one way: unreserved characters plain, all that may not stand there
    escaped, digits in upper case; what is reserved stays as it is, because %2F is no slash."""
    data = _ESCAPE.sub(_one_escape, part.encode("utf-8", "replace"))
    return quote_from_bytes(data, safe=_SAFE)


def _one_escape(found: re.Match[bytes]) -> bytes:
    if found[1] is None:
        return b"%25"
    byte = int(found[1], 16)
    return bytes([byte]) if byte in _UNRESERVED else b"%%%02X" % byte


def _path(path: str, files: tuple[str, ...]) -> str:
    """A path without dot segments (RFC 3986, section 5.2.4), folder's file and final slash."""
    segments: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            del segments[-1:]
        elif segment != ".":
            segments.append(segment)
    if segments and segments[-1].lower() in files:
        segments.pop()
    while segments and not segments[-1]:
        segments.pop()
    return "".join(f"/{segment}" for segment in segments)


def ignored(names: tuple[str, ...]) -> Callable[[str], bool]:
    """Says whether a query parameter is one of these."""
    whole = frozenset(name for name in names if not name.endswith("*"))
    begins = tuple(name[:-1] for name in names if name.endswith("*"))

    def is_ignored(name: str) -> bool:
        name = name.lower()
        return name in whole or name.startswith(begins)

    return is_ignored
