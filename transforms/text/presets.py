"""Presets: one rule set as several implementations publish it, every constant open to change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import model_validator

from transforms.base import Params


class PresetParams(Params):
    """Parameters whose defaults depend on `preset`. A threshold set to null switches its rule off.

    The preset's values are filled in before validation, so that a resolved recipe names every constant it ran with.
    """

    #: preset -> the parameters it sets; those it does not name keep the class's own default
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    preset: str

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        preset = given.get("preset", cls.model_fields["preset"].default)
        return {**cls.PRESETS.get(preset, {}), **given} if isinstance(preset, str) else given
