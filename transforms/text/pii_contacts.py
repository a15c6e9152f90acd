"""Ways to reach a person or their machine: e-mail addresses, telephone numbers, public IP addresses.

Every pattern has bounded repetition and begins at a character that most text has few of, so the time is linear in the
text whatever is in it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

Span = tuple[int, int]

# RFC 5321: a local part of at most 64 characters (RFC 5322's dot-atom), domain labels of at most 63.
_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~-"
_LOCAL = re.compile(rf"[{_ATEXT}](?:[.{_ATEXT}]{{0,62}}[{_ATEXT}])?\Z")
_LETTER = r"A-Za-z0-9\u00a1-\u024f\u0370-\u052f"  # Latin, Greek and Cyrillic: IDNA's most common
_LABEL = rf"[{_LETTER}](?:[{_LETTER}-]{{0,61}}[{_LETTER}])?"
_TLD = r"(?:xn--[A-Za-z0-9-]{2,59}|[A-Za-z]{2,24}|[\u0400-\u052f]{2,24})"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.){{1,8}}{_TLD}(?![{_LETTER}]|-[A-Za-z0-9])")
_ADDRESS_LITERAL = re.compile(r"\[[0-9]{1,3}(?:\.[0-9]{1,3}){3}\]")
_LEADING = "!#$%&'*+/=?^`{|}~-."  # legal first characters, but more often the sentence's than the address's
_MAX_LOCAL_CHARS = 64
#: RFC 2606 and 6761: nobody's
_RESERVED_DOMAIN = re.compile(r"(?:^|\.)(?:example(?:\.(?:com|net|org))?|test|invalid|localhost)$")
#: endings of file names that follow an @ (logo@2x.png)
_FILE_ENDINGS = frozenset(("png", "jpg", "jpeg", "gif", "webp", "svg", "css", "js", "json", "html", "htm"))

_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w-]|\.[0-9])")
_BEFORE_IPV4 = re.compile(r"(?:(?<![\w./-])|(?<=://))")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{2,39}(?:(?<=:)[0-9]{1,3}(?:\.[0-9]{1,3}){3})?(?![\w:])")
_IPV6_MIDDLE = re.compile(r":[0-9A-Fa-f]{0,4}:")
_IPV6_HEAD = re.compile(r"[0-9A-Fa-f]{1,4}\Z")
#: what makes four numbers a version
_VERSION = re.compile(r"(?:\bv(?:er(?:si[oó]n)?)?\.?|release|build|firmware|版本)\s{0,2}[:=]?\s{0,2}\Z", re.IGNORECASE)
#: IANA's special-purpose registry and multicast: no one's address on the public internet
_IPV4_SPECIAL = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
    )
)
_IPV6_GLOBAL = ipaddress.IPv6Network("2000::/3")
_IPV6_SPECIAL = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))


def find_emails(text: str) -> Iterator[Span]:
    """Addresses with a dotted domain, or an address literal; not those at reserved domains (example.com)."""
    at = text.find("@")
    last = 0
    while at >= 0:
        local = _LOCAL.search(text[max(last, at - _MAX_LOCAL_CHARS) : at])
        domain = _DOMAIN.match(text, at + 1) or _ADDRESS_LITERAL.match(text, at + 1)
        if local and domain:
            trimmed = local[0].lstrip(_LEADING)
            trimmed = trimmed.rsplit("..", 1)[-1]
            name = domain[0].lower()
            if trimmed and not _RESERVED_DOMAIN.search(name) and name.rsplit(".", 1)[-1] not in _FILE_ENDINGS:
                yield at - len(trimmed), domain.end()
                last = domain.end()
        at = text.find("@", at + 1)


def find_ips(text: str) -> Iterator[Span]:
    """Public IPv4 and IPv6 addresses, as datatrove's PIIFormatter; private and reserved ranges are no one's."""
    for match in _IPV4.finditer(text):
        address = _ipv4(match[0])
        if address is None or any(address in network for network in _IPV4_SPECIAL):
            continue
        if _BEFORE_IPV4.match(text, match.start()) and not _is_version(text, match.start()):
            yield match.span()
    last = 0
    for middle in _IPV6_MIDDLE.finditer(text):
        head = _IPV6_HEAD.search(text, max(last, middle.start() - 4), middle.start())
        if head and middle.start() >= last:
            span = _ipv6(text, head.start())
            if span is not None:
                last = span[1]
                yield span


def _is_version(text: str, at: int) -> bool:
    return _VERSION.search(text, max(0, at - 12), at) is not None


def _ipv4(text: str) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(text)  # refuses leading zeros and numbers above 255
    except ValueError:
        return None


def _ipv6(text: str, start: int) -> Span | None:
    match = _IPV6.match(text, start)
    if match is None:
        return None
    end = match.end()
    if text[end - 1] == ":" and text[end - 2] != ":":
        end -= 1  # the sentence's colon
    try:
        address = ipaddress.IPv6Address(text[start:end])
    except ValueError:
        return None
    public = address in _IPV6_GLOBAL and not any(address in network for network in _IPV6_SPECIAL)
    return (start, end) if public else None
