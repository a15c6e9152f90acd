"""English words as spaCy's blank English pipeline splits them, which is what datatrove counts.

An independent implementation of spaCy's documented algorithm (Tokenizer: whitespace, then exceptions, prefixes,
suffixes, URLs and infixes), with character classes from Unicode and most exceptions made by rule.
The agreement with datatrove is measured (benchmarks.parity), not assumed; it is close, not exact (rare abbreviations,
units in other scripts, drawn emoticons). datatrove strips tokens and drops blank ones, and so does this.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.resources import files

import regex

from transforms.signals import Document
from transforms.text.words import split_unspaced

# Double-quote-like and bracket marks that spaCy counts among the quotes; "," is among them in its table.
QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉⟦⟧"
MARKS = r"…,:;!?¿؟¡()\[\]{}<>_#*&。？！，、；：～·।،۔؛٪"
ICONS = r"\p{So}"
CURRENCY = r"[$£€¥฿₽﷼₴₠-₿]"
_CURRENCIES = rf"{CURRENCY}|US\$|C\$|A\$"
# Letters, to spaCy, are those of three scripts with case, and whole blocks of some scripts without, with their marks
# and digits; letters of other scripts (Armenian, Thai, Gujarati) are none, so that a full stop stays on their words.
_CASED = r"[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}]"
_CASELESS = (
    r"\u0591-\u05bd\u05bf-\u05f4\u0620-\u064a\u066e-\u06d3\u06d5\u06e5-\u06e8\u06ea-\u06fc\u06ff"
    r"\u0750-\u077f\u08a0-\u08bd\u0900-\u09f1\u09f4-\u09f9\u09fc-\u09ff\u0b80-\u0bf2\u0bfb-\u0c7e"
    r"\u0c80-\u0cff\u0d80-\u0dff\u1100-\u137f\u3005-\u3007\u3021-\u302f\u3031-\u3035\u3038-\u303c\u3040-\u309f\u30a1-\u30fa"
    r"\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\ufb1d-\ufbb1\ufbd3-\ufd3d\ufd50-\ufdc7"
    r"\ufdf0-\ufdfb\ufe70-\ufefc\U00020000-\U0002a6df\U0002a700-\U0002ebef\U0002f800-\U0002fa1f"
)
LOWER = rf"[\p{{Ll}}&&{_CASED}]{_CASELESS}"
UPPER = rf"[\p{{Lu}}&&{_CASED}]{_CASELESS}"
LETTERS = rf"[[\p{{Ll}}\p{{Lu}}]&&{_CASED}]{_CASELESS}"
_UNITS = (
    "km²|km³|km|m²|m³|m/s|m|dm²|dm³|dm|cm²|cm³|cm|mm²|mm³|mm|ha|µm|nm|yd|in|ft|kg|g|mg|µg|t|lb|oz|km/h|kmh|mph|hPa|Pa|"
    "mbar|mb|MB|kb|KB|gb|GB|tb|TB|T|G|M|K|%"
)

_PREFIX = regex.compile(
    rf"§|%|=|—|–|\+(?![0-9])|\.\.+|[{MARKS}]|[{regex.escape(QUOTES)}]|{_CURRENCIES}|{ICONS}", regex.V1
)
_SUFFIX = regex.compile(
    rf"(?:\.\.+|[{MARKS}]|[{regex.escape(QUOTES)}]|{ICONS}|['’][sS]|—|–"
    rf"|(?<=[0-9])\+|(?<=°[FfCcKk])\.|(?<=[0-9])(?:{_CURRENCIES})|(?<=[0-9])(?:{_UNITS})"
    rf"|(?<=[0-9{LOWER}%²\-+{MARKS}{regex.escape(QUOTES)}])\.|(?<=[{UPPER}][{UPPER}])\.)$",
    regex.V1,
)
_INFIX = regex.compile(
    rf"\.\.+|…|{ICONS}|(?<=[0-9])[+\-*^](?=[0-9-])"
    rf"|(?<=[{LOWER}{regex.escape(QUOTES)}])\.(?=[{UPPER}{regex.escape(QUOTES)}])"
    rf"|(?<=[{LETTERS}]),(?=[{LETTERS}])|(?<=[{LETTERS}0-9])(?:---|--|——|[-–—~])(?=[{LETTERS}])"
    rf"|(?<=[{LETTERS}0-9])[:<>=/](?=[{LETTERS}])",
    regex.V1,
)
_URL = regex.compile(
    rf"(?:[\w+.\-]{{2,}}://)?(?:\S+@)?"
    rf"(?:(?:[1-9]\d{{0,2}})(?:\.\d{{1,3}}){{3}}"
    rf"|(?:(?:[A-Za-z0-9\u00a1-\uffff][A-Za-z0-9\u00a1-\uffff_-]{{0,62}})?[A-Za-z0-9\u00a1-\uffff]\.)+[{LOWER}]{{2,63}})"
    rf"(?::\d{{2,5}})?(?:[/?#]\S*)?",
    regex.V1,
)


_SUBJECTS = ("i", "you", "he", "she", "it", "we", "they", "who", "what", "when", "where", "why", "how")
_POINTERS = ("there", "that", "this", "these", "those")
_MODAL = ("could", "might", "must", "should", "would")
_NEGATED = (*_MODAL, "ca", "do", "does", "did", "had", "may", "need", "ought", "sha", "wo")
_NEGATED_ONLY = ("ai", "are", "is", "was", "were", "has", "have", "dare")
#: written without their apostrophe, these contractions are words of their own, and stay whole
_WORDS = frozenset({"ill", "shell", "well", "hell", "shed", "were", "whore", "its", "lets"})
_LONGEST_WHOLE = 4  # tokens
_EXCEPTION_CHARS = 16  # no exception is longer
_SUFFIX_CHARS = 8  # no suffix is longer, but for dots
_URL_CHARS = 2048  # the pattern's cost grows with the square of the length
_CACHED_CHARS = 64  # longer chunks are rare, and would fill the cache


@cache
def exceptions() -> dict[str, tuple[str, ...]]:
    """Chunks that split in a fixed way (contractions, clock times), or not at all (abbreviations, emoticons)."""
    made: dict[str, tuple[str, ...]] = {}

    def add(*parts: str) -> None:
        """A contraction, also capitalised, with a typographic apostrophe, and without any."""
        bare = tuple(part.replace("'", "") for part in parts)
        for form in (parts, bare) if "".join(bare) not in _WORDS else (parts,):
            for cased in (form, (form[0].capitalize(), *form[1:])):
                made["".join(cased)] = cased
                made["".join(cased).replace("'", "’")] = tuple(part.replace("'", "’") for part in cased)

    for subject in (*_SUBJECTS, *_POINTERS):
        add(subject, "'ll")
        add(subject, "'d")
        add(subject, "'ll", "'ve")
        add(subject, "'d", "'ve")
        if subject not in ("he", "she", "it", "that", "this"):
            add(subject, "'ve")
        if subject not in ("i", "he", "she", "it", "that", "this"):
            add(subject, "'re")
        if subject not in ("i", "you", "we", "they", "these", "those"):
            add(subject, "'s")
    add("i", "'m")
    add("i", "'m", "a")
    for verb in (*_NEGATED, *_NEGATED_ONLY):
        add(verb, "n't")
    for verb in _NEGATED:
        add(verb, "n't", "'ve")
    for verb in (*_MODAL, "not"):
        add(verb, "'ve")
    add("let", "'s")
    for first, second in (("can", "not"), ("c'm", "on"), ("gon", "na"), ("got", "ta")):
        add(first, second)
    made |= {"y'all": ("y'", "all"), "y’all": ("y’", "all"), "yall": ("y", "all")}
    for hour in range(1, 13):
        made |= {f"{hour}{half}": (str(hour), half) for half in ("am", "pm", "a.m.", "p.m.")}
    kept = files("transforms.text").joinpath("assets/english_whole.txt").read_text(encoding="utf-8").split()
    kept += [f"{letter}." for letter in "abcdefghijklmnopqrstuvwxyzäöü"]
    return made | {word: (word,) for word in kept}


def split_chunk(chunk: str) -> tuple[str, ...]:
    """The tokens of a piece of text without whitespace."""
    return _split_short(chunk) if len(chunk) <= _CACHED_CHARS else _split(chunk)


def _split(chunk: str) -> tuple[str, ...]:
    """Peels prefixes and suffixes off chunk[start:stop] until nothing gives, or the rest is an exception.

    Bounds move instead of strings being cut, so that a chunk of a million brackets takes a million steps, not their
    square.
    """
    whole = exceptions()
    before: list[str] = []
    after: list[str] = []
    start, stop = 0, len(chunk)

    def is_exception(first: int, last: int) -> bool:
        return last - first <= _EXCEPTION_CHARS and chunk[first:last] in whole

    while start < stop and not is_exception(start, stop):
        prefix = _PREFIX.match(chunk, start, stop)
        front = prefix.end() if prefix else start
        if front > start and is_exception(front, stop):
            before.append(chunk[start:front])
            start = front
            break
        back = _suffix_start(chunk, front, stop)
        if back < stop and is_exception(start, back):
            after.append(chunk[back:stop])
            stop = back
            break
        if front == start and back == stop:
            break
        if front > start:
            before.append(chunk[start:front])
        if back < stop:
            after.append(chunk[back:stop])
        start, stop = front, back
    return tuple(_join_whole([*before, *_split_middle(chunk[start:stop]), *reversed(after)]))


_split_short = lru_cache(maxsize=1 << 16)(_split)


def _suffix_start(chunk: str, start: int, stop: int) -> int:
    """Where the suffix of chunk[start:stop] begins; `stop` when there is none."""
    if chunk.endswith("..", start, stop):
        return start + len(chunk[start:stop].rstrip("."))
    found = _SUFFIX.search(chunk, max(start, stop - _SUFFIX_CHARS), stop)
    return found.start() if found else stop


def _split_middle(middle: str) -> list[str]:
    if not middle:
        return []
    if middle in exceptions():
        return list(exceptions()[middle])
    if len(middle) <= _URL_CHARS and _URL.fullmatch(middle):
        return [middle]
    tokens, start = [], 0
    for found in _INFIX.finditer(middle):
        if found.start() == start:
            continue
        tokens += [middle[start : found.start()], found.group()]
        start = found.end()
    return [*tokens, middle[start:]] if start < len(middle) else tokens


def _join_whole(tokens: list[str]) -> list[str]:
    """spaCy looks for exceptions once more over the tokens: ")" and ":" side by side become one, "):"."""
    whole = exceptions()
    joined: list[str] = []
    at = 0
    while at < len(tokens):
        longest = min(_LONGEST_WHOLE, len(tokens) - at)
        width = next((w for w in range(longest, 1, -1) if len(whole.get("".join(tokens[at : at + w]), ())) == 1), 1)
        joined.append("".join(tokens[at : at + width]))
        at += width
    return joined


def split_english(text: str) -> list[str]:
    """English tokens of a text: words and punctuation marks; a run of letters of an unspaced script is one word."""
    return [token for chunk in text.split() for token in split_chunk(chunk)]


def english_words(document: Document) -> list[str]:
    """View: `split_english` of the document."""
    return split_english(document.text)


def english_words_by_letter(document: Document) -> list[str]:
    """View: `split_english` of the document, then unspaced scripts by letter."""
    return split_unspaced(document.view(english_words))
