"""Documents set aside to judge recipes by, and proof that no recipe trains on them.

A screening run reads the held-out files and a recipe's inputs together, through what brings out their text (markup
and conversations are not compared as they are written) and through dedup. Of the inputs' rows, those go that have the
id of a held-out document, its text or its media, or a text nearly like it; and those that are in turn duplicates of
such rows, since a screening run names one match only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.reading import open_files
from pipeline.recipe import load_recipe, resolve
from pipeline.report.tally import read_ledger
from pipeline.storage import committed
from pipeline.variants import text_readers, with_inputs
from schemas.errors import RecipeError
from schemas.ledger import KEPT
from schemas.manifest import read_manifest
from schemas.recipe import InputSpec, Recipe, StepSpec

#: begins the labels of held-out files: a character that sorts before letters and digits, so that their rows come first,
#: and what they have in common with a recipe's inputs is found missing there
_NAME = "!held-out"
_LANGUAGE = "text.language"
_ENCODE = ":tokens.encode"
#: what screening compares by; texts with a Jaccard similarity of .8 or more are nearly alike
_SCREEN = (
    {"use": "text.exact_dedup"},
    {"use": "text.minhash_dedup", "with": {"ngram": 5, "bands": 14, "rows_per_band": 8, "verify": {"jaccard": 0.8}}},
    {"use": "media.exact_dedup"},
)


def held_out_recipe(given: Sequence[str], like: Recipe, steps: Sequence[StepSpec]) -> Recipe:
    """The recipe of the held-out set: of files, folders or globs read through `steps`, or a recipe file, whose steps
    choose the documents. Languages are told by text.language, as `like` has it, without rejecting any.

    Raises RecipeError when recipes and data are mixed.
    """
    recipes = [path for path in given if path.endswith((".yaml", ".yml"))]
    if recipes and len(given) > 1:
        raise RecipeError(f"--heldout takes one recipe, or data; got {', '.join(given)}")
    if recipes:
        chosen = load_recipe(recipes[0])
        inputs, own = list(chosen.inputs), list(chosen.steps)
    else:
        inputs = [InputSpec.model_validate({"use": open_files([path]).name, "with": {"paths": path}}) for path in given]
        own = [*steps, StepSpec.model_validate({"use": "text.exact_dedup"})]
    named = [
        spec.model_copy(update={"params": spec.params | {"name": f"{_NAME}-{k}"}}) for k, spec in enumerate(inputs)
    ]
    if not any(step.use == _LANGUAGE for step in own):
        own.append(_language(like))
    raw: dict[str, Any] = like.model_dump(by_alias=True) | {"name": "held-out", "description": ""}
    raw["inputs"] = [spec.model_dump(by_alias=True) for spec in named]
    raw["steps"] = [step.model_dump(by_alias=True) for step in own]
    return resolve(raw)


def _language(like: Recipe) -> StepSpec:
    found = next((step.params.get("model") for step in like.steps if step.use == _LANGUAGE), None)
    with_ = {"min_score": 0.0} | ({"model": found} if found else {})
    return StepSpec.model_validate({"use": _LANGUAGE, "with": with_, "when": {"modality": "text"}})


def screening_recipe(held_out: Recipe, recipe: Recipe, path: str) -> Recipe:
    """Held-out files and a recipe's inputs together, through the recipe's readers of text and dedup."""
    raw = with_inputs(held_out, [*held_out.inputs, *recipe.inputs]).model_dump(by_alias=True)
    readers = [step.model_dump(by_alias=True) for step in text_readers(recipe)]
    raw |= {"name": "screening", "steps": [*readers, *_SCREEN], "output": {"path": path}}
    return resolve(raw | {"tokens": {"tokenizer": "bytes", "image": held_out.tokens.image.model_dump()}})


@dataclass(frozen=True)
class Screened:
    """What is taken out of a recipe's inputs: `same_id` rows with a held-out document's id, `alike` by content."""

    ids: frozenset[str]
    same_id: int
    alike: int


def screened(dataset: Path, held_out: frozenset[str]) -> Screened:
    """What a screening run, in `dataset`, found of the inputs' rows to be among `held_out` (ids), or like them."""
    alike: dict[str, set[str]] = defaultdict(set)
    of_inputs: set[str] = set()

    def note(columns: dict[str, list[Any]]) -> None:
        for row_id, source, match in zip(columns["id"], columns["source"], columns["match_id"], strict=True):
            if not source.startswith(_NAME):
                of_inputs.add(row_id)
            if match is not None:
                alike[row_id].add(match)
                alike[match].add(row_id)

    _each(dataset, ("id", "source", "match_id"), note)
    reached, waiting = set(held_out), list(held_out)
    while waiting:
        for other in alike.get(waiting.pop(), ()):
            if other not in reached:
                reached.add(other)
                waiting.append(other)
    same = held_out & of_inputs
    return Screened(frozenset(reached & of_inputs), len(same), len((reached & of_inputs) - same))


def chosen_ids(dataset: Path) -> frozenset[str]:
    """The ids of the rows that a dataset's steps keep, also of those that its tokenizer makes too long to encode: with
    another one they may fit."""
    found: set[str] = set()

    def note(columns: dict[str, list[Any]]) -> None:
        rows = zip(columns["id"], columns["verdict"], columns["part"], columns["step"], strict=True)
        for row_id, verdict, part, step in rows:
            if part is None and (verdict == KEPT or step.endswith(_ENCODE)):
                found.add(row_id)

    _each(dataset, ("id", "verdict", "part", "step"), note)
    return frozenset(found)


def _each(dataset: Path, columns: tuple[str, ...], note: Callable[[dict[str, list[Any]]], None]) -> None:
    ledger = [dataset / entry.path for entry in read_manifest(dataset).ledger]
    for _, batch in read_ledger(ledger, columns):
        note(batch.to_pydict())


def write_ids(path: Path, ids: frozenset[str]) -> None:
    """Writes a list for select.unlisted; the same ids give the same bytes."""
    with committed(path) as temporary:
        pq.write_table(pa.table({"id": pa.array(sorted(ids), pa.string())}), temporary)


def unlisted(path: Path) -> StepSpec:
    """The step that takes the listed rows out."""
    return StepSpec.model_validate({"use": "select.unlisted", "with": {"path": str(path), "reason": "held_out"}})
