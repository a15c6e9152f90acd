"""Chunks of text that the English tokenizer takes for addresses of the web or of mail, and leaves whole."""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

from transforms.kernels.codepoints import DECIMAL, LOWER, WORD
from transforms.kernels.compiled import kernel

#: longer ones are none
_MAX_CHARS = 2048


@kernel
def is_url(codes, properties, start, stop):
    """Whether start..stop is [scheme://] [user@] host [:port] [path], as transforms.text.english has it."""
    if stop - start > _MAX_CHARS:
        return False
    at = start
    while at < stop and codes[at] != 0x2E:
        at += 1
    if at == stop:
        return False
    if _is_address(codes, properties, start, stop):
        return True
    scheme = True
    for at in range(start, stop):
        code = codes[at]
        if code == 0x40 and at > start and _is_address(codes, properties, at + 1, stop):
            return True
        slashes = at + 2 < stop and codes[at + 1] == 0x2F and codes[at + 2] == 0x2F
        if code == 0x3A and scheme and at - start >= 2 and slashes and _is_address(codes, properties, at + 3, stop):
            return True
        scheme = scheme and (properties[at] & WORD != 0 or code == 0x2B or code == 0x2E or code == 0x2D)
    return False


@kernel
def _is_address(codes, properties, at, stop):
    """Whether at..stop is a host, a port or none, a path or none."""
    end = _number_end(codes, properties, at, stop)
    if end < 0 or not _is_rest(codes, properties, end, stop):
        end = _name_end(codes, properties, at, stop)
    return end >= 0 and _is_rest(codes, properties, end, stop)


@kernel
def _is_rest(codes, properties, at, stop):
    """Whether at..stop is a port or none, then a path or none."""
    if at < stop and codes[at] == 0x3A:
        first = at + 1
        at = first
        while at < stop and at - first < 5 and properties[at] & DECIMAL:
            at += 1
        if at - first < 2:
            return False
    return at == stop or codes[at] == 0x2F or codes[at] == 0x3F or codes[at] == 0x23


@kernel
def _number_end(codes, properties, at, stop):
    """The end of four numbers with dots between; -1 when there are none."""
    for part in range(4):
        if part:
            if at == stop or codes[at] != 0x2E:
                return -1
            at += 1
        first = at
        while at < stop and at - first < 3 and properties[at] & DECIMAL:
            at += 1
        if at == first or (part == 0 and not 0x31 <= codes[first] <= 0x39):
            return -1
    return at


@kernel
def _name_end(codes, properties, at, stop):
    """The end of a domain name (labels, then a top-level one in lower case); -1 when there is none."""
    labels = 0
    while True:
        first = at
        lower = inner = True
        while at < stop and (lower or inner):
            code = codes[at]
            if code == 0x2E or code == 0x3A or code == 0x2F or code == 0x3F or code == 0x23:
                break
            lower = lower and properties[at] & LOWER != 0
            inner = inner and (_in_label(code) or code == 0x5F or code == 0x2D)
            at += 1
        size = at - first
        if at == stop or codes[at] != 0x2E:
            return at if labels and lower and 2 <= size <= 63 else -1
        if not inner or not 1 <= size <= 64 or not _in_label(codes[first]) or not _in_label(codes[at - 1]):
            return -1
        labels += 1
        at += 1


@kernel
def _in_label(code):
    return 0x30 <= code <= 0x39 or 0x41 <= code <= 0x5A or 0x61 <= code <= 0x7A or 0xA1 <= code <= 0xFFFF
