"""What rules know about languages: their stop words, and limits where English ones do not fit.

`assets/languages.yaml` holds both, and says of every limit where it comes from (docs/decisions/0010-languages.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import yaml
from pydantic import Field, model_validator

from transforms.text.language_codes import code_of
from transforms.text.presets import PresetParams

ENGLISH = "en"
COLUMN = "text.lang"
#: a set of stop words is counted in a 64-bit mask
MAX_STOP_WORDS = 64


@dataclass(frozen=True, slots=True)
class Language:
    """A language that comes with the package; `limits`: transform -> parameter -> value."""

    code: str
    stop_words: tuple[str, ...]
    limits: Mapping[str, Mapping[str, float]]


@cache
def shipped() -> dict[str, Language]:
    """Languages by code (ISO 639-1 where there is one), in the order of their codes."""
    return {
        code: Language(code, tuple(entry.get("stop_words", ())), entry.get("limits", {}))
        for code, entry in sorted(_asset().items())
    }


@cache
def _asset() -> dict[str, dict[str, Any]]:
    text = files("transforms.text").joinpath("assets/languages.yaml").read_text(encoding="utf-8")
    return yaml.load(text, yaml.CSafeLoader)


@cache
def _related() -> dict[str, str]:
    return {other: code for code, entry in _asset().items() for other in entry.get("also", ())}


@lru_cache(maxsize=1 << 12)
def language_of(label: str | None) -> str:
    """The language whose rules hold for a label (language_codes.code_of); a row without a label counts as English."""
    if label is None:
        return ENGLISH
    code = code_of(label)
    return _related().get(code, code)


def languages_of(batch: pa.RecordBatch) -> np.ndarray:
    """Each row's language, dtype object [rows]; without a column `text.lang`, every row is English."""
    if COLUMN not in batch.schema.names:
        return np.full(batch.num_rows, ENGLISH, object)
    return np.array([language_of(label) for label in batch.column(COLUMN).to_pylist()], object)


class LanguageParams(PresetParams):
    """Parameters whose limits may differ by language."""

    #: the transform, as the asset names it
    TRANSFORM: ClassVar[str]

    #: shipped: stop words and limits of a row's language where the package has them, unless a limit is set to something
    #: else than its default, which then holds for all languages. published: English rules for every row.
    languages: Literal["shipped", "published"] = "shipped"
    #: language (of the column `text.lang`) -> limits that differ in it; null switches a rule off
    by_language: dict[str, dict[str, float | None]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_by_language(self) -> LanguageParams:
        # Rules are limits, which are numbers or null; what else there is holds for all languages.
        numeric = {name for name in type(self).model_fields if type(getattr(self, name)) in (int, float, type(None))}
        for language, limits in self.by_language.items():
            for name in limits:
                if name not in numeric:
                    raise ValueError(f"by_language.{language}: there is no limit {name!r}")
            type(self).model_validate({"preset": self.preset, **limits})
        return self

    def limits(self) -> dict[str, dict[str, float | None]]:
        """Language -> parameter -> value, wherever it differs from these parameters."""
        found: dict[str, dict[str, float | None]] = {}
        if self.languages == "shipped":
            defaults = type(self).model_validate({"preset": self.preset})
            for code, language in shipped().items():
                found[code] = {
                    name: value
                    for name, value in language.limits.get(self.TRANSFORM, {}).items()
                    if getattr(self, name) == getattr(defaults, name)
                }
        for label, limits in self.by_language.items():
            code = language_of(label)
            found[code] = found.get(code, {}) | limits
        return {code: limits for code, limits in found.items() if limits}
