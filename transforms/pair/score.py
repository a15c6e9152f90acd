"""How well two sides translate each other, by a lexicon learned from such pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.errors import RecipeError, SluiceError
from transforms.base import Map, Params, append_columns, append_fields
from transforms.pair.lexicon import Lexicon, Words
from transforms.pair.sides import require_pairs, side
from transforms.registry import register

_FIELD = pa.field("score.alignment", pa.float64())


class ScoreParams(Params):
    """Which lexicon to score with."""

    #: a file that `sluice alignment train` wrote
    lexicon: str


@register("pair.score", version=1)
class Score(Map[ScoreParams]):
    """Adds `score.alignment`: IBM Model 1's evidence a word that each side translates the other, in nats.

    The evidence is the logarithm of how much more probable a word is given the other side than by itself, halved with
    doubt, as the mean over known words and both directions: from -0.69 (nothing fits), over 0 (the lexicon cannot say),
    to 3 and more. Null where a side has no known word, and where the row is no pair. `select.range` decides.
    """

    Params = ScoreParams

    def __init__(self, params: ScoreParams) -> None:
        super().__init__(params)
        self._lexicon: Lexicon | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_lexicon": None}

    def setup(self) -> None:
        if self._lexicon is None:
            self._lexicon = load_lexicon(self.params.lexicon)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        require_pairs(schema, "pair.score")
        return append_fields(schema, (_FIELD,))

    def map(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self.setup()
        assert self._lexicon is not None
        source, target = (Words.of(side(batch, name)) for name in ("source", "target"))
        scores = self._lexicon.score(source, target)
        return append_columns(batch, [(_FIELD, pa.array(scores, pa.float64(), mask=np.isnan(scores)))])


def load_lexicon(path: str) -> Lexicon:
    """Reads a lexicon file; raises RecipeError when it is not there or none."""
    if not Path(path).is_file():
        raise RecipeError(
            f"pair.score: there is no lexicon {path!r}; make one of this recipe's pairs with"
            f" `sluice alignment train RECIPE --out {path}`"
        )
    try:
        with pa.memory_map(path) as source:
            return Lexicon.of(pa.ipc.open_file(source).read_all())
    except (pa.ArrowException, OSError, SluiceError) as error:
        raise RecipeError(f"pair.score: {path!r} cannot be used as a lexicon: {error}") from error
