"""The arms of an experiment: the recipes given, what they read without their filters, and each filter left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.plan import compile_plan
from pipeline.recipe import resolve
from pipeline.variants import filters, raw, with_tokens, without
from schemas.errors import RecipeError
from schemas.recipe import Recipe, TokensSpec
from transforms.registry import nearest

RAW = "raw"


@dataclass(frozen=True)
class Arm:
    """One recipe of an experiment, under a name that no other arm has; `leaves_out` is the label of a step, when the
    arm is another one without it."""

    name: str
    recipe: Recipe
    leaves_out: str | None = None

    @property
    def is_raw(self) -> bool:
        """Whether it is the arm without filters."""
        return self.name == RAW


@dataclass(frozen=True)
class Arms:
    """All arms, the first one first; `skipped`: steps that could not be left out, and why."""

    arms: tuple[Arm, ...]
    skipped: tuple[tuple[str, str], ...] = ()


def named_arms(recipes: Sequence[Recipe], *, with_raw: bool) -> Arms:
    """The recipes as they are, all with the first one's tokens, and what the first one reads, unfiltered."""
    found: list[Arm] = []
    for recipe in recipes:
        taken = {arm.name for arm in found} | {RAW}
        names = (recipe.name, *(f"{recipe.name}-{number}" for number in range(2, len(recipes) + 3)))
        name = next(name for name in names if name not in taken)
        found.append(Arm(name, with_tokens(recipe, recipes[0].tokens, None)))
    if with_raw:
        found.append(Arm(RAW, raw(recipes[0], RAW)))
    return Arms(tuple(found))


def leave_one_out(recipe: Recipe, steps: Sequence[str] = ()) -> Arms:
    """The recipe; raw; and the recipe without each of its filters, or of those named (by transform or number from 1).

    A filter that a later step needs (its column, say) is skipped, with that step's complaint. Raises RecipeError when
    there is no filter, or none of a name.
    """
    whole = named_arms([recipe], with_raw=True).arms
    places = filters(recipe)
    if not places:
        raise RecipeError(f"recipe {recipe.name!r} has no filter to leave out")
    labels = {f"{at + 1}:{recipe.steps[at].use}": at for at in places}
    for wanted in steps:
        if not any(wanted in label.split(":") for label in labels):
            raise RecipeError(f"--step {wanted}: {nearest(wanted, [label.partition(':')[2] for label in labels])}")
    found, skipped = [], []
    for label, at in labels.items():
        if steps and not any(wanted in label.split(":") for wanted in steps):
            continue
        name = f"without-{at + 1}-{recipe.steps[at].use}"
        try:
            made = resolve(without(recipe, [at], name).model_dump(by_alias=True))
            compile_plan(made)
        except RecipeError as error:
            skipped.append((label, str(error)))
        else:
            found.append(Arm(name, made, label))
    return Arms((*whole, *found), tuple(skipped))


def with_shared_tokenizer(arm: Arm, tokens: TokensSpec, tokenizer: str) -> Arm:
    """The arm with a tokenizer that is there already."""
    return replace(arm, recipe=with_tokens(arm.recipe, tokens, tokenizer))
