"""Rewards that a program can check: of an answer's text, by what a row of the data says a right one is.

Nothing that a row says is run. Its patterns are matched by RE2, which takes time linear in the text whatever the
pattern is (Cox 2010, "Regular expression matching in the wild"), so that no row can hang a run.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import SluiceError

#: characters of an answer that are looked at
MAX_CHARACTERS = 1 << 16
MAX_PATTERN = 1000
_OPTIONS = ("ignore_case", "tolerance")
_NUMBER = re.compile(
    r"(?:(?<![\d.])[-+\u2212])?(?:\d{1,3}(?:,\d{3})+(?![\d])|\d+|(?=\.\d))(?:\.\d+)?(?:[eE][-+]?\d{1,3}(?!\d))?"
)
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*)\n```", re.DOTALL)


@dataclass(frozen=True)
class Check:
    """What a right answer is; every one of `tests` has to hold."""

    tests: tuple[Callable[[str], bool], ...]

    def holds(self, answer: str) -> bool:
        """Whether an answer, its reasoning left out, is right."""
        return len(answer) <= MAX_CHARACTERS and all(test(answer) for test in self.tests)


def read_check(answer: str | None, check: Any) -> Check:
    """The check of a task's row: `answer` is to be equalled, `check` is an object of one or more kinds, or its JSON.

    equals, contains: a text · regex: a pattern (RE2) that is found · number: the last number in the answer, up to
    `tolerance` · json: the value that the answer is. `ignore_case` goes for texts and patterns.
    Raises SluiceError for anything else.
    """
    given = _object(check)
    options = {name: given.pop(name) for name in _OPTIONS if name in given}
    ignore_case, tolerance = options.get("ignore_case", False), options.get("tolerance", 0)
    if type(ignore_case) is not bool:
        raise SluiceError(f"`check`: ignore_case is {ignore_case!r:.60}, neither true nor false")
    tests = [] if answer is None else [_equals(answer, ignore_case)]
    for kind, value in given.items():
        if kind == "number":
            tests.append(_number(value, tolerance))
        elif kind == "json":
            tests.append(_json(value))
        elif kind in _TEXTS:
            if not isinstance(value, str) or not value:
                raise SluiceError(f"`check`: {kind} is {value!r:.60}, not a text")
            tests.append(_TEXTS[kind](value, ignore_case))
        else:
            kinds = ", ".join([*_TEXTS, "number", "json"])
            raise SluiceError(f"`check`: {kind!r:.60} is none of {kinds}")
    if not tests:
        raise SluiceError("`check` names nothing to be checked")
    return Check(tuple(tests))


def is_well_formed(text: str, is_thinking: bool) -> bool:
    """Whether an answer, control tokens written out, thinks in one closed block first and then says something.

    is_thinking: whether the prompt opened the block already.
    """
    text = text.strip()
    if not is_thinking:
        if not text.startswith("<think>"):
            return False
        text = text.removeprefix("<think>")
    thoughts, end, said = text.partition("</think>")
    return bool(end and thoughts.strip() and said.strip()) and not any(
        mark in part for mark in ("<think>", "</think>") for part in (thoughts, said)
    )


def last_number(text: str) -> Fraction | None:
    """The last number in a text, exactly: 1,234.5 and -2e3 are numbers, 1/2 is two of them; None without any."""
    found = _NUMBER.findall(text)
    try:
        return Fraction(found[-1].replace(",", "").replace("\u2212", "-")) if found else None
    except ValueError:  # more digits than Python reads
        return None


def _object(check: Any) -> dict[str, Any]:
    if isinstance(check, str):
        try:
            check = json.loads(check, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise SluiceError(f"`check` is a text, but no JSON ({error})") from error
    if check is not None and not isinstance(check, dict):
        raise SluiceError(f"`check` is {check!r:.60}, not an object such as {{'contains': 'blue'}}")
    # a column of Parquet fills in what other rows have
    return {str(kind): value for kind, value in (check or {}).items() if value is not None}


def _plain(text: str, ignore_case: bool) -> str:
    """A text as it is compared: composed, without white space at its ends."""
    text = unicodedata.normalize("NFC", text).strip()
    return text.casefold() if ignore_case else text


def _equals(value: str, ignore_case: bool) -> Callable[[str], bool]:
    wanted = _plain(value, ignore_case)
    return lambda answer: _plain(answer, ignore_case) == wanted


def _contains(value: str, ignore_case: bool) -> Callable[[str], bool]:
    wanted = _plain(value, ignore_case)
    return lambda answer: wanted in _plain(answer, ignore_case)


def _regex(pattern: str, ignore_case: bool) -> Callable[[str], bool]:
    if len(pattern) > MAX_PATTERN:
        raise SluiceError(f"`check`: regex has {len(pattern):,} characters; {MAX_PATTERN:,} are allowed")

    def found(answer: str) -> bool:
        return bool(pc.match_substring_regex(pa.array([answer]), pattern, ignore_case=ignore_case)[0].as_py())

    try:
        found("")
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise SluiceError(f"`check`: {pattern!r:.80} is no pattern of RE2 ({str(error)[:200]})") from error
    return found


#: kind -> what makes the test of a text
_TEXTS: dict[str, Callable[[str, bool], Callable[[str], bool]]] = {
    "equals": _equals,
    "contains": _contains,
    "regex": _regex,
}


def _number(value: Any, tolerance: Any) -> Callable[[str], bool]:
    wanted, allowed = _exact(value, "number"), _exact(tolerance, "tolerance")

    def test(answer: str) -> bool:
        found = last_number(answer)
        return found is not None and abs(found - wanted) <= allowed

    return test


def _exact(value: Any, name: str) -> Fraction:
    """A number as it is written: 0.1 is a tenth."""
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        found = Fraction(str(value)) if isinstance(value, int | float) else last_number(value)
        if found is None or (isinstance(value, str) and _NUMBER.fullmatch(value.strip()) is None):
            raise ValueError
    except ValueError as error:
        raise SluiceError(f"`check`: {name} is {value!r:.60}, not a number") from error
    return found


def _json(value: Any) -> Callable[[str], bool]:
    def test(answer: str) -> bool:
        fenced = _FENCE.fullmatch(answer.strip())
        try:
            found = json.loads(fenced[1] if fenced else answer, parse_constant=_no_constant)
            return _is_same(found, value)
        except (ValueError, RecursionError):
            return False

    return test


def _is_same(one: Any, other: Any) -> bool:
    """Equality of JSON values: 1 and 1.0 are one number, true is none."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
