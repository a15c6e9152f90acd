"""Repetition of word n-grams, as transforms.text.signals_repetition measures it, in time linear in the words.

An n-gram that occurs twice begins with a shorter one that does, so every size looks only at places where the size
before it found a repeat: in ordinary text nearly all the work is the first size.
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import kernel
from transforms.kernels.hashing import FACTOR, SEED, as_key, slot_of, step, table_size

#: readings of the rules; see transforms.text.signals_repetition
DCLM, DOLMA, DATATROVE = range(3)
FIRST_SIZE = 2
TOP_SIZES = 3  # 2, 3 and 4; the six sizes after them are of duplicates
NUM_SIZES = 9
#: numerators of the shares, then their denominators
NGRAM_BLOCK = 2 * NUM_SIZES

#: bits a code point of a hash of the last _WINDOW ones, and how many these are
_SHIFT = 5
_WINDOW = (63 + _SHIFT) // _SHIFT


@kernel
def repeated_ngrams(hashes, starts, ends, m, letters, reading, text_chars, grams, active, slots, keys, counts, out, at):
    """Fills the block for m words with these hashes; `letters` words make one (transforms.text.words).

    Of DATATROVE's, the top n-grams alone. grams, active and slots hold m entries, keys and counts table_size(m).
    """
    word_chars = 0
    for word in range(m):
        word_chars += ends[word] - starts[word]
        grams[word] = SEED
        active[word] = word
    num_active = m
    done = 0
    for which in range(TOP_SIZES if reading == DATATROVE else NUM_SIZES):
        size = (which + FIRST_SIZE) * letters
        num_active = _lengthen(hashes, m, done, size, active, num_active, grams)
        done = size
        _count(grams, num_active, slots, keys, counts)
        if which < TOP_SIZES:
            chars, times = _top(starts, ends, size, reading, active, num_active, slots, counts)
            if times == 0 and reading != DCLM and m >= size:
                chars, times = _chars(starts, ends, 0, size), 1
            if reading == DATATROVE:
                chars += size - 1
                word_chars = text_chars
            out[at + which] = chars * times
            out[at + NUM_SIZES + which] = max(word_chars, 1)
        elif reading == DOLMA:
            out[at + which] = _weight(starts, ends, size, active, num_active, slots, counts)
            total = 0
            for word in range(m):
                windows = min(min(word + 1, m - word), min(size, m - size + 1))
                total += max(windows, 0) * (ends[word] - starts[word])
            out[at + NUM_SIZES + which] = max(total, 1)
        else:
            out[at + which] = _covered(starts, ends, size, active, num_active, slots, counts)
            out[at + NUM_SIZES + which] = max(word_chars, 1)
        num_active = _keep_repeated(grams, active, num_active, slots, counts)


@kernel
def leaping_duplicates(codes, starts, ends, m, text_chars, places, grams, active, slots, keys, counts, out, at):
    """DATATROVE's shares of duplicate n-grams: found left to right without overlaps, compared as joined strings.

    Only n-grams whose first code points recur are looked at: with all words joined, two equal n-grams begin with the
    same window, however they are cut into words. places: int32 with room for m + 1.
    """
    _count_windows(codes, starts, ends, m, places, slots, keys, counts)
    for word in range(m):
        active[word] = word
        grams[word] = SEED
    num_active = m
    done = 0
    for which in range(TOP_SIZES, NUM_SIZES):
        size = which + FIRST_SIZE
        kept = 0
        for j in range(num_active):
            first = np.int64(active[j])
            if first + size > m:
                break
            if places[first + size] - places[first] >= _WINDOW and counts[slots[first]] == 1:
                continue
            gram = grams[j]
            for word in range(first + done, first + size):
                for k in range(starts[word], ends[word]):
                    gram = step(gram, np.uint64(codes[k]))
            grams[kept] = gram
            active[kept] = first
            kept += 1
        num_active = kept
        done = size
        table = table_size(num_active)
        keys[:table] = 0
        chars = free = 0
        for j in range(num_active):
            first = np.int64(active[j])
            if first < free:
                continue
            key = as_key(grams[j])
            slot = slot_of(keys, table, key)
            if keys[slot] == key:
                chars += places[first + size] - places[first]
                free = first + size
            else:
                keys[slot] = key
        out[at + which] = chars
        out[at + NUM_SIZES + which] = max(text_chars, 1)


@kernel
def _count_windows(codes, starts, ends, m, places, slots, keys, counts):
    """How often the _WINDOW code points from each word on occur, as counts[slots[word]]; places[word]: where it is
    in the joined words. Different ones may count as one. Words with fewer left than that are not counted.

    By _SHIFT bits a code point, what one adds to the state is shifted out of it when so many have come after it.
    """
    joined = 0
    for word in range(m):
        places[word] = joined
        joined += ends[word] - starts[word]
    places[m] = joined
    table = table_size(m)
    keys[:table] = 0
    by = np.uint64(_SHIFT)
    state = np.uint64(0)
    counted = reached = 0
    due = _WINDOW
    for word in range(m):
        for k in range(starts[word], ends[word]):
            state = (state << by) + np.uint64(codes[k]) * FACTOR
            reached += 1
            if reached == due:
                key = as_key(state)
                slot = slot_of(keys, table, key)
                if keys[slot] != key:
                    keys[slot] = key
                    counts[slot] = 0
                counts[slot] += 1
                slots[counted] = slot
                counted += 1
                due = places[counted] + _WINDOW


@kernel
def _chars(starts, ends, first, size):
    chars = 0
    for word in range(first, first + size):
        chars += ends[word] - starts[word]
    return chars


@kernel
def _lengthen(hashes, m, done, size, active, num_active, grams):
    """Makes the active n-grams of `done` words ones of `size`; gives how many the text has room for."""
    kept = 0
    for j in range(num_active):
        first = active[j]
        if first + size > m:
            break
        gram = grams[j]
        for k in range(first + done, first + size):
            gram = step(gram, hashes[k])
        grams[j] = gram
        kept += 1
    return kept


@kernel
def _count(grams, num_active, slots, keys, counts):
    size = table_size(num_active)
    keys[:size] = 0
    for j in range(num_active):
        key = as_key(grams[j])
        slot = slot_of(keys, size, key)
        if keys[slot] != key:
            keys[slot] = key
            counts[slot] = 0
        counts[slot] += 1
        slots[j] = slot


@kernel
def _top(starts, ends, size, reading, active, num_active, slots, counts):
    """(characters, occurrences) of the most frequent n-gram of those that repeat: of equals DCLM takes the longest,
    the others the first."""
    most = chars = 0
    for j in range(num_active):
        times = counts[slots[j]]
        if times > 1 and (times > most or (times == most and reading == DCLM)):
            length = _chars(starts, ends, active[j], size)
            if times > most:
                most, chars = times, length
            else:
                chars = max(chars, length)
    return chars, most


@kernel
def _weight(starts, ends, size, active, num_active, slots, counts):
    """Characters in n-grams that repeat, overlaps and all."""
    chars = 0
    for j in range(num_active):
        if counts[slots[j]] > 1:
            chars += _chars(starts, ends, active[j], size)
    return chars


@kernel
def _covered(starts, ends, size, active, num_active, slots, counts):
    """Characters in words that lie in an n-gram that repeats."""
    chars = done = 0
    for j in range(num_active):
        if counts[slots[j]] > 1:
            first = max(np.int64(active[j]), done)
            done = np.int64(active[j]) + size
            chars += _chars(starts, ends, first, done - first)
    return chars


@kernel
def _keep_repeated(grams, active, num_active, slots, counts):
    kept = 0
    for j in range(num_active):
        if counts[slots[j]] > 1:
            grams[kept] = grams[j]
            active[kept] = active[j]
            kept += 1
    return kept
