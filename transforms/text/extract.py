"""Markup of web pages to the text people read there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from schemas.sample import SENTINEL
from transforms.base import Outcome, Transform, Verdicts, append_columns, append_fields, partition
from transforms.kernels.nesting import measure
from transforms.registry import register
from transforms.text.blank import has_media
from transforms.text.extract_engines import ContentParams, make_engine
from transforms.text.extract_hints import Hints, read_hints

#: A page whose tags' depths add up to more takes seconds; real ones stay below a hundredth of it.
MAX_WORK = 50_000_000
#: The parser is quadratic in them.
MAX_OPTIONS = 5000

_MARKUP = re.compile(r"<(?:!doctype\s+html|/?[a-zA-Z][a-zA-Z0-9:-]*(?:\s[^<>]*)?/?>)", re.IGNORECASE)
#: XML that is no page: feeds, site maps, drawings.
_OTHER_XML = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*+)?(?><!--.*?-->\s*+)*+<(?:rss|feed|urlset|sitemapindex|rdf:RDF|svg)\b", re.S
)
_HINT_FIELDS = tuple(pa.field(name, pa.string()) for name in ("html.title", "html.date", "html.lang"))
_NOTHING = Hints(None, None, None)


class ExtractParams(ContentParams):
    """Parameters of text.extract; the choice of engine and its numbers are in docs/decisions/0005-extraction.md."""

    engine: Literal["resiliparse", "trafilatura"] = "resiliparse"
    #: longer markup is rejected as `too_long`
    max_chars: int = Field(default=5_000_000, gt=0)
    #: elements open at once; browsers stop at 512 (Blink's HTMLParser, maximum DOM tree depth)
    max_depth: int = Field(default=512, gt=0, le=2048)
    #: attributes in one tag, in which the parser is quadratic
    max_attributes: int = Field(default=2000, gt=0)
    #: shorter content counts as none; RefinedWeb and FineWeb leave that to later filters
    min_chars: int = Field(default=1, gt=0)


@register("text.extract", version=1)
class Extract(Transform[ExtractParams]):
    """Replaces the markup in `text` by the page's main content, and adds what the page says of itself.

    `html.title`, `html.date` (ISO date of publication) and `html.lang` (BCP 47, lower case) are columns, null where the
    page does not say; they are hints by its author, not findings. Rows with media pass untouched, with null hints:
    where their parts stand in the markup cannot be told. Markup is measured before it is parsed, in one cheap pass, so
    that hostile nesting never reaches a parser (`too_deep`, `too_complex`). A rejected row keeps the markup it had.
    """

    Params = ExtractParams
    reasons = frozenset({"not_html", "too_long", "too_deep", "too_complex", "no_content"})
    edits_text = True

    def __init__(self, params: ExtractParams) -> None:
        super().__init__(params)
        self._engine: Callable[[str], str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_engine": None}

    def setup(self) -> None:
        if self._engine is None:
            self._engine = make_engine(self.params.engine, self.params)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, _HINT_FIELDS)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        self.setup()
        texts = batch.column("text").to_pylist()
        hints, reasons, details = [], [], []
        for at, with_media in enumerate(has_media(batch).to_pylist()):
            found: Hints | tuple[str, str] = _NOTHING
            if not with_media:
                found = self._extract(texts, at)
            hints.append(found if isinstance(found, Hints) else _NOTHING)
            reason, detail = (None, None) if isinstance(found, Hints) else found
            reasons.append(reason)
            details.append(detail)
        columns = [[hint.title for hint in hints], [hint.published for hint in hints], [hint.lang for hint in hints]]
        at = batch.schema.get_field_index("text")
        batch = batch.set_column(at, batch.schema.field(at), pa.array(texts, batch.schema.field(at).type))
        return partition(
            append_columns(batch, list(zip(_HINT_FIELDS, columns, strict=True))), Verdicts(reasons, details)
        )

    def _extract(self, texts: list[str], at: int) -> Hints | tuple[str, str]:
        """Puts the content of a page in the place of its markup; or (reason, detail), and leaves it."""
        markup = texts[at]
        if len(markup) > self.params.max_chars:
            return "too_long", f"{len(markup)} characters of markup; at most {self.params.max_chars}"
        if _MARKUP.search(markup) is None or _OTHER_XML.match(markup):
            return "not_html", "no tags" if _MARKUP.search(markup) is None else "XML of another kind"
        depth, work, attributes, options = measure(np.frombuffer(markup.encode("utf-8"), np.uint8))
        if depth > self.params.max_depth:
            return "too_deep", f"more than {self.params.max_depth} elements open at once"
        for what, count, most in (
            ("nested tags", work, MAX_WORK),
            ("attributes in one tag", attributes, self.params.max_attributes),
            ("options", options, MAX_OPTIONS),
        ):
            if count > most:
                return "too_complex", f"{count} {what}; at most {most}"
        assert self._engine is not None
        content = self._engine(markup).replace(SENTINEL, " ").strip()
        if len(content) < self.params.min_chars:
            return "no_content", f"{len(content)} characters of content in {len(markup)} of markup"
        texts[at] = content
        return read_hints(markup)
