"""Lists of flagged words by language, and how often their words are in a text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path

import regex

from schemas.errors import RecipeError
from schemas.sample import SENTINEL
from transforms.text.language_codes import code_of
from transforms.text.lists import open_binary, read_lines

_STEP = "text.toxicity"
#: languages written without spaces: their entries are looked for anywhere, as C4 and mC4 do
UNSPACED = frozenset(("ja", "th", "zh", "lo", "km", "my"))
_TOKEN = regex.compile(r"[\p{L}\p{M}\p{N}_]+", regex.V1)
_LETTER = regex.compile(r"\p{L}\p{M}*", regex.V1)


class Words:
    """A text of `fold`, and its words, which several lists are held against."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words: list[str] = _TOKEN.findall(text)
        self.distinct = frozenset(self.words)

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """Where the words are."""
        return [token.span() for token in _TOKEN.finditer(self.text)]


@dataclass(frozen=True, slots=True)
class WordList:
    """The flagged entries of one language.

    `by_first`: those made of words, by their first word, as (all words, the entry as written), the longest first;
    `anywhere`: one pattern for those that words cannot tell, None when there are none.
    """

    by_first: Mapping[str, list[tuple[tuple[str, ...], str]]]
    anywhere: regex.Pattern[str] | None

    def count(self, text: Words) -> tuple[int, int, str | None]:
        """(entries found, words or letters in them, the first of them)."""
        hits, size, first = 0, 0, None
        if not self.by_first.keys().isdisjoint(text.distinct):
            at = 0
            while at < len(text.words):
                entry = self._entry_at(text, at) if text.words[at] in self.by_first else None
                if entry is None:
                    at += 1
                    continue
                hits, size, first = hits + 1, size + len(entry[0]), first or entry[1]
                at += len(entry[0])
        if self.anywhere is not None:
            for match in self.anywhere.finditer(text.text):
                hits, size, first = hits + 1, size + max(1, len(_LETTER.findall(match[0]))), first or match[0]
        return hits, size, first

    def _entry_at(self, text: Words, at: int) -> tuple[tuple[str, ...], str] | None:
        """The longest entry that begins with word `at`, spelled as the list has it (white space aside)."""
        for words, spelled in self.by_first[text.words[at]]:
            if tuple(text.words[at : at + len(words)]) == words:
                found = text.text[text.spans[at][0] : text.spans[at + len(words) - 1][1]]
                if " ".join(found.split()) == spelled:
                    return words, spelled
        return None


def fold(text: str) -> str:
    """The form in which texts and entries are compared: NFC, lower case by Unicode's full folding, no sentinels."""
    return unicodedata.normalize("NFC", text.replace(SENTINEL, " ")).casefold()


def num_words(text: Words, unspaced: bool) -> int:
    """How many words a text has; letters in languages without spaces."""
    return len(_LETTER.findall(text.text)) if unspaced else len(text.words)


def own_lists() -> dict[str, list[str]]:
    """The lists that ship with the package."""
    found: dict[str, list[str]] = {}
    with as_file(files("transforms.text") / "assets" / "flagged_words.txt") as path:
        for line in read_lines(path, _STEP):
            if line.startswith("["):
                entries = found.setdefault(line.strip("[]"), [])
            else:
                entries.append(line)
    return found


def read_lists(path: str) -> dict[str, list[str]]:
    """LDNOOBW's layout: a folder with one file a language, named by its code (`en`, or `en.txt`); or one such file."""
    where = Path(path)
    if not where.is_dir():
        open_binary(where, _STEP).close()
    found = {}
    for file in sorted(where.iterdir()) if where.is_dir() else [where]:
        code = file.name.removesuffix(".gz").removesuffix(".txt")
        if file.is_file() and regex.fullmatch("[a-z]{2,3}(?:[-_][A-Za-z]+)?", code):
            found[code_of(code)] = list(read_lines(file, _STEP))
    if not found:
        what = "has no file" if where.is_dir() else "is not"
        raise RecipeError(f"{_STEP}: {path!r} {what} named by a language code, such as 'en' or 'en.txt'")
    return found


def word_list(language: str, entries: Iterable[str], allow: Iterable[str]) -> WordList:
    """The entries of a language but for the allowed ones, ready to count."""
    allowed = {fold(entry) for entry in allow}
    wanted = sorted({" ".join(fold(entry).split()) for entry in entries} - allowed - {""})
    by_first: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    anywhere = []
    for entry in wanted:
        words = tuple(_TOKEN.findall(entry))
        solid = bool(words) and entry.startswith(words[0]) and entry.endswith(words[-1])
        if language in UNSPACED:
            anywhere.append(regex.escape(entry))
        elif solid:
            by_first.setdefault(words[0], []).append((words, entry))
        else:  # such as "a$$": its words alone are others
            left = r"(?<![\p{L}\p{N}])" if words and entry.startswith(words[0]) else ""
            right = r"(?![\p{L}\p{N}])" if words and entry.endswith(words[-1]) else ""
            anywhere.append(left + regex.escape(entry) + right)
    for same in by_first.values():
        same.sort(key=lambda entry: (-len(entry[0]), entry[1]))
    longest_first = sorted(anywhere, key=lambda entry: (-len(entry), entry))
    pattern = regex.compile("|".join(longest_first)) if anywhere else None
    return WordList(by_first, pattern)
