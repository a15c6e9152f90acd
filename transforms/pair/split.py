"""Rows become pairs: the two sides are found, in a separated text or in two fields of a record."""

from __future__ import annotations

from typing import Any, Literal

import orjson
import pyarrow as pa
from pydantic import Field

from schemas.sample import SENTINEL
from transforms.base import Outcome, Params, Transform, Verdicts, append_columns, append_fields, partition
from transforms.pair.sides import SIDES, SOURCE_LANG, TARGET_LANG, joined, sides_array
from transforms.registry import register

_SEPARATORS = {"tab": "\t", "newline": "\n"}
_LANG = r"^[a-z]{2,3}(_[A-Z][a-z]{3})?$"


class SplitParams(Params):
    """Where the two sides are, and which languages they should be in.

    Languages are labels as text.language has them (`de`; `deu_Latn` for GlotLID); one that is not given is not judged.
    """

    #: what stands between the sides of `text`, once; the Moses and WMT form is a tab
    separator: Literal["tab", "newline"] = "tab"
    #: instead, `text` is the source, and the target is under this key of `meta` (`translation.de`: dots reach inside).
    #: The input says which field is the text: `columns: {text: translation.en}`
    target_key: str | None = None
    source_lang: str | None = Field(default=None, pattern=_LANG)
    target_lang: str | None = Field(default=None, pattern=_LANG)
    #: keys of `meta` that hold each row's own languages; they go before `source_lang` and `target_lang`
    source_lang_key: str | None = None
    target_lang_key: str | None = None
    #: sentences: a side becomes one line, runs of white space one space; documents: sides keep their lines
    sides: Literal["sentences", "documents"] = "sentences"


@register("pair.split", version=1)
class Split(Transform[SplitParams]):
    """Adds `pair.sides` (source, target), `pair.source_lang` and `pair.target_lang`.

    `text` becomes the source, a newline and the target, white space at their ends removed. Steps that edit `text` do
    not reach the sides: put them before this one.
    """

    Params = SplitParams
    reasons = frozenset({"not_a_pair", "empty_side"})
    edits_text = True

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, (SIDES, SOURCE_LANG, TARGET_LANG))

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        texts = batch.column("text").to_pylist()
        pairs: list[tuple[str, str] | None] = []
        reasons: list[str | None] = []
        details: list[str | None] = []
        langs: list[tuple[str | None, str | None]] = []
        for at, (text, meta) in enumerate(zip(texts, batch.column("meta").to_pylist(), strict=True)):
            record = self._record(meta)
            langs.append(self._langs(record))
            pair, reason, detail = self._pair(text, record)
            pairs.append(pair)
            reasons.append(reason)
            details.append(detail)
            if pair is not None:
                texts[at] = joined(*pair)
        columns = [
            (batch.schema.field("text"), texts),
            (SIDES, sides_array(pairs)),
            (SOURCE_LANG, [source for source, _ in langs]),
            (TARGET_LANG, [target for _, target in langs]),
        ]
        return partition(append_columns(batch, columns), Verdicts(reasons, details))

    def _record(self, meta: str) -> Any:
        if self.params.target_key or self.params.source_lang_key or self.params.target_lang_key:
            return orjson.loads(meta)
        return {}

    def _pair(self, text: str, record: Any) -> tuple[tuple[str, str] | None, str | None, str | None]:
        """(sides, None, None), or (None, reason, detail)."""
        key = self.params.target_key
        if key is None:
            sides = text.split(_SEPARATORS[self.params.separator])
            if len(sides) != 2:
                return None, "not_a_pair", f"{len(sides)} sides by {self.params.separator}"
        else:
            target = _value(record, key)
            if not isinstance(target, str):
                return None, "not_a_pair", f"meta has no text under {key!r}"
            sides = [text, target.replace(SENTINEL, " ")]
        one_line = self.params.sides == "sentences"
        source, target = (" ".join(side.split()) if one_line else side.strip() for side in sides)
        if not source or not target:
            return None, "empty_side", "both" if not source and not target else "target" if source else "source"
        return (source, target), None, None

    def _langs(self, record: Any) -> tuple[str | None, str | None]:
        given = (
            (self.params.source_lang, self.params.source_lang_key),
            (self.params.target_lang, self.params.target_lang_key),
        )
        source, target = (lang if key is None else _text(_value(record, key)) or lang for lang, key in given)
        return source, target


def _value(record: Any, key: str) -> Any:
    """A record's value by a key that may reach inside; a literal "a.b" goes before b of a."""
    if isinstance(record, dict) and key in record:
        return record[key]
    for name in key.split("."):
        record = record.get(name) if isinstance(record, dict) else None
    return record


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
