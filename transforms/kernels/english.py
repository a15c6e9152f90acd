"""English words of a decoded text, as transforms.text.english cuts them.

Chunks (text between white space) of letters or of digits, with at most one mark behind them, need no more than a look
at the tokenizer's exceptions. The others are peeled and cut as the readable tokenizer does it, rule by rule.

`exceptions` is what `exception_table` makes: `keys` uint64 [slots], the hashes of the tokenizer's exceptions; `parts`
uint32 [slots], the lengths of the tokens each is cut into, a byte each; `likely` uint8, a bit for what an exception may
look like, so that most words are told from exceptions without being hashed.
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.affixes import cut_infixes, prefix_end, suffix_start
from transforms.kernels.codepoints import LOWER, PLAIN, SPACE, UNSPACED
from transforms.kernels.compiled import entry_point, kernel
from transforms.kernels.hashing import as_key, hash_codes, slot_of
from transforms.kernels.urls import is_url
from transforms.kernels.words import add_pieces

#: no exception of the tokenizer is longer
_EXCEPTION_CHARS = 16
#: exceptions that are one token are also put together from so many tokens
_LONGEST_WHOLE = 4
#: of the array `likely`
LIKELY_BITS = 1 << 16


@kernel
def english_words(codes, properties, n, exceptions, by_letter, cuts, starts, ends):
    """`split_english`, with `by_letter` unspaced scripts by letter; cuts: int32 with room for one more than there are
    code points."""
    keys, _, likely = exceptions
    count = 0
    at = 0
    while at < n:
        if properties[at] & SPACE:
            at += 1
            continue
        some = 0
        end = at
        while end < n and properties[end] & PLAIN:
            some |= np.int64(properties[end])
            end += 1
        if end == at:
            while end < n and 0x30 <= codes[end] <= 0x39:
                end += 1
        stop = end
        if stop < n and not properties[stop] & SPACE:
            stop += 1
        if stop < n and not properties[stop] & SPACE:
            while stop < n and not properties[stop] & SPACE:
                stop += 1
            plain = False
        else:
            plain = end > at
            if plain:
                looks = _is_likely(codes, at, stop, likely)
                if end < stop:
                    plain = _goes(codes[end], codes[end - 1], properties[end - 1])
                    looks = looks or _is_likely(codes, at, end, likely)
                if looks and plain:
                    plain = _exception(codes, at, end, keys) < 0 and _exception(codes, at, stop, keys) < 0
        if not plain:
            tokens = _cut(codes, properties, at, stop, exceptions, cuts)
            for k in range(tokens):
                if by_letter:
                    count = add_pieces(properties, at, cuts[k], starts, ends, count)
                else:
                    starts[count], ends[count] = at, cuts[k]
                    count += 1
                at = np.int64(cuts[k])
        else:
            if by_letter and some & UNSPACED:
                count = add_pieces(properties, at, end, starts, ends, count)
            else:
                starts[count], ends[count] = at, end
                count += 1
            if end < stop:
                starts[count], ends[count] = end, stop
                count += 1
        at = stop
    return count


@kernel
def _goes(mark, last, properties):
    """Whether a mark is cut off the letters or digits before it, of which `last` is the last, with these properties."""
    if mark == 0x2E:
        return properties & LOWER != 0 or last <= 0x39
    return mark == 0x2C or mark == 0x3A or mark == 0x3B or mark == 0x21 or mark == 0x3F or mark == 0x29


@kernel
def _likely_bit(codes, at, stop):
    middle = (at + stop) >> 1
    mixed = np.int64(codes[at]) * 0x9E37 + np.int64(codes[middle]) * 0x85EB + np.int64(codes[stop - 1]) * 0xC2B3
    return (mixed + (stop - at) * 0x27D4) & (LIKELY_BITS - 1)


@kernel
def _is_likely(codes, at, stop, likely):
    """Whether at..stop may be an exception."""
    if stop - at > _EXCEPTION_CHARS or at == stop:
        return False
    bit = _likely_bit(codes, at, stop)
    return likely[bit >> 3] >> (bit & 7) & 1 != 0


@kernel
def _exception(codes, at, stop, keys):
    """The slot of the exception that at..stop is; -1 when it is none."""
    key = as_key(hash_codes(codes, at, stop))
    slot = slot_of(keys, len(keys), key)
    return slot if keys[slot] == key else -1


@kernel
def _is_exception(codes, at, stop, keys, likely):
    return _is_likely(codes, at, stop, likely) and _exception(codes, at, stop, keys) >= 0


@kernel
def _cut(codes, properties, begin, stop, exceptions, cuts):
    """Ends of the tokens of the chunk begin..stop, into `cuts`; gives their number.

    Ends of what is peeled off behind gather at the end of `cuts`, from right to left.
    """
    keys, parts, likely = exceptions
    start = begin
    count = 0
    behind = len(cuts)
    while start < stop and not _is_exception(codes, start, stop, keys, likely):
        front = prefix_end(codes, properties, start, stop)
        if front > start and _is_exception(codes, front, stop, keys, likely):
            cuts[count] = front
            count += 1
            start = front
            break
        back = suffix_start(codes, properties, begin, front, stop)
        if back < stop and _is_exception(codes, start, back, keys, likely):
            behind -= 1
            cuts[behind] = stop
            stop = back
            break
        if front == start and back == stop:
            break
        if front > start:
            cuts[count] = front
            count += 1
        if back < stop:
            behind -= 1
            cuts[behind] = stop
        start, stop = front, back
    if start < stop:
        if _is_exception(codes, start, stop, keys, likely):
            lengths = np.int64(parts[_exception(codes, start, stop, keys)])
            while lengths:
                start += lengths & 0xFF
                cuts[count] = start
                count += 1
                lengths >>= 8
        elif is_url(codes, properties, start, stop):
            cuts[count] = stop
            count += 1
        else:
            count = cut_infixes(codes, properties, start, stop, cuts, count)
    for k in range(behind, len(cuts)):
        cuts[count] = cuts[k]
        count += 1
    return _join_whole(codes, begin, exceptions, cuts, count)


@kernel
def _join_whole(codes, begin, exceptions, cuts, count):
    """Makes one token of neighbours that together are an exception of one token; gives the number of tokens."""
    keys, parts, likely = exceptions
    kept = at = 0
    first = begin
    while at < count:
        width = min(_LONGEST_WHOLE, count - at)
        while width > 1:
            end = np.int64(cuts[at + width - 1])
            if _is_likely(codes, first, end, likely):
                slot = _exception(codes, first, end, keys)
                if slot >= 0 and parts[slot] <= 0xFF:
                    break
            width -= 1
        first = np.int64(cuts[at + width - 1])
        cuts[kept] = first
        kept += 1
        at += width
    return kept


@entry_point
def exception_table(codes, bounds, lengths, keys, parts, likely):
    """Enters the exceptions codes[bounds[k]:bounds[k + 1]], uint32, cut into tokens of `lengths`, a byte each."""
    for k in range(len(bounds) - 1):
        first, stop = bounds[k], bounds[k + 1]
        key = as_key(hash_codes(codes, first, stop))
        slot = slot_of(keys, len(keys), key)
        keys[slot] = key
        parts[slot] = lengths[k]
        bit = _likely_bit(codes, first, stop)
        likely[bit >> 3] |= np.uint8(1 << (bit & 7))
