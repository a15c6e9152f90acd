"""Web archives: one row a stored page, its markup as `text`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import Field
from resiliparse.parse.encoding import detect_mime

from pipeline.sources.base import InputFile, Source, SourceParams, Span
from pipeline.sources.batches import Batches, without_sentinels
from pipeline.sources.columns import MAX_ID_CHARS
from pipeline.sources.markup import decode_markup
from pipeline.sources.objects import Fault, dump_object
from pipeline.sources.opening import open_input
from pipeline.sources.records import Record, records
from pipeline.sources.registry import register
from pipeline.sources.responses import Response, parse_response
from transforms.base import Outcome

HTML_TYPES = ("text/html", "application/xhtml+xml")
#: What HTTP headers are allowed beyond the payload.
_HEAD_BYTES = 256 * 2**10
_KINDS = frozenset({"response", "resource", "revisit"})
#: Headers that go into `meta`; the last two say what the publisher allows (RFC 9309 companion, W3C TDM Reservation).
_HTTP_META = ("content-type", "content-language", "last-modified", "x-robots-tag", "tdm-reservation")
_WARC_META = {"warc-truncated": "truncated", "warc-payload-digest": "digest"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class WarcParams(SourceParams):
    """Parameters of the warc source."""

    #: media types of the payloads that are rows
    content_types: list[str] = Field(default_factory=lambda: list(HTML_TYPES))


@register("warc", version=1)
class Warc(Source[WarcParams]):
    """Reads WARC and ARC files, plain or compressed, record by record or as a whole; `text` is markup for text.extract.

    `response` and `resource` records are rows, kept or rejected, and so are `revisit` records, always rejected: they
    hold no page. All other types (warcinfo, request, metadata, conversion, …) are no rows, unless they are damaged.
    `id` is the record's own, `source` the file's label, `#`, and where the record starts: its byte, or that of its gzip
    member, with `+N` if it starts N bytes inside one. `meta` has date, encoding, content types, languages, digest, what
    robots headers say, and `truncated` where the crawler cut the page. Files are read whole: without an index nothing
    says where a record starts.
    """

    Params = WarcParams
    suffixes = tuple(stem + end for stem in (".warc", ".arc") for end in ("", ".gz", ".zst"))
    reasons = frozenset(
        {"bad_status", "unsupported_content_type", "revisit", "empty_payload", "undecodable", "too_long", "bad_http"}
        | {"corrupt_payload", "truncated", "corrupt", "corrupt_compression"}
    )

    def plan(self, file: InputFile, target_bytes: int) -> list[Span]:
        return [Span(file)]

    def read(self, span: Span, batch_rows: int, batch_bytes: int) -> Iterator[Outcome]:
        rows = Batches(batch_rows, batch_bytes)
        types = frozenset(kind.lower() for kind in self.params.content_types)
        with open_input(span.file) as handle:
            for record in records(handle, span.file, _KINDS, self.params.max_row_bytes + _HEAD_BYTES):
                if record.fault is not None or record.kind in _KINDS:
                    self._add(record, types, f"{span.file.label}#{record.offset}", rows)
                if rows.full:
                    yield rows.take()
        if len(rows):
            yield rows.take()

    def _add(self, record: Record, types: frozenset[str], source: str, rows: Batches) -> None:
        row_id = record_id(record) or source
        page = record.fault or self._page(record, types)
        if isinstance(page, Fault):
            rows.reject(source, page.reason, page.detail, record.block, row_id=row_id)
            return
        text, meta = page
        rows.keep(row_id, source, record_url(record), without_sentinels(text), dump_object(meta))

    def _page(self, record: Record, types: frozenset[str]) -> tuple[str, dict[str, Any]] | Fault:
        url = record_url(record) or "?"
        if record.kind == "revisit":
            return Fault("revisit", f"{url}: refers to {record.headers.get('warc-refers-to-target-uri', 'a record')}")
        if record.size > len(record.block):
            return Fault("too_long", f"{url}: a block of {record.size} bytes")
        content_type = record.headers.get("content-type", "")
        is_http = content_type.lower().startswith("application/http") or record.block.startswith(b"HTTP/")
        if is_http and record.kind == "response":
            response = parse_response(record.block, self.params.max_row_bytes)
        elif len(record.block) > self.params.max_row_bytes:
            response = Fault("too_long", f"{url}: {len(record.block)} bytes; at most {self.params.max_row_bytes}")
        else:
            response = Response(200, {"content-type": content_type}, record.block)
        if isinstance(response, Fault):
            return Fault(response.reason, f"{url}: {response.detail}")
        return _markup(response, record, types, url)


def _markup(response: Response, record: Record, types: frozenset[str], url: str) -> tuple[str, dict[str, Any]] | Fault:
    if response.status != 200:
        return Fault("bad_status", f"{url}: {response.status}")
    if not response.body.strip():
        return Fault("empty_payload", url)
    declared = response.headers.get("content-type", "")
    kind = (
        declared.partition(";")[0].strip().lower()
        or record.headers.get("warc-identified-payload-type", "").lower()
        or detect_mime(response.body[:4096])
    )
    if kind not in types:
        return Fault("unsupported_content_type", f"{url}: {kind[:100]}")
    decoded = decode_markup(response.body, declared)
    if isinstance(decoded, Fault):
        return Fault(decoded.reason, f"{url}: {decoded.detail}")
    text, encoding = decoded
    return text, record_meta(record) | _present(response.headers, {name: name for name in _HTTP_META}) | {
        "encoding": encoding
    }


def record_id(record: Record) -> str | None:
    """The record's own id, without its angle brackets."""
    own = record.headers.get("warc-record-id", "").strip("<> ")
    return own if own and len(own) <= MAX_ID_CHARS and not _CONTROL.search(own) else None


def record_url(record: Record) -> str | None:
    """The page's address; Wget writes it in angle brackets."""
    return record.headers.get("warc-target-uri", "").strip("<> ") or None


def record_meta(record: Record) -> dict[str, Any]:
    """What of a WARC header goes into `meta`: date, languages, digest, truncation."""
    languages = [code.strip() for code in record.headers.get("warc-identified-content-language", "").split(",")]
    found = _present(record.headers, {"warc-date": "date", **_WARC_META})
    return found | ({"languages": languages} if languages != [""] else {})


def _present(headers: dict[str, str], names: dict[str, str]) -> dict[str, Any]:
    return {to.replace("-", "_"): headers[name] for name, to in names.items() if headers.get(name)}
