"""A recipe compiled: sources, and stages of local steps with the global steps between them.

    source ─► stage 0: local steps ─► global steps ─► stage 1: local steps ─► … ─► last stage: tokens.encode

A global step (dedup) needs every row's keys, so it ends a stage; neighbouring global steps share one, unless the
earlier one changes rows. One that removes spans of text finds them at the end of a stage, and is also the first local
step of the next, where it cuts them out. Training the tokenizer needs every kept row, so it ends a stage too. Each
stage is one pass over the work units.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa

from pipeline.engine import Step, steps_schema
from pipeline.sources import registry as source_registry
from pipeline.sources.base import Source
from schemas.errors import RecipeError, SchemaError, SluiceError
from schemas.ledger import ledger_schema, score_fields
from schemas.recipe import Recipe, TokenizerSpec
from schemas.sample import SAMPLE
from transforms.dedup.base import Dedup, GlobalStep
from transforms.dedup.spans import SpanDedup
from transforms.registry import build

#: stands for the tokenizer a run has not trained or copied yet
TOKENIZER_PENDING = "pending"


@dataclass(frozen=True)
class StagePlan:
    """One pass over the work units, and the global steps after it."""

    steps: tuple[Step, ...]
    dedups: tuple[tuple[str, GlobalStep], ...]
    schema: pa.Schema  # of the kept rows


@dataclass(frozen=True)
class Plan:
    """What a run does."""

    recipe: Recipe
    sources: tuple[tuple[str, Source], ...]  # (ledger label, source)
    stages: tuple[StagePlan, ...]
    ledger: pa.Schema


def compile_plan(recipe: Recipe, tokenizer: str = TOKENIZER_PENDING) -> Plan:
    """Compiles a resolved recipe, walking the schema through every step; raises RecipeError where one cannot run."""
    sources = tuple((f"input:{spec.use}", source_registry.build(spec.use, dict(spec.params))) for spec in recipe.inputs)
    groups: list[tuple[list[Step], list[tuple[str, GlobalStep]]]] = [([], [])]
    for number, spec in enumerate(recipe.steps, start=1):
        label = f"{number}:{spec.use}"
        made = build(spec.use, dict(spec.params))
        if isinstance(made, GlobalStep):
            if any(isinstance(other, Dedup) and other.of_parts for _, other in groups[-1][1]):
                groups.append(([], []))
            if spec.when is not None:
                raise RecipeError(
                    f"recipe {recipe.name!r}, {label}: a global step compares all rows; it takes no `when`"
                )
            groups[-1][1].append((label, made))
            if isinstance(made, SpanDedup):
                groups.append(([Step(label, made)], []))
        else:
            if groups[-1][1]:
                groups.append(([], []))
            groups[-1][0].append(Step(label, made, spec.when.modalities() if spec.when else None))
    if groups[-1][1] or isinstance(recipe.tokens.tokenizer, TokenizerSpec):
        groups.append(([], []))
    groups[-1][0].append(_encode_step(recipe, tokenizer))
    stages = []
    schema = SAMPLE
    for steps, dedups in groups:
        try:
            schema = steps_schema(steps, schema)
            for label, dedup in dedups:
                _check(label, dedup, schema)
        except SluiceError as error:
            raise RecipeError(f"recipe {recipe.name!r}: {error}") from error
        stages.append(StagePlan(tuple(steps), tuple(dedups), schema))
    return Plan(recipe, sources, tuple(stages), ledger_schema(score_fields(schema)))


def _check(label: str, step: GlobalStep, schema: pa.Schema) -> None:
    if isinstance(step, Dedup):
        try:
            step.check(schema)
        except SluiceError as error:
            raise SchemaError(f"{label}: {error}") from error


def _encode_step(recipe: Recipe, tokenizer: str) -> Step:
    params = {
        "tokenizer": tokenizer,
        "sequence_length": recipe.tokens.sequence_length,
        "image": recipe.tokens.image.model_dump(),
        "long_documents": recipe.tokens.long_documents,
    }
    return Step(f"{len(recipe.steps) + 1}:tokens.encode", build("tokens.encode", params))


@dataclass(frozen=True, slots=True)
class StageKey:
    """What a worker needs to make a stage: recipes travel as JSON. `made_of` is a digest of the stage's specs, so that
    a process that lives through two runs does not go on with the lists and models it loaded in the first."""

    recipe_json: str
    tokenizer: str
    stage: int
    made_of: str

    def plan(self) -> Plan:
        """The plan, compiled once a process."""
        return _plan_of(self.recipe_json, self.tokenizer)

    def ready(self) -> StagePlan:
        """The stage with its transforms set up; a worker holds one at a time, and no other stage's models."""
        return _ready_stage(self)

    def ready_dedup(self, label: str) -> GlobalStep:
        """One of the stage's global steps, set up."""
        return _ready_dedup(self, label)


@lru_cache(maxsize=2)
def _plan_of(recipe_json: str, tokenizer: str) -> Plan:
    return compile_plan(Recipe.model_validate_json(recipe_json), tokenizer)


@lru_cache(maxsize=1)
def _ready_stage(key: StageKey) -> StagePlan:
    found = compile_plan(Recipe.model_validate_json(key.recipe_json), key.tokenizer).stages[key.stage]
    for step in found.steps:
        step.transform.setup()
    for _, dedup in found.dedups:
        dedup.setup()
    return found


@lru_cache(maxsize=1)
def _ready_dedup(key: StageKey, label: str) -> GlobalStep:
    stage = compile_plan(Recipe.model_validate_json(key.recipe_json), key.tokenizer).stages[key.stage]
    found = next(dedup for name, dedup in stage.dedups if name == label)
    found.setup()
    return found
