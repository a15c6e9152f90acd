"""A strict reader of configurations in their YAML or JSON form, and the way back."""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from schemas.errors import RecipeError

T = TypeVar("T")

_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def to_dict(config: Any) -> dict[str, Any]:
    """The plain form of a configuration, as it is written to config.json."""
    return dataclasses.asdict(config)


def from_dict(kind: type[T], raw: Any, where: str) -> T:
    """Builds a configuration from its plain form.

    Raises RecipeError that names the place, and the nearest valid key, for anything unknown, missing or of the
    wrong type.
    """
    if not isinstance(raw, Mapping):
        raise RecipeError(f"{where}: expected a mapping, got {raw!r}")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in raw:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(fields)}"
            raise RecipeError(f"{where}: {key!r} is not a setting; {hint}")
    values = {key: _convert(hints[key], value, f"{where}.{key}") for key, value in raw.items()}
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise RecipeError(f"{where}: {name!r} is missing")
    return kind(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return None if value is None else _convert(next(a for a in args if a is not types.NoneType), value, where)
    if origin is typing.Literal:
        if value in args:
            return value
        near = difflib.get_close_matches(str(value), [str(a) for a in args], n=1)
        hint_text = f"; did you mean {near[0]!r}?" if near else ""
        raise RecipeError(f"{where}: {value!r} is not one of {', '.join(map(str, args))}{hint_text}")
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, where)
    if origin is tuple and isinstance(value, list | tuple):
        if args[-1] is not Ellipsis and len(value) != len(args):
            raise RecipeError(f"{where}: expected {len(args)} values, got {len(value)}")
        return tuple(_convert(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if type(value) is int and not -(2**63) <= value < 2**63:
        raise RecipeError(f"{where}: {value!s:.20}… is too large")
    if hint is float and type(value) in (int, float):
        return float(value)
    if type(value) is hint:
        return value
    if hint is float and isinstance(value, str) and _EXPONENT.fullmatch(value):
        raise RecipeError(f"{where}: {value} is a text in YAML; a number's exponent needs a point and a sign: 1.0e-3")
    raise RecipeError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r}")
