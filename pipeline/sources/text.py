"""Plain text files: one document a file, a paragraph or a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pipeline.sources.base import InputFile, Source, SourceParams, Span
from pipeline.sources.batches import Batches, without_sentinels
from pipeline.sources.lines import HEAD_BYTES, Line, Overlong, even_spans, span_blocks
from pipeline.sources.opening import Damage, compression_of, open_input
from pipeline.sources.registry import register
from transforms.base import Outcome

_BOM = b"\xef\xbb\xbf"


class TextParams(SourceParams):
    """Parameters of the text source."""

    #: what makes a document: the whole file, a paragraph (lines between blank ones), or a line
    per: Literal["file", "paragraph", "line"] = "file"


@register("text", version=1)
class TextFiles(Source[TextParams]):
    """Reads text files in UTF-8; lines can be cut into byte ranges, files and paragraphs cannot.

    `source` is the file's label, `#`, and where the document starts: its byte offset in a plain file (0 for a whole
    one), the number of the document from 0 in a compressed one. Blank lines and blank paragraphs are not rows; a blank
    file is one, and rejected. A document loses the end of its last line; a whole file keeps its others as they are,
    paragraphs and lines lose carriage returns.
    """

    Params = TextParams
    suffixes = tuple(stem + end for stem in (".txt", ".md") for end in ("", ".gz", ".zst"))
    reasons = frozenset({"no_text", "too_long", "invalid_utf8", "truncated", "corrupt_compression"})

    def plan(self, file: InputFile, target_bytes: int) -> list[Span]:
        return even_spans(Span(file), target_bytes) if self.params.per == "line" else [Span(file)]

    def read(self, span: Span, batch_rows: int, batch_bytes: int) -> Iterator[Outcome]:
        rows = Batches(batch_rows, batch_bytes)
        prefix = span.file.label + "#"
        by_offset = compression_of(span.file.path) is None
        number = 0
        with open_input(span.file) as handle:
            try:
                for offset, document in self._documents(span_blocks(handle, span, self.params.max_row_bytes)):
                    self._add(document, f"{prefix}{offset if by_offset else number}", rows)
                    number += 1
                    if rows.full:
                        yield rows.take()
            except Damage as damage:
                rows.reject(f"{prefix}{number}", damage.reason, damage.detail, damage.partial)
        if len(rows):
            yield rows.take()

    def _documents(self, blocks: Iterator[tuple[int, list[Line]]]) -> Iterator[tuple[int, Line]]:
        """Documents with their byte offsets."""
        max_bytes = 0 if self.params.per == "line" else self.params.max_row_bytes
        document = _Document(max_bytes)
        for offset, lines in blocks:
            for line in lines:
                if self.params.per == "line":
                    if not _is_blank(line):
                        yield offset, line.removesuffix(b"\r") if isinstance(line, bytes) else line
                elif self.params.per == "paragraph" and _is_blank(line):
                    if document.started:
                        yield document.take(trim=True)
                else:
                    document.add(offset, line)
                offset += len(line) + 1
        if self.params.per == "file":
            yield document.take(trim=False)
        elif document.started:
            yield document.take(trim=True)

    def _add(self, document: Line, source: str, rows: Batches) -> None:
        if isinstance(document, Overlong):
            rows.reject(
                source, "too_long", f"{len(document)} bytes; at most {self.params.max_row_bytes}", document.head
            )
            return
        document = document.removeprefix(_BOM)
        try:
            text = document.decode("utf-8")
        except UnicodeDecodeError as error:
            rows.reject(source, "invalid_utf8", f"byte {error.start}: 0x{document[error.start]:02x}", document)
            return
        if not text or text.isspace():
            rows.reject(source, "no_text", "nothing but white space" if text else "empty", text)
            return
        rows.keep(source, source, None, without_sentinels(text), b"{}")


class _Document:
    """Lines on their way into one document; one longer than `max_bytes` is measured, not held."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._reset()

    def _reset(self) -> None:
        self.started = False
        self.offset = 0
        self.size = -1  # the first line has no newline before it
        self.lines: list[bytes] = []
        self.head = b""

    def add(self, offset: int, line: Line) -> None:
        if not self.started:
            self.started, self.offset = True, offset
        self.size += len(line) + 1
        if not self.head:
            self.lines.append(line if isinstance(line, bytes) else line.head)
            if self.size > self.max_bytes:
                self.head = b"\n".join(self.lines)[: min(HEAD_BYTES, self.max_bytes)]
                self.lines = []

    def take(self, trim: bool) -> tuple[int, Line]:
        """The document and its offset; `trim` takes the carriage returns off its lines."""
        if self.head:
            document: Line = Overlong(self.head, self.size)
        else:
            document = b"\n".join(line.removesuffix(b"\r") for line in self.lines) if trim else b"\n".join(self.lines)
        taken = (self.offset, document)
        self._reset()
        return taken


def _is_blank(line: Line) -> bool:
    if isinstance(line, Overlong):
        return False
    return not line or line.isspace() or not line.removeprefix(_BOM).strip()
