"""URLs and host names in one spelling, and block lists of them as sorted hashes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote

import numpy as np
import xxhash

_SCHEME = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]{0,20}:)?//")
_AUTHORITY_END = re.compile(r"[/\\?#]")
_PORT = re.compile(r":[0-9]*\Z")
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}\Z")
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\Z")
_MAX_HOST_CHARS = 253
_DOTS = str.maketrans("。．｡", "...")  # IDNA 2003, section 3.1
_SAFE = "/?&=:@!$'()*+,;~%-._"

#: second-level labels under which country registries register, as `co.uk` and `com.au`; a rule instead of the public
#: suffix list, whose 10,000 entries it agrees with on nearly all domains that block lists hold
_SECOND_LEVEL = re.compile(
    r"ac|ad|adv|art|asn|asso|bel|biz|blog|co|com|coop|ed|edu|eng|fin|firm|gc|ge|gen|go|gob|gok|gouv|gov|govt|gr|gub|gv"
    r"|id|idf|ind|inf|info|int|jus|k12|leg|lg|ltd|me|med|mi|mil|mod|museum|ne|net|ngo|nhs|nic|nom|nsn|or|org|oz|plc"
    r"|police|presse|priv|pro|pub|sch|school|tm|tv|web"
)


@dataclass(frozen=True, slots=True)
class Url:
    """A URL's host, the domain it is registered under, and host + path + query, each in one spelling."""

    host: str
    domain: str
    page: str


def parse_url(url: str) -> Url | None:
    """A URL in one spelling, whatever its scheme, case, port, user, fragment; None when it has no host.

    Host: lower case, punycode, without `www.`, port and final dot. Path: percent-encoded one way, case kept, without
    a final slash.
    """
    rest = url.strip()
    scheme = _SCHEME.match(rest)
    rest = rest[scheme.end() :] if scheme else rest
    end = _AUTHORITY_END.search(rest)
    authority, tail = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    host = canonical_host(_PORT.sub("", authority.rsplit("@", 1)[-1]))
    if host is None:
        return None
    tail = tail.partition("#")[0].replace("\\", "/")  # as browsers read it
    tail = quote(unquote(tail, errors="replace"), safe=_SAFE, errors="replace")
    return Url(host, registered_domain(host), host + tail.rstrip("/"))


def canonical_host(host: str, *, keep_www: bool = False) -> str | None:
    """A host name in one spelling, None when it is none."""
    host = host.strip().translate(_DOTS).strip(".")
    if not host.isascii():
        try:
            host = ".".join(map(_punycode, host.split(".")))
        except (UnicodeError, ValueError):
            return None
    host = host.lower()
    if host.startswith("[") and host.endswith("]"):
        return host
    if len(host) > _MAX_HOST_CHARS or not _HOST.match(host) or ".." in host:
        return None
    while not keep_www and host.startswith("www.") and host.count(".") > 1:
        host = host[4:]
    return host


def registered_domain(host: str) -> str:
    """The part of a host that someone registered: `nice.com` of `a.nice.com`, `nice.co.uk` of `a.nice.co.uk`."""
    labels = host.split(".")
    if len(labels) <= 2 or _IPV4.match(host) or host.startswith("["):
        return host
    is_country = len(labels[-1]) == 2 or labels[-1].startswith("xn--")
    return ".".join(labels[-3 if is_country and _SECOND_LEVEL.fullmatch(labels[-2]) else -2 :])


def _punycode(label: str) -> str:
    """A label in ASCII, as IDNA maps it (NFKC, case folded)."""
    label = unicodedata.normalize("NFKC", label).casefold()
    return label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")


@dataclass(frozen=True, slots=True)
class HashSet:
    """A set of strings as sorted 64-bit hashes: 8 bytes each, where Python's takes 100; millions of domains fit."""

    hashes: np.ndarray

    @classmethod
    def of(cls, strings: Iterable[str]) -> HashSet:
        """The set of these."""
        return cls(np.unique(np.fromiter(map(_hash, strings), np.uint64)))

    def __len__(self) -> int:
        return len(self.hashes)

    def contains(self, strings: list[str]) -> np.ndarray:
        """Whether each is in the set, bool. A stranger passes for a member once in 2^64 / len(set) times."""
        wanted = np.fromiter(map(_hash, strings), np.uint64, len(strings))
        if not len(self.hashes):
            return np.zeros(len(strings), bool)
        at = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        return self.hashes[at] == wanted


def _hash(string: str) -> int:
    return xxhash.xxh3_64_intdigest(string.encode("utf-8", "surrogatepass"))
