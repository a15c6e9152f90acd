"""What stands in for personal data: tags, or values of ranges set aside for examples.

A replacement depends on the seed and the value alone (keyed BLAKE2b), so one person's address becomes one and the same
everywhere, in any order and on any worker, and a text keeps its shape. Who knows the seed can test a guess against it:
set one of your own, and keep it, where that matters.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re

from transforms.text.pii_numbers import iban_check, luhn_digit

TAGS = {"email": "<EMAIL>", "phone": "<PHONE>", "ip": "<IP_ADDRESS>", "card": "<CARD>", "iban": "<IBAN>"}

#: RFC 5737's documentation networks
_IPV4_NETWORKS = tuple(int(ipaddress.IPv4Address(base)) for base in ("192.0.2.0", "198.51.100.0", "203.0.113.0"))
_IPV6_NETWORK = int(ipaddress.IPv6Address("2001:db8::"))  # RFC 3849: /32
_CARD_PREFIX = "0000"  # ISO/IEC 7812 gives no issuer a leading 0
_IBAN_COUNTRY = "XX"  # user-assigned in ISO 3166, so never a country


def fake(kind: str, value: str, seed: int) -> str:
    """A reserved value of one kind, that no finder of ours finds again."""
    number = _draw(kind, _canonical(kind, value), seed)
    if kind == "email":
        return f"user{number % 10**8:08d}@example.com"  # RFC 2606
    if kind == "phone":
        return _phone(value, number)
    if kind == "ip":
        return _ip(value, number)
    if kind == "card":
        return _card(value, number)
    assert kind == "iban", kind
    return _iban(value, number)


def _canonical(kind: str, value: str) -> str:
    """One spelling of a value, so that each person is replaced alike however they are written."""
    if kind == "email":
        return value.casefold()
    if kind == "ip":
        return str(ipaddress.ip_address(value))
    if kind == "iban":
        return re.sub(r"[^0-9A-Z]", "", value.upper())
    return re.sub(r"[^0-9]", "", value)


def _draw(kind: str, value: str, seed: int) -> int:
    key = (seed % 2**64).to_bytes(8, "little")
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), key=key, person=kind.encode(), digest_size=16)
    return int.from_bytes(digest.digest(), "little")


def _phone(value: str, number: int) -> str:
    """A number for drama: Ofcom's 020 7946 0xxx for Britain's, else 555-01xx in any North American area."""
    if re.sub(r"[^0-9+]", "", value).startswith(("+44", "0044")):
        return f"+44 20 7946 0{number % 1000:03d}"
    line, number = number % 100, number // 100
    area = f"{2 + number % 8}{number // 8 % 9}{number // 72 % 10}"  # no 9 in the middle: kept for expansion
    area = area if not area.endswith("11") else area[:2] + "2"  # 211, 311, … are services
    return f"{area}-555-01{line:02d}"


def _ip(value: str, number: int) -> str:
    if ":" in value:
        return str(ipaddress.IPv6Address(_IPV6_NETWORK | (number % 2**96)))
    return str(ipaddress.IPv4Address(_IPV4_NETWORKS[number % 3] + 1 + number // 3 % 254))


def _card(value: str, number: int) -> str:
    """As many digits in the same groups, a valid Luhn digit, and a prefix no issuer has."""
    count = sum(map(str.isdigit, value))
    body = _CARD_PREFIX + f"{number:039d}"[-(count - len(_CARD_PREFIX) - 1) :]
    return _like(value, body + luhn_digit(body))


def _iban(value: str, number: int) -> str:
    """As many characters in the same groups, valid check digits, and a country that is none."""
    count = sum(map(str.isalnum, value))
    account = f"{number:039d}"[-(count - 4) :]
    return _like(value, _IBAN_COUNTRY + iban_check(_IBAN_COUNTRY, account) + account)


def _like(value: str, characters: str) -> str:
    """`characters` with the separators of `value`."""
    source = iter(characters)
    return "".join(next(source) if c.isalnum() else c for c in value)
