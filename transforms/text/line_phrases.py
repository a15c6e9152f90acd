"""Our lists of phrases that mark a line as no part of a text, compiled for RE2 (pyarrow's regular expressions)."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import as_file, files

from transforms.text.lists import read_lines

_NEITHER = r"[^\pL\pM\pN]"


@cache
def phrases(name: str) -> tuple[str, ...]:
    """The entries of a list of ours, longest first, in lower case."""
    with as_file(files("transforms.text") / "assets" / f"line_{name}.txt") as path:
        found = {line.lower() for line in read_lines(path, "text.line_filter")}
    return tuple(sorted(found, key=lambda phrase: (-len(phrase), phrase)))


def holds(*names: str) -> str:
    """A pattern for lines that hold a phrase of these lists."""
    return rf"(?i)(?:{_any(names)})"


def consists_of(*names: str) -> str:
    """A pattern for lines made of phrases of these lists alone, with anything but letters and digits between them."""
    return rf"(?i)^{_NEITHER}*(?:(?:{_any(names)})(?:{_NEITHER}+|$))+$"


def counts(name: str) -> str:
    """A pattern for lines that give a number of something listed: "3 likes", "1.2K views", "댓글 3개"."""
    number = r"\p{Nd}[\p{Nd}.,]*\s?[kmb]?"
    return rf"(?i)^{_NEITHER}*(?:{number}\s*(?:{_any([name])})|(?:{_any([name])})\s*:?\s*{number}){_NEITHER}*$"


def citation_marks() -> str:
    """A pattern for the marks that wikis put into their text, with their brackets: [1], [edit], [citation needed]."""
    marks = "|".join(_pattern(mark).replace(r"\#", r"\p{Nd}{1,4}") for mark in phrases("citations"))
    return rf"(?i)\[(?:\p{{Nd}}{{1,3}}|{marks})\]"


def _any(names: tuple[str, ...] | list[str]) -> str:
    return "|".join(_pattern(phrase) for name in names for phrase in phrases(name))


def _pattern(phrase: str) -> str:
    words = (re.escape(word).replace("'", "['’]") for word in phrase.split())
    return r"\s+".join(words)
