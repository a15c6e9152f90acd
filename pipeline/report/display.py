"""Text from strangers and numbers, made fit to look at.

A document may hold markup, terminal escapes, or bidirectional controls that make a page read other than it is. What
a person sees is neutralised here, once, for the page and for the terminal alike: such characters are shown by name.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from schemas.sample import SENTINEL

#: Controls (C0, C1, DEL), bidirectional marks, embeddings, overrides and isolates, invisible format characters, line
#: and paragraph separators, noncharacters and tags. ZWJ and ZWNJ stay: Indic scripts, Persian and emoji need them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_SHOWN_AS_CHIP = re.compile(f"{_UNSAFE.pattern}|{SENTINEL}")
_SPACE = re.compile("[\t\n\r\x0b\x0c ]+")
#: Stacked marks ("zalgo") climb over the neighbouring rows; no orthography needs more than a handful.
_STACKED = re.compile(
    "([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{4})"
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)


def code_name(character: str) -> str:
    """A character that must not be shown, by its code point: U+202E."""
    return f"U+{ord(character):04X}"


def squeeze(text: str | None, limit: int) -> str:
    """One line of at most `limit` characters: white space runs become one space, a cut shows as an ellipsis."""
    line = _STACKED.sub(r"\1", _SPACE.sub(" ", text or "").strip(" "))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def plain(text: str | None, limit: int = 200) -> str:
    """Text for a terminal: one line, nothing in it can move the cursor, change colours or reorder the line."""
    line = squeeze(text, limit).replace(SENTINEL, "[media]")
    return _UNSAFE.sub(lambda found: f"<{code_name(found[0])}>", line)


def markup(text: str | None, limit: int = 200) -> Markup:
    """Text for the page: escaped, one line, each neutralised character a small chip with its name as the title."""
    return _with_chips(squeeze(text, limit))


def markup_block(text: str) -> Markup:
    """The same for a block whose lines and spaces matter (shown in a <pre>)."""
    return Markup("\n").join(_with_chips(line) for line in text.split("\n"))


def _with_chips(line: str) -> Markup:
    pieces, at = [], 0
    for found in _SHOWN_AS_CHIP.finditer(line):
        pieces += [escape(line[at : found.start()]), _chip(found[0])]
        at = found.end()
    return Markup("").join([*pieces, escape(line[at:])])


def _chip(character: str) -> Markup:
    if character == SENTINEL:
        return Markup('<span class="chip media">media</span>')
    name = unicodedata.name(character, "CONTROL CHARACTER")
    return Markup('<span class="chip" title="{}">{}</span>').format(name, code_name(character))


def safe_json(value: Any, indent: int | None = 2) -> str:
    """JSON in readable Unicode, yet safe to print: unsafe characters are written as \\u escapes. NaN is not JSON."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    return re.sub(f"(?!\n){_UNSAFE.pattern}", _json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[k]:02x}{units[k + 1]:02x}" for k in range(0, len(units), 2))


def number(value: float | None) -> str:
    """A count in full, with thin thousands separators: 1,234,567."""
    return "–" if value is None else f"{value:,.0f}"


def compact(value: float | None) -> str:
    """A number in about three figures: 0.034, 12.5, 4.07k, 1.2M."""
    if value is None:
        return "–"
    rounded = float(f"{value:.3g}")
    for least, unit, name in ((1e12, 1e12, "T"), (1e9, 1e9, "B"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(rounded) >= least:
            return f"{rounded / unit:.3g}{name}" if abs(rounded) < 1e15 else f"{rounded:.3g}"
    return f"{value:,.0f}" if abs(rounded) >= 1000 else f"{value:.3g}"


def percent(share: float | None) -> str:
    """A share in [0, 1] as per cent; small but real shares never read as zero, nor near-whole ones as everything."""
    if share is None or math.isnan(share):
        return "–"
    if share in (0.0, 1.0):
        return f"{share:.0%}"
    if share < 0.001:
        return "<0.1%"
    if share > 0.999:
        return ">99.9%"
    return f"{share:.1%}"


def size(num_bytes: float | None) -> str:
    """Bytes in binary units."""
    if num_bytes is None:
        return "–"
    value = float(num_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def duration(seconds: float | None) -> str:
    """Seconds as a person says them: 4.2 s, 3 min 05 s, 2 h 14 min."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def environment(assets: Path) -> jinja2.Environment:
    """Templates of a page, from a folder: everything is escaped, a name that is missing is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(assets),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"shown": markup, "number": number}
    return made
