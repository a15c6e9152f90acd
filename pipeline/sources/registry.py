"""Names to sources. Adding one edits no list: the package is walked, and `@register` files what it finds."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from pipeline.sources.base import Source
from schemas.errors import RecipeError
from transforms.registry import nearest, parse_params

T = TypeVar("T", bound=type[Source])

_REGISTRY: dict[str, type[Source]] = {}


def register(name: str, version: int) -> Callable[[T], T]:
    """Files a source class under `name`; `version` goes up when the rows it makes of the same bytes change."""

    def file(cls: T) -> T:
        if name in _REGISTRY and _REGISTRY[name].__qualname__ != cls.__qualname__:
            raise AssertionError(f"source {name} is registered twice: {_REGISTRY[name]} and {cls}")
        cls.name, cls.version = name, version
        _REGISTRY[name] = cls
        return cls

    return file


@cache
def load_all() -> None:
    """Imports every module under pipeline/sources/, which registers what is in them."""
    import pipeline.sources

    for module in pkgutil.walk_packages(pipeline.sources.__path__, "pipeline.sources."):
        importlib.import_module(module.name)


def catalog() -> dict[str, type[Source]]:
    """Every registered source by name, sorted."""
    load_all()
    return dict(sorted(_REGISTRY.items()))


def get(name: str) -> type[Source]:
    """The class registered as `name`; raises RecipeError naming the nearest ones."""
    known = catalog()
    if name not in known:
        raise RecipeError(f"unknown source {name!r}; {nearest(name, list(known))}")
    return known[name]


def build(name: str, params: dict[str, Any]) -> Source:
    """An instance of the source `name`; raises RecipeError saying which parameter is wrong and what is valid."""
    cls = get(name)
    return cls(parse_params(cls.Params, params))
