"""What the English tokenizer cuts off a chunk's ends and in its middle, as transforms.text.english has it."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import numpy as np

from transforms.kernels.codepoints import (
    ALPHABET,
    CURRENCY,
    ICON,
    LOWER,
    PLAIN,
    PREFIX,
    PUNCTUATION,
    QUOTE,
    SUFFIX,
    UPPER,
)
from transforms.kernels.compiled import kernel


def _packed(text):
    """A short string as one number, 16 bits a character."""
    number = 0
    for character in text:
        number = number << 16 | ord(character)
    return number


#: suffixes after a digit
_AFTER_DIGIT = np.array(
    [
        _packed(unit)
        for line in (
            "km² km³ km m² m³ m/s m dm² dm³ dm cm² cm³ cm mm² mm³ mm ha µm nm yd in ft kg g mg µg t lb oz km/h kmh mph",
            "hPa Pa mbar mb MB kb KB gb GB tb TB T G M K % + US$ C$ A$",
        )
        for unit in line.split()
    ],
    np.int64,
)


@kernel
def _is_digit(code):
    return 0x30 <= code <= 0x39


@kernel
def _is_letter(properties):
    return properties & ALPHABET != 0


@kernel
def _run_end(codes, at, stop):
    """The end of the run of full stops at `at`."""
    while at < stop and codes[at] == 0x2E:
        at += 1
    return at


@kernel
def prefix_end(codes, properties, at, stop):
    """The end of the prefix of at..stop; `at` when there is none."""
    if properties[at] & PREFIX:
        return at + 1
    code = codes[at]
    if code == 0x2B:
        return at if at + 1 < stop and _is_digit(codes[at + 1]) else at + 1
    if code == 0x2E:
        end = _run_end(codes, at, stop)
        return end if end - at >= 2 else at
    if code == 0x55 and at + 2 < stop and codes[at + 1] == 0x53 and codes[at + 2] == 0x24:
        return at + 3
    if (code == 0x43 or code == 0x41) and at + 1 < stop and codes[at + 1] == 0x24:
        return at + 2
    return at


@kernel
def suffix_start(codes, properties, begin, first, stop):
    """Where the suffix of first..stop begins, `stop` when there is none; rules look behind as far as `begin`."""
    if stop - first >= 2 and codes[stop - 1] == 0x2E and codes[stop - 2] == 0x2E:
        while stop > first and codes[stop - 1] == 0x2E:
            stop -= 1
        return stop
    for at in range(max(first, stop - 4), stop):
        if at > begin and _is_digit(codes[at - 1]):
            packed = np.int64(0)
            for k in range(at, stop):
                packed = packed << 16 | np.int64(codes[k]) if codes[k] < 0x8000 else np.int64(-1)
            for unit in _AFTER_DIGIT:
                if packed == unit:
                    return at
        if at == stop - 2 and (codes[at] == 0x27 or codes[at] == 0x2019) and codes[at + 1] | 0x20 == 0x73:
            return at
    if first < stop and _is_suffix(codes, properties, begin, stop - 1):
        return stop - 1
    return stop


@kernel
def _is_suffix(codes, properties, begin, at):
    """Whether the last code point, at `at`, is a suffix; those of _AFTER_DIGIT apart."""
    if properties[at] & SUFFIX:
        return True
    if at == begin:
        return False
    last = codes[at - 1]
    if properties[at] & CURRENCY:
        return _is_digit(last)
    if codes[at] != 0x2E:
        return False
    if properties[at - 1] & (LOWER | PUNCTUATION) or _is_digit(last):
        return True
    if last == 0x25 or last == 0xB2 or last == 0x2D or last == 0x2B:
        return True
    if at - 1 == begin:
        return False
    if codes[at - 2] == 0xB0:
        return last | 0x20 == 0x66 or last | 0x20 == 0x63 or last | 0x20 == 0x6B
    return properties[at - 1] & UPPER != 0 and properties[at - 2] & UPPER != 0


@kernel
def cut_infixes(codes, properties, start, stop, cuts, count):
    """Adds the ends of start..stop's tokens to the `count` in `cuts`; gives their number."""
    token = at = start
    while at < stop:
        width = 0 if properties[at] & PLAIN else _infix_width(codes, properties, at, start, stop)
        if width == 0:
            at += 1
            continue
        if at > token:
            cuts[count] = at
            cuts[count + 1] = at + width
            count += 2
            token = at + width
        at += width
    if token < stop:
        cuts[count] = stop
        count += 1
    return count


@kernel
def _infix_width(codes, properties, at, start, stop):
    """Code points of the infix at `at`, 0 when there is none."""
    code = codes[at]
    if code == 0x2E:
        end = _run_end(codes, at, stop)
        if end - at >= 2:
            return end - at
    if code == 0x2026 or properties[at] & ICON:
        return 1
    if at == start or at + 1 >= stop:
        return 0
    last, following = codes[at - 1], codes[at + 1]
    if code == 0x2E:
        return 1 if properties[at - 1] & (LOWER | QUOTE) and properties[at + 1] & (UPPER | QUOTE) else 0
    arithmetic = code == 0x2B or code == 0x2D or code == 0x2A or code == 0x5E
    if arithmetic and _is_digit(last) and (_is_digit(following) or following == 0x2D):
        return 1
    if code == 0x2C:
        return 1 if _is_letter(properties[at - 1]) and _is_letter(properties[at + 1]) else 0
    if not (_is_letter(properties[at - 1]) or _is_digit(last)):
        return 0
    if code == 0x3A or code == 0x3C or code == 0x3E or code == 0x3D or code == 0x2F:
        return 1 if _is_letter(properties[at + 1]) else 0
    if code == 0x2D or code == 0x2014:
        longest = 3 if code == 0x2D else 2
        width = 1
        while width < longest and at + width < stop and codes[at + width] == code:
            width += 1
        return width if at + width < stop and _is_letter(properties[at + width]) else 0
    if code == 0x2013 or code == 0x7E:
        return 1 if _is_letter(properties[at + 1]) else 0
    return 0
