"""Keys, tokens and passwords in text: replaced, or the whole document rejected."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import pyarrow as pa

from schemas.sample import SENTINEL
from transforms.base import Outcome, Params, Transform, Verdicts, append_columns, append_fields, partition
from transforms.registry import register
from transforms.text.secrets_patterns import Span, find_secrets

TAG = "<SECRET>"
_FIELD = pa.field("secrets.count", pa.int32())


class SecretsParams(Params):
    """What a secret costs."""

    #: every secret becomes <SECRET>; or its row is rejected; or it is only counted
    action: Literal["replace", "reject", "count"] = "replace"


@register("text.secrets", version=1)
class Secrets(Transform[SecretsParams]):
    """Finds private keys, tokens of well-known issuers, JSON web tokens, passwords in URLs, and random strings that are
    assigned to names such as `api_key`.

    Adds `secrets.count`; `select.range` on it makes a limit of it. The detail of a rejected row says which kinds and
    where (in characters of the text), never the secret itself. Assigned strings are judged narrowly: placeholders,
    words and short values pass, so a password that is a word is not found.
    """

    Params = SecretsParams
    reasons = frozenset({"contains_secret"})
    edits_text = True

    def __init__(self, params: SecretsParams) -> None:
        super().__init__(params)
        self.edits_text = params.action == "replace"  # type: ignore[misc]

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, [_FIELD])

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        texts = batch.column("text").to_pylist()
        found = [find_secrets(text) for text in texts]
        batch = append_columns(batch, [(_FIELD, [len(spans) for spans in found])])
        if self.params.action == "reject":
            reasons = ["contains_secret" if spans else None for spans in found]
            return partition(batch, Verdicts(reasons, [_detail(spans) if spans else None for spans in found]))
        if self.params.action == "replace" and any(found):
            edited = [_replace(text, spans) for text, spans in zip(texts, found, strict=True)]
            batch = append_columns(batch, [(batch.schema.field("text"), edited)])
        return partition(batch, Verdicts([None] * len(texts)))


def _replace(text: str, spans: list[Span]) -> str:
    """The text with tags for secrets; media sentinels in them stay, after the tag."""
    pieces, last = [], 0
    for start, end, _ in spans:
        pieces += [text[last:start], TAG, SENTINEL * text.count(SENTINEL, start, end)]
        last = end
    return "".join([*pieces, text[last:]])


def _detail(spans: list[Span]) -> str:
    kinds = Counter(kind for _, _, kind in spans)
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return f"{listed}; the first at chars {spans[0][0]}-{spans[0][1]}"
