"""A recipe compiled: sources, and stages of local steps with the global steps between them.

    source ─► stage 0: local steps ─► global steps ─► stage 1: local steps ─► … ─► last stage: tokens.encode

A global step (dedup) needs every row's keys, so it ends a stage; neighbouring global steps share one. Training the
tokenizer needs every kept row, so it ends one too. Each stage is one pass over the work units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.engine import Step, steps_schema
from pipeline.sources import registry as source_registry
from pipeline.sources.base import Source
from pipeline.storage import sha256_file
from schemas.errors import RecipeError, SluiceError
from schemas.ledger import ledger_schema, score_fields
from schemas.recipe import Recipe, TokenizerSpec
from schemas.sample import SAMPLE
from transforms.base import Transform
from transforms.dedup.base import Dedup
from transforms.registry import build
from transforms.signals import resolve

#: stands for the tokenizer a run has not trained or copied yet
TOKENIZER_PENDING = "pending"


@dataclass(frozen=True)
class StagePlan:
    """One pass over the work units, and the global steps after it."""

    steps: tuple[Step, ...]
    dedups: tuple[tuple[str, Dedup], ...]
    input_schema: pa.Schema
    schema: pa.Schema  # of the kept rows


@dataclass(frozen=True)
class Plan:
    """What a run does."""

    recipe: Recipe
    sources: tuple[tuple[str, Source], ...]  # (ledger label, source)
    stages: tuple[StagePlan, ...]
    ledger: pa.Schema
    specs: tuple[tuple[dict[str, Any], ...], ...] = field(default=())  # a stage's steps, for fingerprints


def compile_plan(recipe: Recipe, tokenizer: str = TOKENIZER_PENDING) -> Plan:
    """Compiles a resolved recipe, walking the schema through every step; raises RecipeError where one cannot run."""
    sources = tuple((f"input:{spec.use}", source_registry.build(spec.use, dict(spec.params))) for spec in recipe.inputs)
    groups: list[tuple[list[Step], list[tuple[str, Dedup]]]] = [([], [])]
    specs: list[list[dict[str, Any]]] = [[]]
    for number, spec in enumerate(recipe.steps, start=1):
        label = f"{number}:{spec.use}"
        made = build(spec.use, dict(spec.params))
        if isinstance(made, Dedup):
            if groups[-1][1] and groups[-1][1][-1][1].of_parts:
                groups.append(([], []))
                specs.append([])
            if spec.when is not None:
                raise RecipeError(
                    f"recipe {recipe.name!r}, {label}: a global step compares all rows; it takes no `when`"
                )
            groups[-1][1].append((label, made))
        else:
            if groups[-1][1]:
                groups.append(([], []))
                specs.append([])
            groups[-1][0].append(Step(label, made, spec.when.modalities() if spec.when else None))
        specs[-1].append(spec.model_dump(by_alias=True, mode="json") | _made_of(made))
    if groups[-1][1] or isinstance(recipe.tokens.tokenizer, TokenizerSpec):
        groups.append(([], []))
        specs.append([])
    encode = _encode_step(recipe, tokenizer)
    groups[-1][0].append(encode)
    params = encode.transform.params.model_dump(mode="json") | {"tokenizer": "see the stage's fingerprint"}
    specs[-1].append({"use": encode.transform.name, "version": encode.transform.version, "with": params})
    stages = []
    schema = SAMPLE
    for steps, dedups in groups:
        into = schema
        try:
            schema = steps_schema(steps, into)
        except SluiceError as error:
            raise RecipeError(f"recipe {recipe.name!r}: {error}") from error
        stages.append(StagePlan(tuple(steps), tuple(dedups), into, schema))
    return Plan(recipe, sources, tuple(stages), ledger_schema(score_fields(schema)), tuple(map(tuple, specs)))


def _made_of(made: Transform | Dedup) -> dict[str, Any]:
    """What shapes a step's output beside its parameters: versions, and the content of the files it reads."""
    about: dict[str, Any] = {"version": made.version}
    if isinstance(made, Transform):
        about["signals"] = {column: resolve(column)[0].version for column in made.signals()}
    about["files"] = {path: sha256_file(path) for path in sorted(set(_files_named(made.params.model_dump())))}
    return about


def _files_named(value: Any) -> Iterator[str]:
    """Every local file named in a step's parameters (models, word lists, benchmarks), and those in a named folder: a
    change of their content is a change of the recipe, whatever the transform does with them."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _files_named(inner)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for inner in value:
            yield from _files_named(inner)
    elif isinstance(value, (str, Path)) and value and len(str(value)) < 4096:
        path = Path(value)
        if path.is_file():
            yield str(path)
        elif path.is_dir():
            yield from (str(inner) for inner in path.iterdir() if inner.is_file())


def _encode_step(recipe: Recipe, tokenizer: str) -> Step:
    params = {
        "tokenizer": tokenizer,
        "sequence_length": recipe.tokens.sequence_length,
        "image": recipe.tokens.image.model_dump(),
        "long_documents": recipe.tokens.long_documents,
    }
    return Step(f"{len(recipe.steps) + 1}:tokens.encode", build("tokens.encode", params))


@lru_cache(maxsize=4)
def ready_plan(recipe_json: str, tokenizer: str) -> Plan:
    """A plan whose transforms are set up, made once a process: recipes travel to workers as JSON."""
    plan = compile_plan(Recipe.model_validate_json(recipe_json), tokenizer)
    for stage in plan.stages:
        for step in stage.steps:
            if step.transform.name != "tokens.encode" or tokenizer != TOKENIZER_PENDING:
                step.transform.setup()
        for _, dedup in stage.dedups:
            dedup.setup()
    return plan
