"""`sluice transforms`: what a recipe's steps can be."""

from __future__ import annotations

import inspect
import json
from typing import Annotated, Any

import typer
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
            "type": str(field.annotation).replace("typing.", "")
            if not isinstance(field.annotation, type)
            else field.annotation.__name__,
            "default": "required" if field.is_required() else field.get_default(call_default_factory=True),
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
