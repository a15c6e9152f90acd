"""Telephone numbers: international ones by ITU-T E.164, national ones by their grouping or by the word before them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

Span = tuple[int, int]

#: country calling codes of one and two digits; every other that begins so has three (ITU-T E.164 list of 2016)
_ONE = frozenset("17")
_TWO = re.compile(r"2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]")
_THREE = re.compile(r"2[1-689]|3[578]|42|5[09]|6[789]|8[0578]|9[679]")

# Before a number: no word, no number that goes on. After it: neither.
_BEFORE = r"(?<![\w.,/=+#$€£¥%&-])"
_AFTER = r"(?![\w%°€$£]|[.,/:=-][0-9])"
_SEP = r"[ \u00a0.\-‐‑–/]"
_AFTER_CHARS = 2
_INTERNATIONAL = re.compile(
    rf"(?<![\w+/=-])(?:\+|(?<![0-9]{_SEP})(?:00|011)(?=[ -]?[1-9])){_SEP}?\(?[1-9]"
    rf"(?:{_SEP}?(?:\([0-9]{{1,5}}\){_SEP}?)?[0-9]){{6,14}}{_AFTER}"
)
#: national groupings that little else has
_GROUPED = re.compile(
    _BEFORE
    + "(?:"
    + "|".join(
        (
            # North America: (415) 555-2671, 415-555-2671, 1-415-555-2671, 415.555.2671
            r"(?:1[ .-]?)?\([1-9][0-9]{2}\)[ -]?[0-9]{3}[ .-][0-9]{4}",
            r"(?:1-)?[1-9][0-9]{2}-[0-9]{3}-[0-9]{4}",
            r"(?:1\.)?[2-9][0-9]{2}\.[2-9][0-9]{2}\.[0-9]{4}",
            # area code with its trunk 0, or Brazil's of two digits, in brackets: (020) 7946 0958, (11) 98765-4321
            r"\(0[0-9]{1,4}\)[ -]?[0-9]{2,4}[ -]?[0-9]{2,4}(?:[ -]?[0-9]{2,4})?",
            r"\([1-9][0-9]\) ?9?[0-9]{4}[ -][0-9]{4}",
            # Japan, Korea, Taiwan: 03-1234-5678, 090-1234-5678
            r"0[0-9]{1,3}-[0-9]{3,4}-[0-9]{4}",
            # France: 06 12 34 56 78
            r"0[1-9](?:([ .-])[0-9]{2})(?:\1[0-9]{2}){3}",
            # Chinese mobiles: 138 1234 5678
            r"1[3-9][0-9]([ -])[0-9]{4}\2[0-9]{4}",
        )
    )
    + ")"
    + _AFTER
)
#: any other run of digits, brackets and separators, if a word says what it is
_NAMED = re.compile(
    rf"(?<![\w.,+])(?<![0-9]{_SEP})\(?[0-9](?:{_SEP}?(?:[()]{_SEP}?)?[0-9]){{6,12}}(?![\w%°€$£]|[.,:=][0-9]|{_SEP}[0-9])"
)
_WORDS = (
    r"\b(?:tele)?(?:phones?|fax)\b|\btel(?:ef[oó]no?s?|efoon|efon|éfono|éphone)?\b|\btél|\bmobiles?\b|\bm[óo]vil\b"
    r"|\bcall(?: (?:us|me|now|today|free|toll[ -]free))*(?: at| on)?[ :]|\bcell(?: ?phone)?[.:]|\bhandy\b|\bcelular\b"
    r"|\bportable ?:|\bhotline\b|\bwhats ?app\b|\bsms\b|\btext (?:us|me)\b|\brufnummer\b|\bтел(?:ефон\w{0,3})?\b"
    r"|\bмоб\.|\bфакс\b|\bτηλ(?:έφωνο)?\b|هاتف|تلفن|جوال|טלפון|फ़ोन|फोन|मोबाइल|โทร(?:ศัพท์)?[.: ]|điện thoại"
    r"|电话|電話|手机|手機|传真|傳真|携帯|전화|휴대폰|팩스"
)
_NAME_BEFORE = re.compile(rf"(?:{_WORDS})[^0-9\n]{{0,12}}\Z", re.IGNORECASE)
_CONTEXT_CHARS = 40
#: dates, spans of years, IPv4 addresses
_YEAR = r"(?:19|20)[0-9]{2}"
_NO_PHONE = re.compile(
    rf"{_YEAR}[-/.][01]?[0-9][-/.][0-3]?[0-9]|[0-3]?[0-9][-/.][01]?[0-9][-/.]{_YEAR}|{_YEAR}\D{{1,2}}{_YEAR}"
    r"|[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
)


# Whatever is a telephone number lies in one run of these characters; runs are apart, so searching them is linear.
_RUN = re.compile(r"[+(0-9][0-9 \u00a0().\-‐‑–/]{6,}")
_SEVEN_DIGITS = re.compile(r"(?:[^0-9]*+[0-9]){7}")


def find_phones(text: str) -> Iterator[Span]:
    """Telephone numbers, in order and apart; those reserved for fiction (555-01xx, Ofcom's) are no one's."""
    found: list[Span] = []
    for run in _RUN.finditer(text):
        start, end = run.span()
        if _SEVEN_DIGITS.match(text, start, end):
            for pattern, accepts in _KINDS:
                for match in pattern.finditer(text, start, end + _AFTER_CHARS):
                    digits = _digits(match[0])
                    if accepts(text, match, digits) and not is_fictional(digits):
                        found.append(match.span())
    end = 0
    for span in sorted(found):
        if span[0] >= end:
            yield span
            end = span[1]


def is_fictional(digits: str) -> bool:
    """Whether a number's digits are among those never given out: 555-0100 to 0199, and London's 7946 0xxx."""
    national = digits.removeprefix("1") if len(digits) == 11 else digits
    return (len(national) == 10 and national[3:8] == "55501") or digits[:-3].endswith("2079460")


def _digits(text: str) -> str:
    return re.sub(r"[^0-9]", "", text)


def _international(text: str, match: re.Match[str], digits: str) -> bool:
    if not match[0].startswith("+"):
        digits = digits.removeprefix("011") if digits.startswith("011") else digits.removeprefix("00")
    if digits[0] in _ONE:
        length = 11 if digits[0] == "7" or re.match("1[2-9][0-9]{2}[2-9]", digits) else 0
        return len(digits) == length
    return 9 <= len(digits) <= 15 and (_TWO.match(digits) is not None or _THREE.match(digits) is not None)


def _grouped(text: str, match: re.Match[str], digits: str) -> bool:
    return 9 <= len(digits) <= 12


def _named(text: str, match: re.Match[str], digits: str) -> bool:
    if not 7 <= len(digits) <= 13 or _NO_PHONE.fullmatch(match[0]):
        return False
    return _NAME_BEFORE.search(text, max(0, match.start() - _CONTEXT_CHARS), match.start()) is not None


_Accepts = Callable[[str, "re.Match[str]", str], bool]
_KINDS: tuple[tuple[re.Pattern[str], _Accepts], ...] = (
    (_INTERNATIONAL, _international),
    (_GROUPED, _grouped),
    (_NAMED, _named),
)
