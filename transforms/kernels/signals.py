"""All counts behind the Gopher and FineWeb signals, one pass a document. What is made of them: transforms.text.fused.

`needs` is a sum of the bits below. A row of `out`, int64 [rows, NUM_FIELDS], holds the blocks that were asked for.
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.codepoints import IDEOGRAPHIC, SOUTHEAST_ASIAN, decode
from transforms.kernels.compiled import entry_point, kernel
from transforms.kernels.counts import COUNT, LISTED, TEXT_BLOCK, WORD_BLOCK, count_listed, count_text, count_words
from transforms.kernels.english import english_words
from transforms.kernels.hashing import table_size
from transforms.kernels.lines import (
    LINE_BLOCK,
    SEGMENT_BLOCK,
    count_lines,
    count_repeated,
    drop_blank,
    split_double_newlines,
    split_line_ends,
    split_newline_runs,
    split_newlines,
    stripped,
)
from transforms.kernels.ngrams import DATATROVE, NGRAM_BLOCK, leaping_duplicates, repeated_ngrams
from transforms.kernels.words import unicode_words, whitespace_words

#: words by UAX #29, by white space, of English; and their n-grams, as DCLM, Dolma and datatrove read the rules
UNICODE_WORDS, WHITESPACE_WORDS, ENGLISH_WORDS = 1, 2, 4
UNICODE_NGRAMS, WHITESPACE_NGRAMS, ENGLISH_NGRAMS = 8, 16, 32
#: lines that are not blank, stripped; all, by newline; as str.splitlines; those that are not blank, as they are
DCLM_LINES, DOLMA_LINES, DATATROVE_LINES, FINEWEB_LINES = 64, 128, 256, 512
#: repeated lines and paragraphs
DCLM_SEGMENTS, DOLMA_SEGMENTS, DATATROVE_SEGMENTS = 1024, 2048, 4096
#: how many English words there are, and no more; and how many with unspaced scripts by letter
ENGLISH_COUNT, BY_LETTER_COUNT = 8192, 32768
#: stop words of the row's language among the words that are asked for
LISTED_WORDS = 16384

#: where the blocks begin; those of words and n-grams in the order above
TEXT = 0
WORDS = TEXT + TEXT_BLOCK
NGRAMS = WORDS + 3 * WORD_BLOCK
LINES = NGRAMS + 3 * NGRAM_BLOCK
#: of the readings DCLM, DOLMA, DATATROVE, and of FineWeb
LINE_SEGMENTS = LINES + 4 * LINE_BLOCK
PARAGRAPH_SEGMENTS = LINE_SEGMENTS + 4 * SEGMENT_BLOCK
#: of English words with unspaced scripts by letter
BY_LETTER = PARAGRAPH_SEGMENTS + 3 * SEGMENT_BLOCK
NUM_FIELDS = BY_LETTER + 1
FINEWEB = 3

_MAX_BYTES = 1 << 30


@entry_point
def measure(data, offsets, index, flags, needs, exceptions, languages, keys, bits, short, out, undone):
    """Counts what `needs` says in the rows of a UTF-8 column.

    data: uint8, offsets: int64 [rows + 1]; index and flags: kernels.codepoints; exceptions: kernels.english;
    languages: int32 [rows], numbers of languages, -1 for one without stop words; keys and bits: their words
    (kernels.counts.count_listed); short: int32 [rows], characters of what is a short line in the language.
    undone, bool [rows], is set where the readable reference has to do a row.
    """
    codes = np.empty(1 << 12, np.uint32)
    properties = np.empty(1 << 12, np.int64)
    starts = np.empty(1 << 12, np.int32)
    ends = np.empty(1 << 12, np.int32)
    cuts = np.empty(1 << 12, np.int32)
    hashes = np.empty(1 << 10, np.uint64)
    grams = np.empty(1 << 10, np.uint64)
    active = np.empty(1 << 10, np.int32)
    slots = np.empty(1 << 10, np.int32)
    keys_of = np.empty(1 << 11, np.uint64)
    counts = np.empty(1 << 11, np.int32)
    histogram = np.empty(257, np.int64)
    for row in range(len(offsets) - 1):
        size = offsets[row + 1] - offsets[row]
        if size > _MAX_BYTES:
            undone[row] = True
            continue
        if size >= len(codes):
            room = size + size // 4 + 1
            codes = np.empty(room, np.uint32)
            properties = np.empty(room, np.int64)
            starts = np.empty(room, np.int32)
            ends = np.empty(room, np.int32)
            cuts = np.empty(room, np.int32)
        n = decode(data, offsets[row], offsets[row + 1], index, flags, -1, codes, properties)
        if n < 0:
            undone[row] = True
            continue
        fields = out[row]
        count_text(codes, properties, n, fields, TEXT)
        if needs & BY_LETTER_COUNT:
            fields[BY_LETTER] = english_words(codes, properties, n, exceptions, True, cuts, starts, ends)
        for kind in range(3):
            counted = needs & ((UNICODE_WORDS | UNICODE_NGRAMS) << kind)
            if not counted and not (kind == 2 and needs & ENGLISH_COUNT):
                continue
            if kind == 0:
                m = unicode_words(properties, n, starts, ends)
            elif kind == 1:
                m = whitespace_words(properties, n, starts, ends)
            else:
                m = english_words(codes, properties, n, exceptions, False, cuts, starts, ends)
            if m > len(hashes):
                room = m + m // 4
                hashes = np.empty(room, np.uint64)
                grams = np.empty(room, np.uint64)
                active = np.empty(room, np.int32)
                slots = np.empty(room, np.int32)
            at = WORDS + kind * WORD_BLOCK
            fields[at + COUNT] = m
            if not counted:
                continue
            count_words(codes, properties, starts, ends, m, kind == 2, hashes, histogram, fields, at)
            if needs & LISTED_WORDS:
                fields[at + LISTED] = count_listed(hashes, m, languages[row], keys, bits) if languages[row] >= 0 else -1
            if not needs & (UNICODE_NGRAMS << kind):
                continue
            if table_size(m) > len(keys_of):
                keys_of = np.empty(table_size(m), np.uint64)
                counts = np.empty(table_size(m), np.int32)
            letters = 1 if kind == DATATROVE else _letters_per_word(properties, starts, m)
            at = NGRAMS + kind * NGRAM_BLOCK
            repeated_ngrams(
                hashes, starts, ends, m, letters, kind, n, grams, active, slots, keys_of, counts, fields, at
            )
            if kind == DATATROVE:
                leaping_duplicates(codes, starts, ends, m, n, cuts, grams, active, slots, keys_of, counts, fields, at)
        for cut in range(7):
            if not needs & _cut_needs(cut):
                continue
            m = _cut(cut, codes, properties, n, starts, ends)
            if table_size(m) > len(keys_of):
                keys_of = np.empty(table_size(m), np.uint64)
                counts = np.empty(table_size(m), np.int32)
            if cut < 4:
                at = LINES + cut * LINE_BLOCK
                count_lines(codes, properties, starts, ends, m, cut == 2, short[row], fields, at)
            if cut == 0 or cut == 1 or cut == FINEWEB:
                count_repeated(codes, starts, ends, m, keys_of, counts, fields, LINE_SEGMENTS + cut * SEGMENT_BLOCK)
            elif cut == 4:
                count_repeated(codes, starts, ends, m, keys_of, counts, fields, LINE_SEGMENTS + 2 * SEGMENT_BLOCK)
            elif cut == 5:
                count_repeated(codes, starts, ends, m, keys_of, counts, fields, PARAGRAPH_SEGMENTS)
            elif cut == 6:
                count_repeated(codes, starts, ends, m, keys_of, counts, fields, PARAGRAPH_SEGMENTS + 2 * SEGMENT_BLOCK)


@kernel
def _cut_needs(cut):
    """The needs that the cuts below serve."""
    if cut == 0:
        return DCLM_LINES | DCLM_SEGMENTS
    if cut == 1:
        return DOLMA_LINES | DOLMA_SEGMENTS
    if cut == 2:
        return DATATROVE_LINES
    if cut == 3:
        return FINEWEB_LINES
    return DCLM_SEGMENTS if cut == 5 else DATATROVE_SEGMENTS


@kernel
def _cut(cut, codes, properties, n, starts, ends):
    """Lines as DCLM, Dolma, datatrove and FineWeb have them (0 to 3), datatrove's for repetition (4), paragraphs as
    DCLM (5) and datatrove (6) have them."""
    if cut == 2:
        return split_line_ends(codes, properties, n, starts, ends)
    if cut == 4:
        return split_newline_runs(codes, 0, n, 1, starts, ends)
    if cut == 5:
        m = split_double_newlines(codes, n, starts, ends)
        return drop_blank(properties, starts, ends, m, True)
    if cut == 6:
        first, stop = stripped(properties, 0, n)
        return split_newline_runs(codes, first, stop, 2, starts, ends)
    m = split_newlines(codes, n, starts, ends)
    return m if cut == 1 else drop_blank(properties, starts, ends, m, cut == 0)


@kernel
def _letters_per_word(properties, starts, m):
    """transforms.text.words.letters_per_word."""
    ideographic = southeast_asian = 0
    for word in range(m):
        first = properties[starts[word]]
        ideographic += first & IDEOGRAPHIC != 0
        southeast_asian += first & SOUTHEAST_ASIAN != 0
    if (ideographic + southeast_asian) * 2 <= m:
        return 1
    return 2 if ideographic >= southeast_asian else 4
