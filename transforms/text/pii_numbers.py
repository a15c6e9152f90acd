"""Numbers that name a person's account: payment cards and IBANs, by their check digits and registries."""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int]

#: issuer prefixes as (first, last, lengths), of the issuers' published ranges (ISO/IEC 7812); prefixes have the
#: length of their bounds. Visa's retired 13 digits and Maestro's 12 are left out: one barcode in ten passes Luhn.
_ISSUERS: tuple[tuple[str, str, frozenset[int]], ...] = tuple(
    (first, last, frozenset(lengths))
    for first, last, lengths in (
        ("4", "4", (16, 19)),  # Visa
        ("51", "55", (16,)),  # Mastercard
        ("2221", "2720", (16,)),
        ("34", "34", (15,)),  # American Express
        ("37", "37", (15,)),
        ("300", "305", (14, 16, 19)),  # Diners Club
        ("36", "36", (14, 16, 19)),
        ("38", "39", (14, 16, 19)),
        ("6011", "6011", (16, 19)),  # Discover
        ("644", "649", (16, 19)),
        ("65", "65", (16, 19)),
        ("3528", "3589", (16, 17, 18, 19)),  # JCB
        ("62", "62", (16, 17, 18, 19)),  # UnionPay
        ("81", "81", (16, 17, 18, 19)),
        ("60", "60", (16,)),  # RuPay
        ("508", "508", (16,)),
        ("2200", "2204", (16, 17, 18, 19)),  # Mir
        ("5018", "5018", (16, 17, 18, 19)),  # Maestro
        ("5020", "5020", (16, 17, 18, 19)),
        ("5038", "5038", (16, 17, 18, 19)),
        ("5893", "5893", (16, 17, 18, 19)),
        ("6304", "6304", (16, 17, 18, 19)),
        ("6759", "6759", (16, 17, 18, 19)),
        ("6761", "6763", (16, 17, 18, 19)),
    )
)
# 14 to 19 digits, bare or in groups of at least two with one kind of separator; not part of a longer number or a word.
_CARD = re.compile(r"(?<![\w.,/+-])[2-68][0-9]{1,18}(?:([ -])[0-9]{2,6}(?:\1[0-9]{2,7}){1,4})?(?![\w=]|[.,/-][0-9])")
_MIN_CARD_DIGITS, _MAX_CARD_DIGITS = 14, 19

#: characters of an IBAN by country: SWIFT's IBAN registry, release 99
IBAN_CHARS = {
    country: int(length)
    for length, countries in {
        "15": "NO",
        "16": "BE",
        "18": "DK FI FK FO GL NL SD",
        "19": "MK SI",
        "20": "AT BA EE KZ LT LU MN XK",
        "21": "CH HR LI LV",
        "22": "BG BH CR DE GB GE IE ME RS VA",
        "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG",
        "25": "LY PT ST",
        "26": "IS TR",
        "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ BY CY DO GT HN HU LB NI PL SV",
        "29": "BR EG PS QA UA",
        "30": "JO KW MU YE",
        "31": "MT SC",
        "32": "LC",
        "33": "RU",
    }.items()
    for country in countries.split()
}
_IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?=[ -]?[A-Za-z0-9])")
_IBAN_SEPARATORS = " -\u00a0"


def find_cards(text: str) -> Iterator[Span]:
    """Payment card numbers: an issuer's prefix and length, and a valid Luhn digit (ISO/IEC 7812-1, annex B)."""
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        valid = _MIN_CARD_DIGITS <= len(digits) <= _MAX_CARD_DIGITS and _issued(digits)
        if valid and luhn_digit(digits[:-1]) == digits[-1]:
            yield match.span()


def find_ibans(text: str) -> Iterator[Span]:
    """IBANs (ISO 13616): a country's length, and check digits that leave 1 modulo 97. In any case, grouped or not."""
    for match in _IBAN_START.finditer(text):
        country = match[0][:2].upper()
        if country in IBAN_CHARS:
            end = _end_of(text, match.start(), IBAN_CHARS[country])
            if end is not None and _mod97(_compact(text[match.start() : end])) == 1:
                yield match.start(), end


def luhn_digit(digits: str) -> str:
    """The check digit that makes `digits` + digit a valid card number."""
    total = 0
    for at, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if at % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def iban_check(country: str, account: str) -> str:
    """The two check digits of an IBAN."""
    return f"{98 - _mod97(country + '00' + account):02d}"


def _issued(digits: str) -> bool:
    return any(first <= digits[: len(first)] <= last and len(digits) in lengths for first, last, lengths in _ISSUERS)


def _mod97(iban: str) -> int:
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97


def _compact(text: str) -> str:
    return "".join(c for c in text if c not in _IBAN_SEPARATORS).upper()


def _end_of(text: str, start: int, num_chars: int) -> int | None:
    """Where `num_chars` letters and digits from `start` on end; single separators may stand between them.

    None when something else comes before, or when they are the beginning of a longer run.
    """
    at, left = start, num_chars
    while left:
        if at >= len(text):
            return None
        char = text[at]
        if char.isascii() and char.isalnum():
            left -= 1
        elif char not in _IBAN_SEPARATORS or text[at - 1] in _IBAN_SEPARATORS:
            return None
        at += 1
    return None if at < len(text) and text[at].isascii() and text[at].isalnum() else at
