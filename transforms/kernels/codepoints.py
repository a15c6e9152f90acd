"""Code points: decoded from UTF-8, each with its properties as bits of one number.

The tables come from transforms.text.codepoint_tables; kernels see them as `index` uint16 [0x1100] and `flags`
uint32 [blocks * 256]: the properties of c are flags[index[c >> 8] * 256 + (c & 255)].
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.compiled import kernel

#: word-break classes of UAX #29, the low four bits; a run of word characters begins with LETTER to KATAKANA
WORD_BREAK = 0xF
EXTEND, LETTER, NUMERIC, KATAKANA, JOINER, MID_LETTER, MID_NUMBER, MID_BOTH = range(1, 9)

LETTER_OR_NUMBER = 1 << 4  # \p{L} or \p{N}
ALNUM = 1 << 5  # str.isalnum
ALPHA = 1 << 6  # str.isalpha
SPACE = 1 << 7  # str.isspace, which is what str.split and str.strip go by
LINE_END = 1 << 8  # str.splitlines
UNSPACED = 1 << 9  # letters and digits of scripts written without spaces
MARK = 1 << 10  # \p{M}
NO_LENGTH = 1 << 11  # transforms.text.words.has_no_length
IDEOGRAPHIC = 1 << 12
SOUTHEAST_ASIAN = 1 << 13
ENDS_LINE = 1 << 14  # by FineWeb's rule, as the preset paper has it
DATATROVE_PUNCTUATION = 1 << 15
PLAIN = 1 << 16  # \p{L} or \p{M}: no rule of the English tokenizer cuts beside one
LOWER = 1 << 17  # letters after which the English tokenizer cuts a full stop off
SYMBOL = 1 << 18  # # and …
TERMINAL = 1 << 19  # \p{Sentence_Terminal}
MARKLESS = 1 << 20  # Thai and Lao, which have no terminal marks
CLOSER = 1 << 21  # closing brackets and quotes, which belong to the sentence before them
ANY_PUNCTUATION = 1 << 22  # \p{P}
LOWERCASE = 1 << 32  # str.islower
UPPERCASE = 1 << 33  # str.isupper
ANY_DIGIT = 1 << 34  # str.isdigit: superscripts too

#: the classes of the English tokenizer
ICON = 1 << 23  # \p{So}
WORD = 1 << 24  # \w
DECIMAL = 1 << 25  # \d
CURRENCY = 1 << 26
UPPER = 1 << 27  # letters two of which have a full stop after them cut off
QUOTE = 1 << 28
PUNCTUATION = 1 << 29  # quotes and other marks
SUFFIX = 1 << 30  # suffixes of one code point, wherever they stand
PREFIX = 1 << 31  # likewise
ALPHABET = 1 << 35  # what it takes for letters

SPACY_TERMINAL = 1 << 36  # marks that end a sentence for spaCy
DATATROVE_TERMINAL = 1 << 37  # marks that end a line for datatrove

_SENTINEL = 0xFFFC


@kernel
def decode(data, start, stop, index, flags, sentinel, codes, properties):
    """Decodes data[start:stop] into `codes` and `properties`; gives their number.

    Media sentinels are left out, or, when `sentinel` is not negative, replaced with it. -1: not UTF-8 (as Python's
    strict decoder sees it).
    """
    n = 0
    at = start
    while at < stop:
        lead = np.int64(data[at])
        if lead < 0x80:
            code = lead
            at += 1
        else:
            if 0xC2 <= lead <= 0xDF:
                more = 1
                code = lead & 0x1F
            elif 0xE0 <= lead <= 0xEF:
                more = 2
                code = lead & 0x0F
            elif 0xF0 <= lead <= 0xF4:
                more = 3
                code = lead & 0x07
            else:
                return -1
            if at + more >= stop:
                return -1
            for k in range(1, more + 1):
                byte = np.int64(data[at + k])
                if byte & 0xC0 != 0x80:
                    return -1
                code = code << 6 | (byte & 0x3F)
            if more == 2 and (code < 0x800 or 0xD800 <= code <= 0xDFFF):
                return -1
            if more == 3 and (code < 0x10000 or code > 0x10FFFF):
                return -1
            at += more + 1
            if code == _SENTINEL:
                if sentinel < 0:
                    continue
                code = np.int64(sentinel)
        codes[n] = code
        properties[n] = flags[np.int64(index[code >> 8]) << 8 | (code & 255)]
        n += 1
    return n


@kernel
def encode(codes, first, stop, data, at):
    """Writes codes[first:stop] as UTF-8 to `data` from `at`; gives where they end."""
    for k in range(first, stop):
        at = put(np.int64(codes[k]), data, at)
    return at


@kernel
def put(code, data, at):
    """Writes one code point as UTF-8 to `data` at `at`; gives where it ends."""
    if code < 0x80:
        data[at] = code
        return at + 1
    more = 1 if code < 0x800 else 2 if code < 0x10000 else 3
    data[at] = (0xC0 if more == 1 else 0xE0 if more == 2 else 0xF0) | code >> 6 * more
    for left in range(more - 1, -1, -1):
        data[at + more - left] = 0x80 | (code >> 6 * left & 0x3F)
    return at + more + 1
