"""JSON lines: one object a line, plain, gzip or zstd."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.sources.base import InputFile, Source, Span
from pipeline.sources.batches import Batches
from pipeline.sources.columns import RecordParams, RowMaker
from pipeline.sources.lines import Line, Overlong, even_spans, span_blocks
from pipeline.sources.objects import Fault, parse_object
from pipeline.sources.opening import Damage, compression_of, open_input
from pipeline.sources.registry import register
from transforms.base import Outcome


@register("jsonl", version=1)
class JsonLines(Source[RecordParams]):
    """Reads JSON lines; a plain file is cut into byte ranges, a compressed one is read whole.

    `source` is the file's label, `#`, and the byte offset of the line in a plain file, or the number of the row from 0
    in a compressed one. Empty lines are not rows. A stream that ends early or does not decode yields the rows before
    the damage and one rejected row for it.
    """

    Params = RecordParams
    suffixes = tuple(stem + end for stem in (".jsonl", ".ndjson", ".json") for end in ("", ".gz", ".zst"))
    reasons = frozenset(
        {"bad_json", "not_an_object", "invalid_utf8", "truncated", "corrupt_compression"} | RowMaker.reasons
    )

    def plan(self, file: InputFile, target_bytes: int) -> list[Span]:
        return even_spans(Span(file), target_bytes)

    def read(self, span: Span, batch_rows: int, batch_bytes: int) -> Iterator[Outcome]:
        rows = Batches(batch_rows, batch_bytes)
        maker = RowMaker(self.params.columns, self.params.max_row_bytes)
        prefix = span.file.label + "#"
        by_offset = compression_of(span.file.path) is None
        number = 0
        with open_input(span.file) as handle:
            try:
                for offset, lines in span_blocks(handle, span, self.params.max_row_bytes):
                    for line in lines:
                        source = prefix + str(offset if by_offset else number)
                        offset += len(line) + 1
                        if self._add(line, source, rows, maker):
                            number += 1
                            if rows.full:
                                yield rows.take()
            except Damage as damage:
                # only compressed streams are damaged, so the place is a row number
                rows.reject(f"{prefix}{number}", damage.reason, damage.detail, damage.partial)
        if len(rows):
            yield rows.take()

    def _add(self, line: Line, source: str, rows: Batches, maker: RowMaker) -> bool:
        """Adds one line; False when it is blank and so not a row."""
        if isinstance(line, Overlong):
            detail = f"a line of {len(line)} bytes; at most {self.params.max_row_bytes}"
            rows.reject(source, "too_long", detail, line.head)
            return True
        if not line or line.isspace():
            return False
        record = parse_object(line)
        if not isinstance(record, Fault):
            maker.add(record, source, rows)
        elif line.removeprefix(b"\xef\xbb\xbf").isspace() or line == b"\xef\xbb\xbf":
            return False
        else:
            rows.reject(source, record.reason, record.detail, line)
        return True
