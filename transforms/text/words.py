"""What a word is, three ways: by whitespace, by UAX #29, and (in transforms.text.english) as datatrove splits English.

Han, hiragana, katakana, Thai, Lao, Khmer and Myanmar are written without spaces between words. A run of them is not
one word: each of its letters, with the marks on it, counts as one. UAX #29 without a dictionary does so by itself
(except that it keeps a run of katakana together), and the split by whitespace is extended to, so that a Chinese page
is not "too few words". On text without these scripts both are exactly their references. English words are as
datatrove's, which takes a run of such letters for one word: the presets that are called so have its verdicts.
"""

from __future__ import annotations

import re

import regex

from transforms.signals import Document

_UNSPACED = (
    r"[[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}"
    r"\p{Script=Myanmar}ー]&&[\p{L}\p{N}]]"
)
_HAS_UNSPACED = regex.compile(_UNSPACED, regex.V1)
# The blocks those scripts lie in, which are quicker to look for.
_MAY_HAVE_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\u2e80-\U0010ffff]")
_NO_LENGTH = regex.compile(rf"{_UNSPACED}|\p{{Script=Hangul}}", regex.V1)
_IDEOGRAPHIC = regex.compile(r"[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]", regex.V1)
_SOUTHEAST_ASIAN = regex.compile(r"[\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]", regex.V1)
_PIECES = regex.compile(rf"{_UNSPACED}\p{{M}}*|(?:(?!{_UNSPACED}).)+", regex.V1 | regex.DOTALL)

# UAX #29 revision 43, rules WB4 to WB13b, as one pattern. The `regex` module's own \b with the WORD flag is not
# used: it also breaks between an apostrophe and a vowel, which the standard does not.
_EXTEND = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*+"
_LETTER = rf"[\p{{WB=ALetter}}\p{{WB=Hebrew_Letter}}]{_EXTEND}"
_NUMBER = rf"\p{{WB=Numeric}}{_EXTEND}"
_KATAKANA = rf"\p{{WB=Katakana}}{_EXTEND}"
_JOINER = rf"\p{{WB=ExtendNumLet}}{_EXTEND}"
_IN_LETTERS = rf"(?:[\p{{WB=MidLetter}}\p{{WB=MidNumLet}}\p{{WB=Single_Quote}}]{_EXTEND})?+"
_IN_NUMBERS = rf"(?:[\p{{WB=MidNum}}\p{{WB=MidNumLet}}\p{{WB=Single_Quote}}]{_EXTEND})"
_LETTERS = rf"{_LETTER}(?:{_IN_LETTERS}{_LETTER})*"
_NUMBERS = rf"{_NUMBER}(?:{_IN_NUMBERS}?{_NUMBER})*"
_RUN = rf"(?:(?:{_KATAKANA})++|(?:{_LETTERS}|{_NUMBERS})++)"
_TAIL = rf"(?:(?:{_JOINER})++(?:{_RUN})?)*+"
# Joiners alone ("____") match too, so that a long run of them is passed over once. The last alternative is a letter
# of no word-break class (Han, Thai, ...) with its marks.
_WORD = regex.compile(rf"{_RUN}{_TAIL}|(?:{_JOINER})++(?:{_RUN}{_TAIL})?|[\p{{L}}\p{{N}}]{_EXTEND}", regex.V1)


def split_unspaced(words: list[str]) -> list[str]:
    """The words, with every run of an unspaced script cut into its letters."""
    pieces: list[str] = []
    for word in words:
        if word.isascii() or not _HAS_UNSPACED.search(word):
            pieces.append(word)
        else:
            pieces.extend(_PIECES.findall(word))
    return pieces


def has_no_length(word: str) -> bool:
    """Whether a word's characters are no measure of its length: unspaced scripts, and Hangul's syllable blocks."""
    return not word.isascii() and _NO_LENGTH.match(word) is not None


def letters_per_word(words: list[str]) -> int:
    """How many of these words make up one word of the kind that n-gram rules were tuned on.

    1, unless most are letters of unspaced scripts: then 2 for Han and kana, 4 for Thai, Lao, Khmer and Myanmar, about
    the mean length of a dictionary word in them. Five letters in a row recur in any long Chinese page, as five
    English words do not.
    """
    if all(map(str.isascii, words)):
        return 1
    ideographic = sum(_IDEOGRAPHIC.match(word) is not None for word in words)
    southeast_asian = sum(_SOUTHEAST_ASIAN.match(word) is not None for word in words)
    if (ideographic + southeast_asian) * 2 <= len(words):
        return 1
    return 2 if ideographic >= southeast_asian else 4


def split_whitespace(text: str) -> list[str]:
    """`str.split`, then unspaced scripts by letter."""
    words = text.split()
    return split_unspaced(words) if _MAY_HAVE_UNSPACED.search(text) else words


def split_unicode(text: str) -> list[str]:
    """UAX #29 words that begin with a letter or digit (punctuation and spaces are dropped, as DCLM does)."""
    return [word for word in _WORD.findall(text) if word[0].isalnum()]


def whitespace_words(document: Document) -> list[str]:
    """View: `split_whitespace` of the document."""
    return split_whitespace(document.text)


def unicode_words(document: Document) -> list[str]:
    """View: `split_unicode` of the document."""
    return split_unicode(document.text)
