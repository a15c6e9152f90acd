"""JSON text to objects, and objects back to the JSON of `meta`: fast where clean, forgiving where that is safe."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import orjson

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a record is not a row: a declared reason and a detail for a person."""

    reason: str
    detail: str | None = None


def parse_object(data: bytes) -> dict[str, Any] | Fault:
    """The JSON object in `data`, or what is wrong: invalid_utf8, bad_json, not_an_object.

    Beyond RFC 8259 it takes a byte order mark, NaN and Infinity (null in `meta`), and lone surrogate escapes
    (U+FFFD), because published dumps hold all three and the rest of such a row is sound.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        value = _parse_leniently(data.removeprefix(_BOM), str(error))
    if value.__class__ is dict or value.__class__ is Fault:
        return value
    return Fault("not_an_object", f"a JSON {_json_type(value)}, where each line must be an object")


def dump_object(value: dict[str, Any]) -> bytes:
    """`meta` JSON of whatever a row holds beside its columns; bytes become base64, unknown types their text."""
    if not value:
        return b"{}"
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    except (orjson.JSONEncodeError, RecursionError):
        # integers beyond 64 bits, which orjson does not write
        return json.dumps(_without_surrogates(value), ensure_ascii=False, default=_plain).encode("utf-8", "replace")


def _parse_leniently(data: bytes, complaint: str) -> Any:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return Fault("invalid_utf8", f"byte {error.start} of {len(data)}: 0x{data[error.start]:02x}")
    try:
        return _without_surrogates(json.loads(text, parse_constant=lambda _: None))
    except (ValueError, RecursionError):
        return Fault("bad_json", complaint)


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return str(value)


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    names = {str: "string", bool: "boolean", int: "number", float: "number", list: "array"}
    return names[value.__class__]
