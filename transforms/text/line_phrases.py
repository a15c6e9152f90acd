"""Our lists of phrases that mark a line as no part of a text, compiled for RE2 (pyarrow's regular expressions)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import as_file, files

from transforms.text.lists import read_lines

_LATIN = re.compile("[a-z]")
_NEITHER = r"[^\pL\pM\pN]"


@cache
def phrases(name: str) -> tuple[str, ...]:
    """The entries of a list of ours, longest first, in lower case."""
    with as_file(files("transforms.text") / "assets" / f"line_{name}.txt") as path:
        found = {line.lower() for line in read_lines(path, "text.line_filter")}
    return tuple(sorted(found, key=lambda phrase: (-len(phrase), phrase)))


def holds(*names: str) -> list[str]:
    """Patterns for lines that hold a phrase of these lists."""
    return [f"(?i){either}" for either in _by_script(names)]


def consists_of(*names: str) -> list[str]:
    """Patterns for lines made of phrases of these lists alone, with anything but letters and digits between them."""
    return [rf"(?i)^{_NEITHER}*(?:{either}(?:{_NEITHER}+|$))+$" for either in _by_script(names)]


def counts(name: str) -> str:
    """A pattern for lines that give a number of something listed: "3 likes", "1.2K views", "댓글 3개"."""
    number = r"\p{Nd}[\p{Nd}.,]*\s?[kmb]?"
    either = _either(phrases(name))
    return rf"(?i)^{_NEITHER}*(?:{number}\s*{either}|{either}\s*:?\s*{number}){_NEITHER}*$"


def citation_marks() -> str:
    """A pattern for the marks that wikis put into their text, with their brackets: [1], [edit], [citation needed]."""
    marks = "|".join(_pattern(mark).replace(r"\#", r"\p{Nd}{1,4}") for mark in phrases("citations"))
    return rf"(?i)\[(?:\p{{Nd}}{{1,3}}|{marks})\]"


def _by_script(names: tuple[str, ...]) -> list[str]:
    """Patterns for a phrase of these lists: Latin ones, and the others. All in one would be more than RE2 makes an
    automaton of, and cost ten times as much."""
    listed = [phrase for name in names for phrase in phrases(name)]
    latin = [phrase for phrase in listed if _LATIN.search(phrase)]
    return [_either(some) for some in (latin, [p for p in listed if p not in set(latin)]) if some]


def _either(some: Iterable[str]) -> str:
    return f"(?:{'|'.join(map(_pattern, some))})"


def _pattern(phrase: str) -> str:
    words = (re.escape(word).replace("'", "['’]") for word in phrase.split())
    return r"\s+".join(words)
