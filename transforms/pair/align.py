"""Two documents that translate each other become pairs of sentences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from transforms.base import Explode, Outcome, Params, Verdicts, append_columns, append_fields, partition
from transforms.kernels import alignment as kernels
from transforms.pair.lengths import VARIANCE, num_letters
from transforms.pair.sides import SIDES, joined, require_pairs, side_texts, sides_array
from transforms.registry import register
from transforms.text.sentences import split_sentences

_FIELDS = (
    pa.field("pair.bead", pa.string()),
    pa.field("pair.bead_cost", pa.float64()),
    pa.field("pair.unaligned_ratio", pa.float64()),
)


class AlignParams(Params):
    """How much of the two documents must find its counterpart."""

    #: share of both documents' letters in sentences that were left without one
    max_unaligned_ratio: float = Field(default=0.5, ge=0, le=1)
    #: of either side; a long novel has fewer. The table of alignments takes a kilobyte a sentence
    max_sentences: int = Field(default=30_000, ge=1)


@dataclass(frozen=True, slots=True)
class Bead:
    """Sentences that translate each other, joined by spaces, how many of each side, and `cost`, -log of the chance."""

    source: str
    target: str
    num_source: int
    num_target: int
    cost: float


@register("pair.align", version=1)
class Align(Explode[AlignParams]):
    """Aligns the sentences of a pair of documents by their lengths (Gale and Church 1993), one row a bead.

    Sentences without a counterpart are left out, and counted: a row has its `pair.bead`, `pair.bead_cost` (negative log
    probability) and the document's `pair.unaligned_ratio`. `pair.score` knows words, which this does not: use it next.
    The document's `meta` goes with its first pair; the others have none. A document of media parts is rejected, since
    it could not be told to which sentence they go.
    """

    Params = AlignParams
    reasons = frozenset({"has_media", "too_many_sentences", "no_sentences", "poor_alignment"})
    edits_text = True

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        require_pairs(schema, "pair.align")
        return append_fields(schema, _FIELDS)

    def explode(self, batch: pa.RecordBatch) -> Outcome:
        reasons: list[str | None] = []
        details: list[str | None] = []
        ratios: list[float | None] = []
        beads: list[list[Bead] | None] = []
        media = pc.list_value_length(batch.column("media")).to_pylist()
        for pair, parts in zip(side_texts(batch), media, strict=True):
            reason = detail = ratio = found = None
            if pair is not None and parts:
                reason, detail = "has_media", f"{parts} media parts"
            elif pair is not None:
                sentences = split_sentences(pair[0]), split_sentences(pair[1])
                numbers = f"{len(sentences[0])} and {len(sentences[1])}"
                if max(map(len, sentences)) > self.params.max_sentences:
                    reason, detail = "too_many_sentences", f"{numbers}; at most {self.params.max_sentences}"
                elif not all(sentences):
                    reason, detail = "no_sentences", numbers
                else:
                    found, ratio = align(*sentences)
                    if ratio > self.params.max_unaligned_ratio or not found:
                        reason = "poor_alignment"
                        detail = (
                            f"{ratio:.3f} unaligned, at most {self.params.max_unaligned_ratio:g}; {len(found)} pairs"
                        )
            reasons.append(reason)
            details.append(detail)
            ratios.append(ratio)
            beads.append(found)
        nothing = [None] * batch.num_rows
        marked = append_columns(batch, list(zip(_FIELDS, (nothing, nothing, ratios), strict=True)))
        outcome = partition(marked, Verdicts(reasons, details))
        return Outcome(
            _exploded(outcome.kept, [b for b, r in zip(beads, reasons, strict=True) if r is None]), outcome.rejected
        )


def align(source: list[str], target: list[str]) -> tuple[list[Bead], float]:
    """The beads with sentences on both sides, in order, and the share of letters left out; no side is empty."""
    lengths = [np.array([max(num_letters(sentence), 1.0) for sentence in side]) for side in (source, target)]
    kinds, costs = np.empty(len(source) + len(target), np.uint8), np.empty(len(source) + len(target))
    count = kernels.align(*lengths, VARIANCE, kinds, costs)
    beads: list[Bead] = []
    left_out = 0.0
    i = j = 0
    for kind, cost in zip(kinds[:count][::-1].tolist(), costs[:count][::-1].tolist(), strict=True):
        k, l = i + kernels.NUM_SOURCE[kind], j + kernels.NUM_TARGET[kind]
        if k > i and l > j:
            beads.append(Bead(" ".join(source[i:k]), " ".join(target[j:l]), k - i, l - j, cost))
        else:
            left_out += lengths[0][i:k].sum() + lengths[1][j:l].sum()
        i, j = k, l
    return beads, float(left_out / (lengths[0].sum() + lengths[1].sum()))


def _exploded(batch: pa.RecordBatch, beads: list[list[Bead] | None]) -> pa.RecordBatch:
    """A row for each bead, `id` parent#k; a row that is no pair (None) stays as it is."""
    parents = np.repeat(np.arange(batch.num_rows), [1 if found is None else len(found) for found in beads])
    numbered = [(k, bead) for found in beads for k, bead in ([(0, None)] if found is None else enumerate(found))]
    # What may hold the document is not repeated for each of its beads, which would take its square.
    texts, metas = (batch.column(name).to_pylist() for name in ("text", "meta"))
    empty = [(batch.schema.field(name), [""] * batch.num_rows) for name in ("text", "meta")]
    light = append_columns(batch, [*empty, (SIDES, pa.nulls(batch.num_rows, SIDES.type))])
    children: dict[str, list[str]] = {"id": [], "text": [], "meta": []}
    for name, parent, (k, bead) in zip(
        batch.column("id").take(pa.array(parents)).to_pylist(), parents.tolist(), numbered, strict=True
    ):
        children["id"].append(name if bead is None else f"{name}#{k}")
        children["text"].append(texts[parent] if bead is None else joined(bead.source, bead.target))
        children["meta"].append("{}" if k else metas[parent])
    columns = [
        *((batch.schema.field(name), values) for name, values in children.items()),
        (SIDES, sides_array([None if bead is None else (bead.source, bead.target) for _, bead in numbered])),
        (_FIELDS[0], [None if bead is None else f"{bead.num_source}-{bead.num_target}" for _, bead in numbered]),
        (_FIELDS[1], [None if bead is None else bead.cost for _, bead in numbered]),
    ]
    return append_columns(light.take(pa.array(parents)), columns)
