"""Common Crawl's WET files: the plain text of pages, extracted by the crawler."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.sources.base import InputFile, Source, SourceParams, Span
from pipeline.sources.batches import Batches, without_sentinels
from pipeline.sources.objects import Fault, dump_object
from pipeline.sources.opening import open_input
from pipeline.sources.records import Record, records
from pipeline.sources.registry import register
from pipeline.sources.warc import record_id, record_meta, record_url
from transforms.base import Outcome

_KINDS = frozenset({"conversion"})


@register("wet", version=1)
class Wet(Source[SourceParams]):
    """Reads the `conversion` records of WET files, each a row; other records are none, unless they are damaged.

    `id` and `source` are as of the warc source. `meta` has date, digest, and `languages`, those the crawler identified
    (ISO 639-3, the most likely first).
    """

    suffixes = tuple(stem + end for stem in (".wet", ".warc.wet") for end in ("", ".gz", ".zst"))
    reasons = frozenset(
        {"no_text", "invalid_utf8", "too_long", "unsupported_content_type"}
        | {"truncated", "corrupt", "corrupt_compression"}
    )

    def plan(self, file: InputFile, target_bytes: int) -> list[Span]:
        return [Span(file)]

    def read(self, span: Span, batch_rows: int, batch_bytes: int) -> Iterator[Outcome]:
        rows = Batches(batch_rows, batch_bytes)
        with open_input(span.file) as handle:
            for record in records(handle, span.file, _KINDS, self.params.max_row_bytes):
                if record.fault is not None or record.kind in _KINDS:
                    self._add(record, f"{span.file.label}#{record.offset}", rows)
                if rows.full:
                    yield rows.take()
        if len(rows):
            yield rows.take()

    def _add(self, record: Record, source: str, rows: Batches) -> None:
        row_id = record_id(record) or source
        text = record.fault or _text(record)
        if isinstance(text, Fault):
            rows.reject(source, text.reason, text.detail, record.block, row_id=row_id)
            return
        rows.keep(row_id, source, record_url(record), without_sentinels(text), dump_object(record_meta(record)))


def _text(record: Record) -> str | Fault:
    if record.size > len(record.block):
        return Fault("too_long", f"{record.size} bytes; at most {len(record.block)}")
    kind = record.headers.get("content-type", "text/plain").partition(";")[0].strip().lower()
    if kind != "text/plain":
        return Fault("unsupported_content_type", kind[:100])
    try:
        text = record.block.decode("utf-8")
    except UnicodeDecodeError as error:
        return Fault("invalid_utf8", f"byte {error.start}: 0x{record.block[error.start]:02x}")
    if not text or text.isspace():
        return Fault("no_text", "nothing but white space" if text else "empty")
    return text
