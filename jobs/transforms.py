"""`sluice transforms`: what a recipe's steps can be."""

from __future__ import annotations

import inspect
import json
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from rich.console import Console

from schemas.errors import RecipeError
from transforms.dedup.base import GlobalStep
from transforms.registry import catalog, get


def transforms(
    name: Annotated[str | None, typer.Argument(help="Show one transform in full.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the transforms, with their parameters and the reasons they reject with."""
    chosen = catalog() if name is None else {name: get(name)}
    described = {key: describe(cls) for key, cls in chosen.items()}
    if as_json:
        print(json.dumps(described, indent=1, default=str))
        return
    console = Console(highlight=False, soft_wrap=True)
    for key, about in described.items():
        console.print(f"[bold]{key}[/] (version {about['version']}{', global' if about['global'] else ''})")
        console.print(f"  {about['summary'] if name is None else about['doc']}", markup=False)
        for parameter, what in about["params"].items():
            console.print(f"    {parameter}: {what['type']} = {what['default']}", markup=False)
        if about["reasons"]:
            console.print(f"  rejects: {', '.join(about['reasons'])}", markup=False)
        console.print()


def describe(cls: Any) -> dict[str, Any]:
    """A transform's version, docstring, parameters and reasons."""
    doc = inspect.getdoc(cls)
    if doc is None:
        raise RecipeError(f"{cls.name} has no docstring")
    params = {
        name: {
            "type": _type_name(field.annotation),
            "default": "required" if field.is_required() else _plain(field.get_default(call_default_factory=True)),
        }
        for name, field in cls.Params.model_fields.items()
    }
    return {
        "version": cls.version,
        "global": issubclass(cls, GlobalStep),
        "summary": doc.split("\n\n")[0].replace("\n", " "),
        "doc": doc,
        "params": params,
        "reasons": sorted(cls.reasons),
    }


def _type_name(annotation: Any) -> str:
    """A type as a recipe's author reads it: parameters of their own as a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields.items()
        return "{" + ", ".join(f"{name}: {_type_name(field.annotation)}" for name, field in fields) + "}"
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(_type_name(inner) for inner in get_args(annotation))
    if annotation is NoneType:
        return "null"
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else _bare(annotation)


def _bare(annotation: Any) -> str:
    return str(annotation).replace("typing.", "")


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json", exclude_none=True) if isinstance(value, BaseModel) else value
