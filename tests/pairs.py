"""A small parallel text, English and German, and rows made of it."""

from __future__ import annotations

import itertools

import pyarrow as pa

from schemas.sample import sample_batch
from tests.conformance.batches import contract_batches
from transforms.base import append_columns
from transforms.pair.sides import SIDES, SOURCE_LANG, TARGET_LANG, joined, sides_array

_NOUNS = [("dog", "Hund"), ("king", "König"), ("boat", "Kahn"), ("baker", "Bäcker"), ("teacher", "Lehrer")]
_VERBS = [("sees", "sieht"), ("finds", "findet"), ("paints", "malt"), ("sells", "verkauft")]
_THINGS = [("the moon", "den Mond"), ("the ring", "den Ring"), ("the garden", "den Garten"), ("bread", "Brot")]

#: 80 pairs: every combination
SENTENCES = [
    (f"The {noun[0]} {verb[0]} {thing[0]}.", f"Der {noun[1]} {verb[1]} {thing[1]}.")
    for noun, verb, thing in itertools.product(_NOUNS, _VERBS, _THINGS)
]


def pair_batch(
    pairs: list[tuple[str, str] | None], langs: tuple[str | None, str | None] = ("en", "de")
) -> pa.RecordBatch:
    """Rows as pair.split leaves them; None is a row that is no pair."""
    rows = [
        {"id": f"r{at}", "source": f"pairs#{at}", "text": "no pair" if pair is None else joined(*pair)}
        for at, pair in enumerate(pairs)
    ]
    columns = [(SIDES, sides_array(pairs))]
    columns += [(field, [lang] * len(pairs)) for field, lang in zip((SOURCE_LANG, TARGET_LANG), langs, strict=True)]
    return append_columns(sample_batch(rows), columns)


def strange_pairs() -> list[tuple[str, str] | None]:
    """Every text of the contract's batches beside the one after it, and rows that are no pair."""
    texts = [text for kind in ("plain", "unicode") for text in contract_batches()[kind].column("text").to_pylist()]
    return [None, *zip(texts, texts[1:] + texts[:1], strict=True), None]
