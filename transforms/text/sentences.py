"""Where sentences end: terminal marks of all scripts, and two ways to count sentences."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache

import regex

from transforms.text.english import split_english

_TERMINAL = regex.compile(r"\p{Sentence_Terminal}")
# Marks that have the property since Unicode 15.1 only, and marks that had it before and are not in spaCy's list.
_LATER = r"\u1b4e\u1b4f\u1b7f\u2024\u2cf9-\u2cfb\u2e60\u2e61\ufe12\ufe15\ufe16\U000113d4\U000113d5\U00016d6e\U00016d6f"
_NOT_SPACYS = (
    r"\u061d\u061e\u0837\u0839\u083d\u083e\u17d4\u17d5\u1b7d\u1b7e\u2e53\u2e54\U00010f55-\U00010f59"
    r"\U00010f86-\U00010f89\U00011944\U00011946\U00011ef7\U00011ef8\U00011f43\U00011f44\U00016e98"
)
#: the marks that end a sentence for spaCy, and a line for datatrove, which adds three Khmer signs
SPACY_TERMINAL = rf"[\p{{Sentence_Terminal}}--[{_LATER}{_NOT_SPACYS}]]"
DATATROVE_TERMINAL = rf"[[\p{{Sentence_Terminal}}--[{_LATER}]]៖៙៚]"

# A full stop after one of these, or after a single letter, seldom ends a sentence.
_ABBREVIATION = regex.compile(
    r"\b(?:\p{L}|Mr|Mrs|Ms|Dr|Prof|Gen|Rep|Sen|Gov|Rev|Hon|St|Jr|Sr|vs|cf|al|fig|no|Inc|Ltd|Co|Corp|approx|ca)\.$",
    regex.IGNORECASE,
)
_CLOSERS = r"[\p{Pe}\p{Pf}\p{Pi}\"'”’]*+"
# ASCII marks end a sentence before white space; marks of scripts that use no spaces, wherever they stand.
_END = regex.compile(
    rf"(?<![.!?…])[.!?…]++{_CLOSERS}(?=\s|$)|[\p{{Sentence_Terminal}}--[.!?]]++{_CLOSERS}"
    r"|(?<=[\p{Script=Thai}\p{Script=Lao}])\s++(?=[\p{Script=Thai}\p{Script=Lao}])",
    regex.V1,
)
# Thai and Lao have no terminal marks; a space in running text ends a clause or sentence.
_MARKLESS = regex.compile(r"[\p{Script=Thai}\p{Script=Lao}]")
_NEXT = regex.compile(r"\S")
_TEXT = regex.compile(r"[\p{L}\p{N}]")


@cache
def terminal_marks() -> frozenset[str]:
    """Every character with Unicode's Sentence_Terminal property: . ! ? 。 ！ ？ ؟ । ۔ ። and the rest."""
    return _all_of(_TERMINAL.pattern)


@cache
def spacy_marks() -> frozenset[str]:
    """Every character that ends a sentence for spaCy's sentencizer."""
    return _all_of(SPACY_TERMINAL)


@cache
def datatrove_marks() -> frozenset[str]:
    """Every character that is terminal punctuation for datatrove."""
    return _all_of(DATATROVE_TERMINAL)


def _all_of(pattern: str) -> frozenset[str]:
    return frozenset(regex.findall(pattern, "".join(map(chr, range(sys.maxunicode + 1))), regex.V1))


def ends_sentence(line: str) -> bool:
    """Whether a line ends in any script's terminal mark, or in a letter of a script that has none (Thai, Lao)."""
    return line[-1:] in terminal_marks() or _MARKLESS.match(line[-1:]) is not None


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where sentences begin and end, those that hold a letter or digit; for every script with terminal marks.

    A full stop ends no sentence after a common abbreviation or initial, nor before a lower-case letter. What follows
    the last mark is a sentence too.
    """
    start = 0
    for end in _END.finditer(text):
        if end.group()[0] == "." and _is_inside(text, end.start(), end.end(), start):
            continue
        if _TEXT.search(text, start, end.end()):
            yield start, end.end()
        start = end.end()
    if _TEXT.search(text, start):
        yield start, len(text)


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, without white space around them; a line end always ends one."""
    return [line[start:end].strip() for line in text.splitlines() for start, end in sentence_spans(line)]


def count_sentences(text: str) -> int:
    """Sentences in a text, about as NLTK's punkt counts English ones, and for every script with terminal marks."""
    return sum(1 for _ in sentence_spans(text))


def _is_inside(text: str, stop: int, end: int, start: int) -> bool:
    """Whether the full stop at `stop` lies inside a sentence that began at `start`."""
    following = _NEXT.search(text, end)
    if following is None:
        return False
    return following.group().islower() or _ABBREVIATION.search(text, max(start, stop - 8), stop + 1) is not None


def count_sentences_spacy(text: str) -> int:
    """Sentences as spaCy's rule-based sentencizer counts them on English tokens, which is what datatrove uses.

    A sentence ends with a token that is a terminal mark; marks and closing punctuation after it belong to it. No
    token is cut off inside a run of Chinese, and Thai and Lao have no marks: most lines in them are one sentence.
    """
    marks = spacy_marks()
    count, seen_end, pending = 0, False, False
    for token in split_english(text):
        is_end = token in marks
        if seen_end and not is_end and not _is_punctuation(token):
            count += 1
            seen_end = False
        seen_end = seen_end or is_end
        pending = True
    return count + pending


_PUNCTUATION = regex.compile(r"\p{P}+")


def _is_punctuation(token: str) -> bool:
    return _PUNCTUATION.fullmatch(token) is not None
