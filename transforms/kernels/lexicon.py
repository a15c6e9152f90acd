"""IBM Model 1 (Brown et al. 1993, section 4.4): words of a side as hashes, expectation maximisation, and scoring.

Tables are open addressing: `keys` uint64, 0 where a slot is empty, and `values` beside it (kernels.hashing).
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.codepoints import SOUTHEAST_ASIAN, UNSPACED, decode
from transforms.kernels.compiled import kernel
from transforms.kernels.hashing import SEED, as_key, hash_codes, slot_of, step, table_size
from transforms.kernels.words import unicode_words


@kernel
def word_hashes(data, offsets, index, flags, max_words, prefix, hashes, bounds):
    """Hashes of the first `max_words` words of each row, up to `prefix` code points of each.

    data: uint8, offsets: int64 [rows + 1]; index and flags: kernels.codepoints. Filled: hashes uint64
    [rows * max_words], row by row without gaps, and bounds int64 [rows + 1]. Gives how many there are. A run of letters
    of an unspaced script counts as its overlapping n-grams, of 2 letters in Han and kana and of 4 in the others.
    """
    codes = np.empty(1 << 10, np.uint32)
    properties = np.empty(1 << 10, np.int64)
    starts = np.empty(1 << 10, np.int32)
    ends = np.empty(1 << 10, np.int32)
    count = 0
    bounds[0] = 0
    for row in range(len(offsets) - 1):
        size = offsets[row + 1] - offsets[row]
        if size >= len(codes):
            room = size + size // 4 + 1
            codes = np.empty(room, np.uint32)
            properties = np.empty(room, np.int64)
            starts = np.empty(room, np.int32)
            ends = np.empty(room, np.int32)
        n = decode(data, offsets[row], offsets[row + 1], index, flags, -1, codes, properties)
        m = unicode_words(properties, n, starts, ends) if n > 0 else 0
        for word in range(min(m, max_words)):
            stop = _stop(properties, starts, ends, m, word, prefix)
            hashes[count] = hash_codes(codes, starts[word], stop)
            count += 1
        bounds[row + 1] = count
    return count


@kernel
def _stop(properties, starts, ends, m, word, prefix):
    """Where the code points that stand for a word end."""
    first = properties[starts[word]]
    if not first & UNSPACED:
        return min(ends[word], starts[word] + prefix)
    last = word
    size = 4 if first & SOUTHEAST_ASIAN else 2
    while last + 1 < m and last + 1 < word + size and starts[last + 1] == ends[last]:
        if not properties[starts[last + 1]] & UNSPACED:
            break
        last += 1
    return ends[last]


@kernel
def collect(sources, source_bounds, targets, target_bounds, num_targets, max_entries, keys):
    """Files every (source word, target word) that occurs in a pair, and the null word 0 with every target word.

    sources and targets: int64 word numbers, from 1, bounds int64 [pairs + 1]; keys: uint64, all 0. Stops before the
    pair that could exceed `max_entries`; gives (pairs taken, entries).
    """
    entries = 0
    size = len(keys)
    for pair in range(len(source_bounds) - 1):
        length = source_bounds[pair + 1] - source_bounds[pair]
        if entries + (length + 1) * (target_bounds[pair + 1] - target_bounds[pair]) > max_entries:
            return pair, entries
        for at in range(target_bounds[pair], target_bounds[pair + 1]):
            for k in range(length + 1):
                source = sources[source_bounds[pair] + k - 1] if k else 0
                key = np.uint64(source * (num_targets + 1) + targets[at])
                slot = slot_of(keys, size, key)
                if keys[slot] == np.uint64(0):
                    keys[slot] = key
                    entries += 1
    return len(source_bounds) - 1, entries


@kernel
def expectation(sources, source_bounds, targets, target_bounds, num_sources, num_targets, keys, values, counts):
    """One iteration: `values` float64 [slots] becomes the new t(target | source), `counts` is room for as many."""
    size = len(keys)
    slots = np.empty(1 << 10, np.int64)
    counts[:] = 0
    for pair in range(len(source_bounds) - 1):
        length = source_bounds[pair + 1] - source_bounds[pair]
        if length >= len(slots):
            slots = np.empty(2 * length, np.int64)
        for at in range(target_bounds[pair], target_bounds[pair + 1]):
            total = 0.0
            for k in range(length + 1):
                source = sources[source_bounds[pair] + k - 1] if k else 0
                slots[k] = slot_of(keys, size, np.uint64(source * (num_targets + 1) + targets[at]))
                total += values[slots[k]]
            if total > 0:
                for k in range(length + 1):
                    counts[slots[k]] += values[slots[k]] / total
    totals = np.zeros(num_sources + 1)
    for slot in range(size):
        if keys[slot] != np.uint64(0):
            totals[np.int64(keys[slot]) // (num_targets + 1)] += counts[slot]
    for slot in range(size):
        if keys[slot] != np.uint64(0):
            total = totals[np.int64(keys[slot]) // (num_targets + 1)]
            values[slot] = counts[slot] / total if total > 0 else 0.0


@kernel
def pair_key(given, word):
    """The key of t(word | given), of two word hashes."""
    return as_key(step(step(SEED, given), word))


@kernel
def pair_keys(given, words, keys):
    """`pair_key` of whole arrays, uint64."""
    for at in range(len(given)):
        keys[at] = pair_key(given[at], words[at])


@kernel
def fill(known, values):
    """A table of distinct keys, uint64, none of them 0, and their values, float32: (keys, values)."""
    size = table_size(len(known))
    keys = np.zeros(size, np.uint64)
    beside = np.zeros(size, np.float32)
    for at in range(len(known)):
        slot = slot_of(keys, size, known[at])
        keys[slot] = known[at]
        beside[slot] = values[at]
    return keys, beside


@kernel
def score_direction(
    given, given_bounds, words, word_bounds, keys, values, unigram_keys, unigram_values, weight, same, sums, numbers
):
    """Evidence that each row's `words` translate its `given` ones.

    Of a known word w: log(1 - weight + weight * p(w) / u(w)), u its share of all words, p the mean of t(w | g) over the
    given words, where a word that stands among them counts as t = `same`. Filled, [rows]: sums float64, and numbers
    int64 of known words.
    """
    for row in range(len(word_bounds) - 1):
        length = given_bounds[row + 1] - given_bounds[row]
        total = 0.0
        number = 0
        for at in range(word_bounds[row], word_bounds[row + 1]):
            word = words[at]
            slot = slot_of(unigram_keys, len(unigram_keys), as_key(word))
            if unigram_keys[slot] == np.uint64(0):
                continue
            mass = 0.0
            for k in range(given_bounds[row], given_bounds[row + 1]):
                if given[k] == word:
                    mass += same
                else:
                    mass += values[slot_of(keys, len(keys), pair_key(given[k], word))]
            number += 1
            if length:
                total += np.log(1 - weight + weight * mass / length / unigram_values[slot])
            else:
                total += np.log(1 - weight)
        sums[row] = total
        numbers[row] = number
