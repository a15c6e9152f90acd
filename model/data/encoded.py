"""The encoded file behind a media part of a message."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from schemas.errors import SluiceError

_DATA_URI = re.compile(r"data:[\w.+/-]*(;[\w=.-]+)*;base64,")


def media_bytes(value: Any, kind: str) -> bytes:
    """The bytes of an image or a clip: as they are, in `{bytes}`, or in base64 as a data URI, also in `{url}`.

    Raises SluiceError for anything else; a path or an address is not followed.
    """
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("url")
    if isinstance(value, bytes):
        return value
    if value is None:
        raise SluiceError(f"a message shows an {kind}, but nothing was given for it")
    mark = _DATA_URI.match(value) if isinstance(value, str) else None
    if mark is None:
        raise SluiceError(f"a message's {kind} is {value!r:.60}; give its bytes, or a data URI in base64")
    try:
        return base64.b64decode(value[mark.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise SluiceError(f"a message's {kind} is a data URI that is not base64 ({error})") from error
