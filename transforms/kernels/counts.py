"""What the Gopher quality signals count in a text and in its words; each kernel writes a block of `out`, int64."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.codepoints import ALNUM, ALPHA, DATATROVE_PUNCTUATION, NO_LENGTH, SPACE, SYMBOL
from transforms.kernels.compiled import entry_point, kernel
from transforms.kernels.hashing import SEED, as_key, hash_codes, slot_of, step

#: the block of a text, in code points without media sentinels
CHARS, NEWLINES, HASHES, DOTS, ELLIPSES, SPACED_DOTS, NOT_SPACE = range(7)
TEXT_BLOCK = 7

#: the block of its words: all; those that count by the implementation's rule; those with a length, the sum of these
#: lengths and twice their median; words with a letter; stop words: present, occurrences, occurrences in any case;
#: words that hold # or …; the language's stop words that are present
COUNT, COUNTED, WITH_LENGTH, LENGTH_SUM, MEDIAN_TWICE, ALPHABETIC, PRESENT, STOPS, STOPS_LOWER, SYMBOLS, LISTED = range(
    11
)
WORD_BLOCK = 11

#: the eight English stop words, each as one number of base 256
_STOP_WORDS = tuple(
    int.from_bytes(word, "big") for word in (b"the", b"be", b"to", b"of", b"and", b"that", b"have", b"with")
)
_HIGH = 1 << 30
_SHORT = 255


@kernel
def count_text(codes, properties, n, out, at):
    """Fills the block of a text. Runs of marks count without overlaps, as str.count does."""
    newlines = hashes = dots = ellipses = spaced = spaces = 0
    next_dots = next_spaced = 0
    for k in range(n):
        code = codes[k]
        if properties[k] & SPACE:
            spaces += 1
            if code == 0x0A:
                newlines += 1
        elif code == 0x23:
            hashes += 1
        elif code == 0x2026:
            ellipses += 1
        elif code == 0x2E:
            if k >= next_dots and k + 2 < n and codes[k + 1] == 0x2E and codes[k + 2] == 0x2E:
                dots += 1
                next_dots = k + 3
            if k >= next_spaced and is_spaced_dots(codes, k, n):
                spaced += 1
                next_spaced = k + 5
    out[at + CHARS] = n
    out[at + NEWLINES] = newlines
    out[at + HASHES] = hashes
    out[at + DOTS] = dots
    out[at + ELLIPSES] = ellipses
    out[at + SPACED_DOTS] = spaced
    out[at + NOT_SPACE] = n - spaces


@kernel
def is_spaced_dots(codes, at, stop):
    """Whether ". . ." stands at `at`."""
    return (
        at + 4 < stop
        and codes[at] == 0x2E
        and codes[at + 1] == 0x20
        and codes[at + 2] == 0x2E
        and codes[at + 3] == 0x20
        and codes[at + 4] == 0x2E
    )


@kernel
def count_words(codes, properties, starts, ends, count, english, hashes, histogram, out, at):
    """Fills the block of the words but for COUNT and LISTED, and their `hashes` (kernels.hashing.hash_codes).

    `english`: a word counts unless it is all punctuation, and those that count have a length; else one counts that
    begins with a letter or digit, and any may have a length.
    """
    counted = with_length = length_sum = alphabetic = present = stops = stops_lower = symbols = 0
    histogram[:] = 0
    for word in range(count):
        first, stop = starts[word], ends[word]
        some, every, state = 0, -1, SEED
        for k in range(first, stop):
            state = step(state, np.uint64(codes[k]))
            some |= np.int64(properties[k])
            every &= np.int64(properties[k])
        hashes[word] = state
        counts = not every & DATATROVE_PUNCTUATION if english else properties[first] & ALNUM != 0
        counted += counts
        alphabetic += some & ALPHA != 0
        symbols += some & SYMBOL != 0
        if counts if english else not properties[first] & NO_LENGTH:
            with_length += 1
            length_sum += stop - first
            histogram[min(stop - first, _SHORT + 1)] += 1
        if 2 <= stop - first <= 4:
            exact, lower = _packed(codes, first, stop)
            for which in range(8):
                if lower == _STOP_WORDS[which]:
                    stops_lower += 1
                    if exact == lower:
                        stops += 1
                        present |= 1 << which
    out[at + COUNTED] = counted
    out[at + WITH_LENGTH] = with_length
    out[at + LENGTH_SUM] = length_sum
    out[at + ALPHABETIC] = alphabetic
    out[at + SYMBOLS] = symbols
    out[at + STOPS] = stops
    out[at + STOPS_LOWER] = stops_lower
    out[at + PRESENT] = 0
    for which in range(8):
        out[at + PRESENT] += present >> which & 1
    out[at + MEDIAN_TWICE] = 0
    if with_length and not english:
        out[at + MEDIAN_TWICE] = _length_at(
            properties, starts, ends, count, histogram, (with_length - 1) // 2
        ) + _length_at(properties, starts, ends, count, histogram, with_length // 2)


@kernel
def count_listed(hashes, count, language, keys, bits):
    """How many of a language's stop words are among the words with these hashes.

    keys, uint64 [slots], holds `listed_key` of every word of every language; bits, uint8, its number in its language.
    """
    present = np.uint64(0)
    for word in range(count):
        key = listed_key(hashes[word], language)
        slot = slot_of(keys, len(keys), key)
        if keys[slot] == key:
            present |= np.uint64(1) << np.uint64(bits[slot])
    listed = 0
    while present:
        present &= present - np.uint64(1)
        listed += 1
    return listed


@kernel
def listed_key(state, language):
    """A word's hash and a language's number, as a table's key."""
    return as_key(step(state, np.uint64(language)))


@entry_point
def list_words(codes, bounds, languages, numbers, keys, bits):
    """Enters the words codes[bounds[k]:bounds[k + 1]], uint32, of languages[k], as its numbers[k]."""
    for k in range(len(bounds) - 1):
        key = listed_key(hash_codes(codes, bounds[k], bounds[k + 1]), languages[k])
        slot = slot_of(keys, len(keys), key)
        keys[slot] = key
        bits[slot] = numbers[k]


@kernel
def _packed(codes, first, stop):
    """A word of at most four code points as one number, and the same in lower case; unlike all others if not ASCII."""
    exact = lower = 0
    for k in range(first, stop):
        code = np.int64(codes[k])
        if code > 0x7F:
            return _HIGH, _HIGH
        exact = exact << 8 | code
        lower = lower << 8 | (code + 0x20 if 0x41 <= code <= 0x5A else code)
    return exact, lower


@kernel
def _length_at(properties, starts, ends, count, histogram, rank):
    """The word length of this rank, from 0, among the words that have one."""
    seen = 0
    for length in range(_SHORT + 1):
        seen += histogram[length]
        if seen > rank:
            return length
    # A text of very long words: bisection, for the histogram ends here.
    low, high = _SHORT + 1, 1 << 31
    while low < high:
        middle = (low + high) // 2
        seen = 0
        for word in range(count):
            if ends[word] - starts[word] <= middle and not properties[starts[word]] & NO_LENGTH:
                seen += 1
        if seen > rank:
            high = middle
        else:
            low = middle + 1
    return low
