"""What a recipe's steps are made of, for fingerprints: parameters, versions, and the content of the files they name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from pipeline.plan import Plan
from pipeline.storage import sha256_file
from transforms.base import Transform
from transforms.dedup.base import GlobalStep
from transforms.signals import resolve


def stage_specs(plan: Plan) -> list[list[dict[str, Any]]]:
    """By stage, one entry a step: everything that shapes what the step makes of a row, but for the tokenizer, which
    is not there yet. Reads the files that parameters name."""
    return [
        [_spec(plan, step.label, step.transform) for step in stage.steps]
        + [_spec(plan, label, dedup) for label, dedup in stage.dedups]
        for stage in plan.stages
    ]


def _spec(plan: Plan, label: str, made: Transform | GlobalStep) -> dict[str, Any]:
    params = made.params.model_dump(mode="json")
    if made.name == "tokens.encode":
        return {"use": made.name, "version": made.version, "with": params | {"tokenizer": None}}
    spec: dict[str, Any] = plan.recipe.steps[int(label.partition(":")[0]) - 1].model_dump(by_alias=True, mode="json")
    spec |= {"version": made.version, "files": {path: sha256_file(path) for path in sorted(set(_files_named(params)))}}
    if isinstance(made, Transform):
        spec["signals"] = {column: resolve(column)[0].version for column in made.signals()}
    return spec


def _files_named(value: Any) -> Iterator[str]:
    """Every local file named in a step's parameters (models, word lists, benchmarks), and those in a named folder: a
    change of their content is a change of the recipe, whatever the transform does with them."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _files_named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _files_named(inner)
    elif isinstance(value, str):
        if os.path.isfile(value):
            yield value
        elif os.path.isdir(value):
            yield from (entry.path for entry in os.scandir(value) if entry.is_file())
