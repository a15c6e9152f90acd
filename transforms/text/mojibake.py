"""ftfy's repair of text that was decoded with the wrong encoding, without its cost for text that has no such fault."""

from __future__ import annotations

import hashlib
import re

import ftfy
from ftfy.badness import BADNESS_RE, MOJIBAKE_CATEGORIES

#: the heuristic that `_SUSPECT` was made for (ftfy 6.3); another one is always asked itself
_KNOWN = "9dcc0f2ac90d9ae3"
_LONGEST = 5  # characters in a match of the heuristic
_MAX_SUSPECTS = 16


def _classes(names: str) -> str:
    return "".join(MOJIBAKE_CATEGORIES[name] for name in names.split())


# Every match of the heuristic holds one of these. In ordinary text of most languages they are rare, so that its forty
# alternatives need not be tried at every character.
_MARKS = "bad currency numeric law start_punctuation end_punctuation box"
_LETTERS = "lower_accented lower_common upper_accented upper_common"
_SUSPECT = re.compile(
    rf"[{_classes('c1')}ŒœÃÂ√]|вЂ|Гў"
    rf"|[{_classes(f'{_MARKS} {_LETTERS} kaomoji')}][{_classes(_MARKS)}]"
    rf"|[{_classes(f'{_MARKS} upper_accented')}][{_classes('lower_accented kaomoji')}]"
    rf"|[{_classes(f'{_MARKS} lower_accented lower_common')}][{_classes('upper_accented')}]"
    rf"|[{_classes('upper_accented')}][{_classes('common upper_accented')}]"
)


def fix_encoding(text: str) -> str:
    """`ftfy.fix_encoding`."""
    return ftfy.fix_encoding(text) if may_be_bad(text) else text


def may_be_bad(text: str) -> bool:
    """Whether ftfy would look for a repair: its `is_bad`, for text that is not all ASCII."""
    if text.isascii():
        return False
    if not _IS_KNOWN:
        return True
    for number, suspect in enumerate(_SUSPECT.finditer(text)):
        at = suspect.start()
        if number == _MAX_SUSPECTS:
            return BADNESS_RE.search(text, max(at - _LONGEST, 0)) is not None
        if BADNESS_RE.search(text, max(at - _LONGEST, 0), at + 2 + _LONGEST):
            return True
    return False


def _digest() -> str:
    return hashlib.sha256(BADNESS_RE.pattern.encode()).hexdigest()[:16]


_IS_KNOWN = _digest() == _KNOWN
