"""Bytes of a web page to text: which encoding they are in, whatever the page or its server say."""

from __future__ import annotations

import codecs
import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

from pipeline.sources.objects import Fault

#: Where a page declares its encoding; HTML asks for the first 1024 bytes, browsers are more patient.
_PRESCAN_BYTES = 4096
_META = re.compile(
    rb"""<meta[^>]*?\scharset\s*=\s*["']?\s*([\w:.-]{1,40})"""
    rb"""|<meta[^>]*?;\s*charset\s*=\s*["']?\s*([\w:.-]{1,40})"""
    rb"""|\A\s*<\?xml[^>]*?\sencoding\s*=\s*["']([\w:.-]{1,40})""",
    re.IGNORECASE,
)
_CHARSET = re.compile(r"""charset\s*=\s*["']?\s*([\w:.-]{1,40})""", re.IGNORECASE)
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
#: Where Python's codec of a name is narrower than what browsers decode under it (WHATWG Encoding Standard).
_WIDER = {"euc-kr": "cp949", "shift_jis": "cp932", "gbk": "gb18030", "gb2312": "gb18030", "big5": "big5hkscs"}
#: Bytes that do not decode become U+FFFD; a page with a larger share of them is not in the encoding it seems to be.
MAX_REPLACED_RATIO = 0.01
#: Larger shares of control characters are found in no text, but in every binary file.
MAX_CONTROL_RATIO = 0.01
_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def decode_markup(data: bytes, content_type: str = "") -> tuple[str, str] | Fault:
    """(text, encoding as Python names it) of a page; or a fault, `undecodable`.

    As browsers do (WHATWG Encoding Standard and HTML 13.2.3): a byte order mark decides, then the charset of the HTTP
    header, then that of a <meta>; last, what the bytes look like (uchardet). But a declaration that the bytes refute
    counts for nothing, and neither does a single-byte one for bytes that are valid UTF-8: no byte can refute it, and
    text of another kind is practically never valid UTF-8.
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return _checked(data[len(bom) :].decode(encoding, "replace"), encoding)
    is_utf8 = _decodes(data, "utf-8")
    for label in (*_CHARSET.findall(content_type)[:1], *_declared(data)):
        name = _codec(label)
        if name is None or (is_utf8 and not name.startswith("utf-16")):
            continue
        if name != "utf-8" and _decodes(data, name):
            return _checked(data.decode(name), name)
    if is_utf8:
        return _checked(data.decode("utf-8"), "utf-8")
    # nearly UTF-8 (cut inside a character, a stray byte) is UTF-8
    name = "utf-8"
    text = data.decode(name, "replace")
    if text.count("\ufffd") > MAX_REPLACED_RATIO * len(text):
        name = _codec(detect_encoding(data) or "") or "cp1252"
        text = data.decode(name, "replace")
    return _checked(text, name)


def _declared(data: bytes) -> list[str]:
    found = _META.search(data, 0, _PRESCAN_BYTES)
    if found is None:
        return []
    label = next(group for group in found.groups() if group is not None).decode("ascii", "replace")
    # a <meta> that could be read is not in UTF-16, whatever it says (HTML 13.2.3.2)
    return ["utf-8" if label.lower().startswith("utf-16") else label]


def _codec(label: str) -> str | None:
    """Python's name of the codec that browsers use for a label; None when they know none."""
    name = map_encoding_to_html5(label, fallback_utf8=False)
    if name is None:
        return None
    try:
        return codecs.lookup(_WIDER.get(name.lower(), name)).name
    except LookupError:
        return None


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _checked(text: str, encoding: str) -> tuple[str, str] | Fault:
    """Rejects what is plainly not text in this encoding."""
    for what, count, most in (
        ("characters that do not decode", text.count("\ufffd"), MAX_REPLACED_RATIO),
        ("control characters", len(_CONTROL.findall(text)), MAX_CONTROL_RATIO),
    ):
        if count > max(1, most * len(text)):
            return Fault("undecodable", f"as {encoding}, {count} of {len(text)} are {what}")
    return text, encoding
