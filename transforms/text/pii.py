"""Personal data in running text: found by form and check digits, replaced, and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import pyarrow as pa
from pydantic import Field

from transforms.base import Map, Params, append_columns, append_fields
from transforms.registry import register
from transforms.text.pii_contacts import find_emails, find_ips
from transforms.text.pii_numbers import find_cards, find_ibans
from transforms.text.pii_phones import find_phones
from transforms.text.pii_replace import TAGS, fake

Kind = Literal["email", "iban", "card", "ip", "phone"]

#: in order of certainty: where two find the same characters, the first has them
_FINDERS: dict[Kind, Callable[[str], Iterator[tuple[int, int]]]] = {
    "email": find_emails,
    "iban": find_ibans,
    "card": find_cards,
    "ip": find_ips,
    "phone": find_phones,
}


class PiiParams(Params):
    """What to look for, and what to put in its place."""

    kinds: tuple[Kind, ...] = Field(default=("email", "phone", "ip", "card", "iban"), min_length=1)
    #: a value set aside for examples (user12345678@example.com, 192.0.2.7, 202-555-0143), the same one for the same
    #: value everywhere; or a tag (<EMAIL>); or nothing, so that only the counts are written
    action: Literal["replace", "tag", "count"] = "replace"
    #: of the replacements; null: the recipe's
    seed: int | None = None


@register("text.pii", version=1)
class Pii(Map[PiiParams]):
    """Replaces e-mail addresses, telephone numbers, public IP addresses, payment cards and IBANs in `text`.

    Adds a count for each kind (`pii.email`, …) and `pii.total`. Dolma drops documents with more than five (Soldaini et
    al. 2024, arXiv 2402.00159): `select.range` with `column: pii.total, max: 5, reason: too_much_pii`.

    Cards need an issuer's prefix and a Luhn digit, IBANs a country's length and check digits; national telephone
    numbers a grouping of their own or a word for telephone before them; private, documentation and multicast networks
    are no one's, nor are example.com and 555-01xx. So a second run finds nothing, and names and street addresses are
    out of reach: those need a model.
    """

    Params = PiiParams
    edits_text = True

    def __init__(self, params: PiiParams) -> None:
        super().__init__(params)
        self.edits_text = params.action != "count"  # type: ignore[misc]

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return append_fields(schema, self._fields())

    def map(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = batch.column("text").to_pylist()
        found = [find(text, self.params.kinds) for text in texts]
        columns: list[tuple[pa.Field, list[int] | list[str]]] = []
        for field, kind in zip(self._fields(), (*self._kinds(), None), strict=True):
            columns.append((field, [sum(kind in (None, other) for _, _, other in spans) for spans in found]))
        if self.params.action != "count" and any(found):
            edited = [self._replace(text, spans) for text, spans in zip(texts, found, strict=True)]
            columns.append((batch.schema.field("text"), edited))
        return append_columns(batch, columns)

    def _kinds(self) -> list[Kind]:
        return [kind for kind in _FINDERS if kind in self.params.kinds]

    def _fields(self) -> list[pa.Field]:
        return [pa.field(f"pii.{name}", pa.int32()) for name in (*self._kinds(), "total")]

    def _replace(self, text: str, spans: list[tuple[int, int, Kind]]) -> str:
        pieces, last = [], 0
        for start, end, kind in spans:
            value = text[start:end]
            instead = TAGS[kind] if self.params.action == "tag" else fake(kind, value, self.params.seed or 0)
            pieces += [text[last:start], instead]
            last = end
        return "".join([*pieces, text[last:]])


def find(text: str, kinds: tuple[Kind, ...]) -> list[tuple[int, int, Kind]]:
    """(start, end, kind) of all personal data of these kinds, in order and apart.

    All kinds are looked for, so that a card is no telephone number because cards are not asked for.
    """
    has_at, has_digit = "@" in text, any(digit in text for digit in "0123456789")
    found: list[tuple[int, int, Kind]] = []
    for kind, finder in _FINDERS.items():
        if has_at if kind == "email" else has_digit:
            found += [(start, end, kind) for start, end in finder(text)]
    taken: list[tuple[int, int, Kind]] = []
    order = {kind: at for at, kind in enumerate(_FINDERS)}
    # Greedy by certainty, then by place; the spans of a kind are apart, so a few sorted lists need no interval tree.
    for span in sorted(found, key=lambda span: (span[0], order[span[2]])):
        while taken and span[0] < taken[-1][1] and order[span[2]] < order[taken[-1][2]]:
            taken.pop()
        if not taken or span[0] >= taken[-1][1]:
            taken.append(span)
    return [span for span in taken if span[2] in kinds]
