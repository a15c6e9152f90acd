"""HTML files: one row a file, its markup as `text`."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.sources.base import InputFile, Source, SourceParams, Span
from pipeline.sources.batches import Batches, without_sentinels
from pipeline.sources.lines import HEAD_BYTES
from pipeline.sources.markup import decode_markup
from pipeline.sources.objects import Fault, dump_object
from pipeline.sources.opening import Damage, chunks, open_input
from pipeline.sources.registry import register
from transforms.base import Outcome


@register("html", version=1)
class Html(Source[SourceParams]):
    """Reads saved pages, plain or compressed, each a row for text.extract; `meta` has the encoding found.

    `source` is the file's label and `#0`.
    """

    suffixes = tuple(stem + end for stem in (".html", ".htm", ".xhtml") for end in ("", ".gz", ".zst"))
    reasons = frozenset({"no_text", "too_long", "undecodable", "truncated", "corrupt_compression"})

    def plan(self, file: InputFile, target_bytes: int) -> list[Span]:
        return [Span(file)]

    def read(self, span: Span, batch_rows: int, batch_bytes: int) -> Iterator[Outcome]:
        rows = Batches(batch_rows, batch_bytes)
        source = f"{span.file.label}#0"
        data = self._data(span.file)
        page = data if isinstance(data, Fault) else self._page(data)
        if isinstance(page, Fault):
            rows.reject(source, page.reason, page.detail, b"" if isinstance(data, Fault) else data[:HEAD_BYTES])
        else:
            text, encoding = page
            rows.keep(source, source, None, without_sentinels(text), dump_object({"encoding": encoding}))
        yield rows.take()

    def _data(self, file: InputFile) -> bytes | Fault:
        parts, size = [], 0
        with open_input(file) as handle:
            try:
                for part in chunks(handle, file):
                    parts.append(part)
                    size += len(part)
                    if size > self.params.max_row_bytes:
                        return Fault("too_long", f"more than {self.params.max_row_bytes} bytes")
            except Damage as damage:
                return Fault(damage.reason, damage.detail)
        return b"".join(parts)

    def _page(self, data: bytes) -> tuple[str, str] | Fault:
        if not data.strip():
            return Fault("no_text", "nothing but white space" if data else "empty")
        return decode_markup(data)
