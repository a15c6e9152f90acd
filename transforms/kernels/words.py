"""Words of a decoded text, as transforms.text.words cuts them. Each kernel fills `starts` and `ends`, int32, with at
most one word a code point, and gives their number."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

from transforms.kernels.codepoints import (
    ALNUM,
    EXTEND,
    JOINER,
    KATAKANA,
    LETTER,
    LETTER_OR_NUMBER,
    MARK,
    MID_BOTH,
    MID_LETTER,
    MID_NUMBER,
    NUMERIC,
    SPACE,
    UNSPACED,
    WORD_BREAK,
)
from transforms.kernels.compiled import kernel


@kernel
def unicode_words(properties, n, starts, ends):
    """UAX #29 words that begin with a letter or digit: `split_unicode`."""
    count = 0
    at = 0
    while at < n:
        kind = properties[at] & WORD_BREAK
        if LETTER <= kind <= KATAKANA:
            stop = _letters_end(properties, at, n) if kind == LETTER else at
            if stop == at:
                stop = _tail(properties, _run(properties, at, n), n)
        elif kind == JOINER:
            stop = _tail(properties, at, n)
        elif properties[at] & LETTER_OR_NUMBER:
            stop = _extended(properties, at, n)
        else:
            at += 1
            continue
        if properties[at] & ALNUM:
            starts[count] = at
            ends[count] = stop
            count += 1
        at = stop
    return count


@kernel
def _letters_end(properties, at, n):
    """The end of a word that is a run of letters, as most are; `at` when there may be more to it."""
    stop = at
    while stop < n and properties[stop] & WORD_BREAK == LETTER:
        stop += 1
    if stop == n:
        return stop
    kind = properties[stop] & WORD_BREAK
    if kind == MID_LETTER or kind == MID_BOTH:  # noqa: SIM109 (numba)
        following = properties[stop + 1] & WORD_BREAK if stop + 1 < n else 0
        return at if following == LETTER or following == EXTEND else stop  # noqa: SIM109 (numba)
    return stop if kind == 0 or kind == MID_NUMBER else at


@kernel
def _extended(properties, at, n):
    """The end of the code point at `at` with what extends it."""
    at += 1
    while at < n and properties[at] & WORD_BREAK == EXTEND:
        at += 1
    return at


@kernel
def _run(properties, at, n):
    """The end of katakana, or of letters and numbers, that begin at `at`."""
    if properties[at] & WORD_BREAK == KATAKANA:
        while at < n and properties[at] & WORD_BREAK == KATAKANA:
            at = _extended(properties, at, n)
        return at
    while at < n:
        kind = properties[at] & WORD_BREAK
        if kind == LETTER:
            at = _series(properties, at, n, LETTER, MID_LETTER)
        elif kind == NUMERIC:
            at = _series(properties, at, n, NUMERIC, MID_NUMBER)
        else:
            break
    return at


@kernel
def _series(properties, at, n, kind, inside):
    """The end of letters (or numbers) from `at`, each two with at most one mark of class `inside` between."""
    at = _extended(properties, at, n)
    while at < n:
        then = at
        mark = properties[then] & WORD_BREAK
        if mark == inside or mark == MID_BOTH:  # noqa: SIM109 (numba)
            then = _extended(properties, then, n)
        if then >= n or properties[then] & WORD_BREAK != kind:
            break
        at = _extended(properties, then, n)
    return at


@kernel
def _tail(properties, at, n):
    """The end of joiners (underscores) from `at` and of the runs they join; `at` when there is none."""
    while at < n and properties[at] & WORD_BREAK == JOINER:
        while at < n and properties[at] & WORD_BREAK == JOINER:
            at = _extended(properties, at, n)
        if at < n:
            kind = properties[at] & WORD_BREAK
            if LETTER <= kind <= KATAKANA:
                at = _run(properties, at, n)
    return at


@kernel
def whitespace_words(properties, n, starts, ends):
    """`split_whitespace`: between white space, then unspaced scripts by letter."""
    count = 0
    at = 0
    while at < n:
        if properties[at] & SPACE:
            at += 1
            continue
        stop = at + 1
        while stop < n and not properties[stop] & SPACE:
            stop += 1
        count = add_pieces(properties, at, stop, starts, ends, count)
        at = stop
    return count


@kernel
def add_pieces(properties, at, stop, starts, ends, count):
    """Adds the word at..stop, every unspaced letter in it, with its marks, as a word of its own: `split_unspaced`."""
    while at < stop:
        starts[count] = at
        if properties[at] & UNSPACED:
            at += 1
            while at < stop and properties[at] & MARK:
                at += 1
        else:
            while at < stop and not properties[at] & UNSPACED:
                at += 1
        ends[count] = at
        count += 1
    return count
