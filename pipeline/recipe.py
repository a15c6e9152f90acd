"""Recipes: YAML to a checked, fully resolved Recipe. Every error says which recipe, which step and what is valid."""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.sources import registry as sources
from schemas.errors import RecipeError
from schemas.recipe import Recipe
from transforms.registry import describe, get, parse_params


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Reads and resolves a recipe file.

    `overrides` are `place=value` strings (`tokens.sequence_length=512`, `steps.text.language.min_score=0.5`,
    `steps.2.min_score=0.5`), values in YAML. Raises RecipeError.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {path}: {error}") from error
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"recipe {path} is not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise RecipeError(f"recipe {path} must be a mapping with the keys recipe, name, inputs, steps, tokens, output")
    for override in overrides or []:
        _override(raw, override)
    return resolve(raw, str(path))


def resolve(raw: dict[str, Any], where: str = "recipe") -> Recipe:
    """Validates a recipe and materialises every default, so that it reads the same for ever."""
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(_describe(problem) for problem in error.errors())
        raise RecipeError(f"recipe {raw.get('name', where)!r}: {problems}") from error
    filled = recipe.model_dump(by_alias=True)
    for at, spec in enumerate(filled["inputs"]):
        with _place(recipe, f"inputs[{at}] ({spec['use']})"):
            spec["with"] = parse_params(sources.get(spec["use"]).Params, spec["with"]).model_dump()
    for at, spec in enumerate(filled["steps"]):
        with _place(recipe, f"steps[{at}] ({spec['use']})"):
            cls = get(spec["use"])
            model = cls.Params  # type: ignore[attr-defined]
            if "seed" in model.model_fields and spec["with"].get("seed") is None:
                spec["with"] = spec["with"] | {"seed": recipe.seed}
            spec["with"] = parse_params(model, spec["with"]).model_dump()
    return Recipe.model_validate(filled)


def recipe_hash(recipe: Recipe) -> str:
    """Hash of everything that shapes the dataset: not where it is read from or written to."""
    dumped = recipe.model_dump(by_alias=True, mode="json")
    dumped["output"] = {"shard_tokens": recipe.output.shard_tokens, "ledger": recipe.output.ledger}
    for spec in dumped["inputs"]:
        spec["with"].pop("paths", None)
    return digest(dumped)


def digest(value: Any) -> str:
    """A short stable hash of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]


class _place:
    """Prefixes a RecipeError with the recipe's name and the place in it."""

    def __init__(self, recipe: Recipe, place: str) -> None:
        self._prefix = f"recipe {recipe.name!r}, {place}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, RecipeError):
            raise RecipeError(f"{self._prefix}: {error}") from error


def _describe(problem: Any) -> str:
    """One pydantic problem, with the nearest valid key for an unknown one."""
    model: Any = Recipe
    for step in problem["loc"][:-1]:
        if isinstance(step, str) and hasattr(model, "model_fields") and step in model.model_fields:
            model = _inner_model(model.model_fields[step].annotation) or model
    return describe(problem, model)


def _inner_model(annotation: Any) -> Any:
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((c for c in candidates if hasattr(c, "model_fields")), None)


def _override(raw: dict[str, Any], override: str) -> None:
    place, equals, value = override.partition("=")
    if not equals:
        raise RecipeError(f"--set {override!r}: write it as place=value, for example tokens.sequence_length=512")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override!r}: the value is not valid YAML: {error}") from error
    if place.startswith("steps."):
        target, key = _step_place(raw, place, override)
    else:
        *path, key = place.split(".")
        target = raw
        for name in path:
            if isinstance(target, list):
                target = _item(target, name, override)
            else:
                target = target.setdefault(name, {})
            if not isinstance(target, (dict, list)):
                raise RecipeError(f"--set {override!r}: {name!r} is not a mapping in this recipe")
    if isinstance(target, list):
        raise RecipeError(f"--set {override!r}: name the parameter, for example {place}.paths=VALUE")
    target[key] = parsed


def _item(items: list[Any], name: str, override: str) -> Any:
    if not name.isdigit() or int(name) >= len(items):
        raise RecipeError(f"--set {override!r}: {name!r} must be a number from 0 to {len(items) - 1}")
    item = items[int(name)]
    return item.setdefault("with", {}) if isinstance(item, dict) and "use" in item else item


def _step_place(raw: dict[str, Any], place: str, override: str) -> tuple[dict[str, Any], str]:
    """`steps.<number>.<param…>` or `steps.<transform name>.<param…>` to the mapping and key it means."""
    steps = raw.get("steps") or []
    rest = place.removeprefix("steps.")
    names = [str(step.get("use")) for step in steps]
    matches = [at for at, name in enumerate(names) if rest.startswith((f"{name}.", f"{at}."))]
    if len(matches) != 1:
        near = difflib.get_close_matches(rest, names, n=1, cutoff=0.3)
        hint = f"; did you mean steps.{near[0]}.…?" if near else ""
        found = "several steps of that name; use its number" if matches else "no such step"
        raise RecipeError(f"--set {override!r}: {found}{hint} (steps: {', '.join(names)})")
    at = matches[0]
    step = steps[at]
    name = names[at] if rest.startswith(f"{names[at]}.") else str(at)
    target: dict[str, Any] = step.setdefault("with", {})
    *path, key = rest.removeprefix(f"{name}.").split(".")
    for inner in path:
        target = target.setdefault(inner, {})
        if not isinstance(target, dict):
            raise RecipeError(f"--set {override!r}: {inner!r} is not a mapping in this recipe")
    return target, key
