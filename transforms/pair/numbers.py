"""What both sides of a translation share letter for letter: numbers, links and addresses."""

from __future__ import annotations

import unicodedata
from collections import Counter

import regex

#: digits of any script, grouped by spaces or with marks between them: 1 000,5  1,000.5  1'000  १,०००  ٣٫٥  10:30
_NUMBER = regex.compile(
    r"\p{Nd}{1,3}(?:[ \u00a0\u202f]\p{Nd}{3})+(?!\p{Nd})(?:[.,٫]\p{Nd}+)?|\p{Nd}(?:[.,:'’٫٬]?\p{Nd})*"
)
# An address is looked for from the first character of its name alone: its square would be the cost of a long word.
_LINK = regex.compile(
    r"(?:https?|ftp)://[^\s<>\"'`)\]]++|www\.[^\s<>\"'`)\]]++|(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)++"
)
_HOST = regex.compile(r"(?:[a-z]+://)?(?:www\.)?([^/?#\s]+)")


def numbers(text: str) -> Counter[str]:
    """The numbers of a text with at least two digits, as their digits alone: 1,000.5 and ١٬٠٠٠٫٥ are both 10005.

    Languages differ in separators, and write small numbers out or not as they please.
    """
    found: Counter[str] = Counter()
    for match in _NUMBER.finditer(text):
        digits = "".join(str(unicodedata.digit(c)) for c in match.group() if c.isdecimal())
        if len(digits) > 1:
            found[digits] += 1
    return found


def links(text: str) -> Counter[str]:
    """Hosts of the links in a text, and its e-mail addresses: a translated page links to its own language's pages."""
    found: Counter[str] = Counter()
    for match in _LINK.finditer(text.casefold()):
        link = match.group().rstrip(".,;:!?")
        host = _HOST.match(link)
        found[link if "@" in link or host is None else host.group(1)] += 1
    return found


def without_links(text: str) -> str:
    """The text with its links blanked, whose digits and brackets are their own affair."""
    return _LINK.sub(" ", text)


def agreement(source: Counter[str], target: Counter[str]) -> float | None:
    """Dice coefficient of two multisets: 1 when they are equal, 0 when they share nothing; None when both are empty."""
    total = source.total() + target.total()
    return 2 * (source & target).total() / total if total else None
