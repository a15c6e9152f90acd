"""Names to transforms. Adding one edits no list: the package is walked, and `@register` files what it finds."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError

from schemas.errors import RecipeError

T = TypeVar("T", bound=type)

_REGISTRY: dict[str, type] = {}


def register(name: str, version: int) -> Callable[[T], T]:
    """Files a transform class under `name`; `version` goes up when its output changes."""

    def file(cls: T) -> T:
        if name in _REGISTRY and _REGISTRY[name].__qualname__ != cls.__qualname__:
            raise AssertionError(f"{name} is registered twice: {_REGISTRY[name]} and {cls}")
        cls.name, cls.version = name, version  # type: ignore[attr-defined]
        _REGISTRY[name] = cls
        return cls

    return file


@cache
def load_all() -> None:
    """Imports every module under transforms/, which registers what is in them. Cheap: heavy things load in setup()."""
    import transforms

    for module in pkgutil.walk_packages(transforms.__path__, "transforms."):
        importlib.import_module(module.name)


def catalog() -> dict[str, type]:
    """Every registered transform by name, sorted."""
    load_all()
    return dict(sorted(_REGISTRY.items()))


def nearest(name: str, choices: list[str]) -> str:
    """A hint for an unknown name: the closest valid ones, or all of them when none is close."""
    close = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(repr(c) for c in close)}?" if close else f"known: {', '.join(choices)}"


def get(name: str) -> type:
    """The class registered as `name`; raises RecipeError naming the nearest ones."""
    known = catalog()
    if name not in known:
        raise RecipeError(f"unknown transform {name!r}; {nearest(name, list(known))}")
    return known[name]


def build(name: str, params: dict[str, Any]) -> Any:
    """An instance of the transform `name`; raises RecipeError saying which parameter is wrong and what is valid."""
    cls = get(name)
    return cls(parse_params(cls.Params, params))  # type: ignore[attr-defined]


def parse_params(model: Any, params: dict[str, Any]) -> Any:
    """Validates parameters; every problem in one RecipeError, unknown names with the nearest valid one."""
    try:
        return model.model_validate(params)
    except ValidationError as error:
        raise RecipeError("; ".join(describe(problem, model) for problem in error.errors())) from error


def describe(problem: Any, model: Any) -> str:
    """One pydantic problem in a person's words, with the place and, for an unknown name, the nearest valid one."""
    place = ".".join(str(step) for step in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{place}: no such parameter; {nearest(str(problem['loc'][-1]), list(model.model_fields))}"
    told = f"{problem['msg'].removeprefix('Value error, ')} (got {problem.get('input')!r:.80})"
    return f"{place}: {told}" if place else told  # no place: what parameters say together
