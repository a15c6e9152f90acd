"""Recipes made from a recipe, to compare with it: raw, without one of its filters, with another's tokens."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.recipe import InputSpec, Recipe, StepSpec, TokensSpec
from transforms.base import Explode, Transform
from transforms.dedup.base import GlobalStep
from transforms.registry import get

#: steps that may reject what they cannot read, but are there to read it
_READERS = frozenset({"image.decode", "audio.decode", "text.extract", "chat.turns", "pair.split"})
#: those without which a row's text is not what is trained on: markup, or a conversation's none at all
_TEXT_READERS = frozenset({"text.extract", "chat.turns"})
#: steps that take lines away without ever rejecting a row
_CLEANERS = frozenset({"text.line_dedup"})


def is_filter(step: StepSpec) -> bool:
    """Whether a step is there to take rows, parts or lines away: whatever compares rows, or declares a reason to reject
    one, except what only decodes or splits. Steps that add columns or edit text (text.normalize, text.pii) are not."""
    made = get(step.use)
    if step.use in _READERS or issubclass(made, Explode):
        return False
    is_judge = issubclass(made, Transform) and bool(made.reasons)
    return is_judge or issubclass(made, GlobalStep) or step.use in _CLEANERS


def filters(recipe: Recipe) -> list[int]:
    """Places, from 0, of a recipe's filter steps."""
    return [at for at, step in enumerate(recipe.steps) if is_filter(step)]


def without(recipe: Recipe, places: Sequence[int], name: str) -> Recipe:
    """The recipe without the steps at some places, under another name."""
    steps = [step for at, step in enumerate(recipe.steps) if at not in places]
    return recipe.model_copy(update={"name": name, "steps": steps})


def raw(recipe: Recipe, name: str) -> Recipe:
    """What a recipe reads, with none of its filters: its inputs, what decodes or edits them, its tokens."""
    return without(recipe, filters(recipe), name)


def text_readers(recipe: Recipe) -> list[StepSpec]:
    """The recipe's steps that bring out what a row says, without which rows cannot be compared by their text."""
    return [step for step in recipe.steps if step.use in _TEXT_READERS]


def with_tokens(recipe: Recipe, tokens: TokensSpec, tokenizer: str | None) -> Recipe:
    """The recipe with the tokens section of another, and that one's tokenizer when it is given as a folder."""
    chosen = tokens if tokenizer is None else tokens.model_copy(update={"tokenizer": tokenizer})
    return recipe.model_copy(update={"tokens": chosen})


def with_output(recipe: Recipe, path: str) -> Recipe:
    """The recipe into a folder of ours; what it says of the ledger and of shards stays."""
    return recipe.model_copy(update={"output": recipe.output.model_copy(update={"path": path})})


def with_inputs(recipe: Recipe, inputs: Sequence[InputSpec]) -> Recipe:
    """The recipe over other inputs."""
    return recipe.model_copy(update={"inputs": list(inputs)})


def prepended(recipe: Recipe, step: StepSpec) -> Recipe:
    """The recipe with one more step, before all others."""
    return recipe.model_copy(update={"steps": [step, *recipe.steps]})
