"""How surprising a text is to a language model of good prose, after CCNet (Wenzek et al. 2020, arXiv 1911.00359)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from schemas.errors import RecipeError, SchemaError
from transforms.base import Filter, Params, Verdicts, append_columns, append_fields
from transforms.registry import register
from transforms.text.language_codes import Code, code_of
from transforms.text.ngram_model import Cutoffs, NgramModel
from transforms.text.ngram_words import text_tokens

_LANG, _PERPLEXITY, _BUCKET = "text.lang", "score.perplexity", "text.perplexity_bucket"
_FIELDS = (pa.field(_PERPLEXITY, pa.float64()), pa.field(_BUCKET, pa.string()))
_ARROW_MAGIC = b"ARROW1"
Bucket = Literal["head", "middle", "tail"]
_BUCKETS: tuple[Bucket, ...] = ("head", "middle", "tail")


class PerplexityParams(Params):
    """Which model judges which language, and what to keep."""

    #: language -> a model that `sluice ngram train` wrote, or KenLM's (.arpa or binary; needs
    #: the kenlm package)
    models: dict[Code, str] = Field(min_length=1)
    #: perplexities up to the first are `head`, up to the second `middle`, by language; default: the model's own
    cutoffs: dict[Code, Cutoffs] = Field(default_factory=dict)
    #: buckets to keep; a row without one is kept too
    keep: tuple[Bucket, ...] = Field(default=_BUCKETS, min_length=1)


class _Model(Protocol):
    def perplexities(self, texts: pa.Array) -> np.ndarray: ...


@register("text.perplexity", version=1)
class Perplexity(Filter[PerplexityParams]):
    """Adds `score.perplexity` (a token's, lines apart) and `text.perplexity_bucket` (head, middle or tail).

    By default rejects nothing, and `select.range` may decide; `keep: [head, middle]` rejects the tail. Both columns are
    null in languages without a model and without text, the bucket also for a model without cut-offs. Needs `text.lang`.
    """

    Params = PerplexityParams
    reasons = frozenset(f"{bucket}_perplexity" for bucket in _BUCKETS)

    def __init__(self, params: PerplexityParams) -> None:
        super().__init__(params)
        self._models: dict[str, _Model] = {}
        self._cutoffs: dict[str, tuple[float, float]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_models": {}, "_cutoffs": {}}

    def setup(self) -> None:
        if self._models:
            return
        unknown = sorted(set(self.params.cutoffs) - set(self.params.models))
        if unknown:
            raise RecipeError(f"text.perplexity: cutoffs for {', '.join(unknown)}, which have no model")
        cutoffs = dict(self.params.cutoffs)
        models: dict[str, _Model] = {}
        for lang, path in self.params.models.items():
            models[lang] = model = load_model(path)
            if not isinstance(model, NgramModel):
                continue
            if code_of(model.description.lang) != lang:
                raise RecipeError(
                    f"text.perplexity: {path!r} was trained on {model.description.lang!r}, and `models` has it for"
                    f" {lang!r}; train one with --lang {lang}"
                )
            if model.description.cutoffs is not None:
                cutoffs.setdefault(lang, model.description.cutoffs)
        self._models, self._cutoffs = models, cutoffs

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        if _LANG not in schema.names:
            raise SchemaError(
                f"text.perplexity: there is no column {_LANG!r} at this step; put text.language before it"
            )
        return append_fields(schema, _FIELDS)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self.setup()
        langs = batch.column(_LANG)
        perplexities = np.full(batch.num_rows, np.nan)
        buckets = np.full(batch.num_rows, None, object)
        for lang, model in self._models.items():
            mine = np.flatnonzero(pc.fill_null(pc.equal(langs, lang), False).to_numpy(zero_copy_only=False))
            if len(mine):
                found = model.perplexities(batch.column("text").take(pa.array(mine)))
                perplexities[mine] = found
                if lang in self._cutoffs:
                    at = np.searchsorted(self._cutoffs[lang], found)
                    at[np.isnan(found)] = len(_BUCKETS)
                    buckets[mine] = np.array((*_BUCKETS, None), object)[at]
        columns = (pa.array(perplexities, mask=np.isnan(perplexities)), buckets.tolist())
        return append_columns(batch, list(zip(_FIELDS, columns, strict=True)))

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        reasons: list[str | None] = []
        details: list[str | None] = []
        columns = (batch.column(name).to_pylist() for name in (_LANG, _PERPLEXITY, _BUCKET))
        for lang, perplexity, bucket in zip(*columns, strict=True):
            bad = bucket is not None and bucket not in self.params.keep
            reasons.append(f"{bucket}_perplexity" if bad else None)
            details.append(f"perplexity {perplexity:.1f}; {self._ends(lang)}" if bad else None)
        return Verdicts(reasons, details)

    def _ends(self, lang: str) -> str:
        head, middle = self._cutoffs[lang]
        return f"in {lang} head ends at {head:.1f}, middle at {middle:.1f}"


def load_model(path: str) -> _Model:
    """The model at a path, ours or KenLM's; raises RecipeError when it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            ours = file.read(len(_ARROW_MAGIC)) == _ARROW_MAGIC
    except OSError as error:
        raise RecipeError(
            f"text.perplexity: cannot open {path!r} ({error.strerror}); `sluice ngram train` makes a model"
        ) from error
    return NgramModel.load(path) if ours else KenlmModel(path)


class KenlmModel:
    """A KenLM model over the tokens of transforms.text.ngram_words, a space between two, line by line."""

    def __init__(self, path: str) -> None:
        try:
            import kenlm
        except ImportError as error:
            raise RecipeError(
                f"text.perplexity: {path!r} is no model of sluice's; to read one of KenLM's, pip install kenlm"
            ) from error
        try:
            self._model = kenlm.Model(path)
        except OSError as error:
            raise RecipeError(f"text.perplexity: {path!r} is neither a sluice nor a KenLM model ({error})") from error

    def perplexities(self, texts: pa.Array) -> np.ndarray:
        """As NgramModel's."""
        return np.array([self._perplexity(text) for text in texts.to_pylist()], np.float64)

    def _perplexity(self, text: str) -> float:
        lines = text_tokens(text)
        if not lines:
            return np.nan
        total = sum(self._model.score(" ".join(tokens), bos=True, eos=True) for tokens in lines)
        return float(10.0 ** (-total / sum(len(tokens) + 1 for tokens in lines)))
