"""Phrases that C4's rules look for, in text as code points."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import kernel

_SENTINEL = 0xFFFC
#: what a scan of a line finds
HAS_LOREM, HAS_SCRIPT, HAS_CURLY, HAS_POLICY, HAS_STRANGE = 1, 2, 4, 8, 16
#: how phrases begin
_TE, _CO, _PR, _US, _LO, _JA = 0x7465, 0x636F, 0x7072, 0x7573, 0x6C6F, 0x6A61

_LOREM_IPSUM = np.frombuffer(b"lorem ipsum", np.uint8)
_JAVASCRIPT = np.frombuffer(b"javascript", np.uint8)
_TERMS_OF_USE = np.frombuffer(b"terms of use", np.uint8)
_PRIVACY_POLICY = np.frombuffer(b"privacy policy", np.uint8)
_COOKIE_POLICY = np.frombuffer(b"cookie policy", np.uint8)
_USES_COOKIES = np.frombuffer(b"uses cookies", np.uint8)
_USE_OF_COOKIES = np.frombuffer(b"use of cookies", np.uint8)
_USE_COOKIES = np.frombuffer(b"use cookies", np.uint8)
EDIT = np.frombuffer(b"[edit]", np.uint8)
CITATION_NEEDED = np.frombuffer(b"[citation needed]", np.uint8)


@kernel
def scan(codes, first, stop, visible):
    """What codes[first:stop] hold, whatever rules are on. `visible`: media sentinels are spaces. HAS_STRANGE: one of
    the two characters that lower to ASCII letters (K, İ)."""
    found = 0
    for k in range(first, stop):
        code = np.int64(codes[k])
        # One branch that is seldom taken; what stands after the text's last code point does no harm.
        pair = (code | 0x20) << 8 | np.int64(codes[k + 1]) | 0x20
        if (
            (pair == _TE)
            | (pair == _CO)
            | (pair == _PR)
            | (pair == _US)
            | (pair == _LO)
            | (pair == _JA)
            | (code == 0x7B)
            | (code == 0x212A)
            | (code == 0x0130)
        ):
            found |= _found_at(codes, k, stop, visible, pair)
    return found


@kernel
def _found_at(codes, at, stop, visible, pair):
    """What begins at `at`, with these two letters."""
    if codes[at] == 0x7B:
        return HAS_CURLY
    if pair == _JA:
        return HAS_SCRIPT if _is_phrase(codes, at, stop, _JAVASCRIPT, visible) else 0
    if pair == _LO:
        return HAS_LOREM if _is_phrase(codes, at, stop, _LOREM_IPSUM, visible) else 0
    if codes[at] > 0x7F:
        return HAS_STRANGE
    is_policy = (
        _is_phrase(codes, at, stop, _TERMS_OF_USE, visible)
        or _is_phrase(codes, at, stop, _PRIVACY_POLICY, visible)
        or _is_phrase(codes, at, stop, _COOKIE_POLICY, visible)
        or _is_phrase(codes, at, stop, _USES_COOKIES, visible)
        or _is_phrase(codes, at, stop, _USE_OF_COOKIES, visible)
        or _is_phrase(codes, at, stop, _USE_COOKIES, visible)
    )
    return HAS_POLICY if is_policy else 0


@kernel
def is_at(codes, at, stop, phrase):
    """Whether codes[at:stop] begins with an ASCII phrase."""
    if at + len(phrase) > stop:
        return False
    for k in range(len(phrase)):
        if codes[at + k] != phrase[k]:
            return False
    return True


@kernel
def _is_phrase(codes, at, stop, phrase, visible):
    """As `is_at`, in any case."""
    if at + len(phrase) > stop:
        return False
    for k in range(len(phrase)):
        code = np.int64(codes[at + k])
        if visible and code == _SENTINEL:
            code = 0x20
        elif 0x41 <= code <= 0x5A:
            code += 0x20
        if code != phrase[k]:
            return False
    return True
