"""Which of a record's keys become SAMPLE's columns; all others stay together as `meta`."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from pipeline.sources.base import SourceParams
from pipeline.sources.batches import Batches, media_text, without_sentinels
from pipeline.sources.objects import Fault, dump_object
from transforms.base import Params
from transforms.media import media_part

#: An id longer than this, or with control characters in it, is not taken for one: ids go into every ledger row.
MAX_ID_CHARS = 1024

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DATA_URI = re.compile(r"data:[\w.+/-]*;base64,")


class Columns(Params):
    """Names of the keys (or table columns) that hold a row's parts; dots reach into nested objects (`doc.body`).

    A key that is not there leaves its column empty. `image` and `audio` hold one encoded file or a list of them:
    bytes, base64 text, or `{bytes, path}` as Hugging Face datasets store them. `text: null` says that rows come without
    one, and a step makes it (chat.turns).
    """

    text: str | None = "text"
    id: str | None = "id"
    url: str | None = "url"
    image: str | None = None
    audio: str | None = None


class RecordParams(SourceParams):
    """Parameters of sources whose records have named fields."""

    columns: Columns = Field(default_factory=Columns)


@dataclass(frozen=True, slots=True)
class Key:
    """One mapped key. `pop` takes a value out of the record if it is of a usable type, else leaves it for `meta`."""

    name: str
    path: tuple[str, ...]

    def pop(self, record: dict[str, Any], usable: Callable[[Any], bool]) -> Any:
        holder: Any = record
        key = self.name
        if key not in record:  # a literal "doc.body" goes before body of doc
            *parents, key = self.path
            for parent in parents:
                holder = holder.get(parent) if holder.__class__ is dict else None
            if holder.__class__ is not dict or key not in holder:
                return None
        value = holder[key]
        if not usable(value):
            return None
        del holder[key]
        return value


class RowMaker:
    """Turns records into rows of `Batches` by a Columns mapping. `max_bytes` bounds a text's UTF-8 length."""

    reasons = frozenset({"no_text", "too_long", "bad_media"})

    def __init__(self, columns: Columns, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.text = key_of(columns.text)
        self.id = key_of(columns.id)
        self.url = key_of(columns.url)
        self.media = [(kind, key) for kind in ("image", "audio") if (key := key_of(getattr(columns, kind)))]

    def add(self, record: dict[str, Any], source: str, rows: Batches) -> None:
        """Adds one record, which is used up, as a kept row or a rejected one (and its bad media parts as rejected)."""
        text = self.text.pop(record, is_text) if self.text else None
        row_id = self.id.pop(record, _is_id) if self.id else None
        row_id = source if row_id is None else str(row_id)
        url = self.url.pop(record, _is_url) if self.url else None
        media, faults = self._parts(record) if self.media else ([], [])
        if text is None and not media and self.text is not None:
            rows.reject(source, "no_text", _no_text(self.text, record), dump_object(record), row_id=row_id)
            return
        # a UTF-8 character has at most 4 bytes, so most texts need not be encoded to know
        if text and len(text) > self.max_bytes // 4 and (size := len(text.encode())) > self.max_bytes:
            rows.reject(source, "too_long", f"{size} bytes; at most {self.max_bytes}", text, row_id=row_id)
            return
        text = media_text(len(media), None if text is None else without_sentinels(text))
        rows.keep(row_id, source, url, text, dump_object(record), media)
        for index, detail in faults:
            rows.reject(source, "bad_media", detail, text, part=index, row_id=row_id)

    def _parts(self, record: dict[str, Any]) -> tuple[list[dict[str, Any]], list[tuple[int, str]]]:
        parts: list[dict[str, Any]] = []
        faults: list[tuple[int, str]] = []
        for kind, key in self.media:
            values = key.pop(record, _is_media)
            for value in values if isinstance(values, list) else [values]:
                if value is None:
                    continue
                index = len(parts) + len(faults)
                data = _media_bytes(value)
                if isinstance(data, Fault):
                    faults.append((index, data.detail or kind))
                else:
                    parts.append(media_part(index, data, kind))
        return parts, faults


def _no_text(key: Key, record: dict[str, Any]) -> str:
    value = key.pop(dict(record), lambda _: True)
    if value is not None:
        return f"{key.name!r} holds a {type(value).__name__}, not text"
    if key.name in record:
        return f"{key.name!r} is null"
    return f"no {key.name!r} among the keys {', '.join(map(repr, list(record)[:20]))}"[:500]


def key_of(name: str | None) -> Key | None:
    return None if name is None else Key(name, tuple(name.split(".")))


def is_text(value: Any) -> bool:
    return value.__class__ is str


def _is_url(value: Any) -> bool:
    return value is None or value.__class__ is str


def _is_id(value: Any) -> bool:
    if value.__class__ is str:
        return 0 < len(value) <= MAX_ID_CHARS and not _CONTROL.search(value)
    return value is None or value.__class__ is int


def _is_media(value: Any) -> bool:
    return value is None or isinstance(value, bytes | str | dict | list)


def _media_bytes(value: Any) -> bytes | Fault:
    """The encoded file behind one value of a media column."""
    if isinstance(value, dict):
        if value.get("bytes") is None:
            return Fault("bad_media", f"only a path ({value.get('path')!r:.100}), no bytes; sluice does not follow it")
        value = value["bytes"]
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        return Fault("bad_media", f"a {type(value).__name__}, neither bytes nor base64 text")
    match = _DATA_URI.match(value)
    try:
        return base64.b64decode(value[match.end() :] if match else value, validate=True)
    except (binascii.Error, ValueError):
        return Fault("bad_media", f"not base64: {value[:60]!r}")
