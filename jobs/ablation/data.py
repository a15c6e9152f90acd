"""Everything of an experiment that Beam makes: the held-out set, the screening, and every arm's dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.ablation.arms import Arm, Arms, with_shared_tokenizer
from pipeline.held_out import (
    chosen_ids,
    held_out_recipe,
    screened,
    screening_recipe,
    unlisted,
    write_ids,
)
from pipeline.recipe import digest
from pipeline.variants import prepended, raw, text_readers, with_output, with_tokens
from schemas.errors import SluiceError
from schemas.manifest import Manifest, read_manifest
from schemas.recipe import Recipe

#: curates a recipe into its output folder, under a title for people
Curate = Callable[[Recipe, str], None]


@dataclass(frozen=True)
class Curated:
    """An arm's dataset. `excluded` of its rows were like held-out documents, or were them, and were taken out."""

    arm: Arm
    folder: Path
    manifest: Manifest
    excluded: int

    @property
    def content(self) -> str:
        """Names the data: arms whose filters made no difference have the same."""
        shards = [[shard.sha256, shard.rows] for shard in self.manifest.shards]
        return digest([shards, self.manifest.tokenizer.fingerprint])


@dataclass(frozen=True)
class Data:
    """What an experiment trains and judges on."""

    arms: tuple[Curated, ...]
    held_out: Path
    facts: dict[str, Any]


def prepare(arms: Arms, given: Sequence[str], tokenizer: str | None, out: Path, curate: Curate) -> Data:
    """Curates all that is needed into `out`; what is finished is not made again.

    The first arm trains the tokenizer, if its recipe says so and none is given; the others and the held-out set have
    the same, so that all losses are of the same tokens.
    """
    first = arms.arms[0]
    held_out = held_out_recipe(given, first.recipe, raw(first.recipe, "raw").steps)
    ids = _held_out_ids(held_out, out, curate)
    lists: dict[str, tuple[Path | None, int, int]] = {}
    for arm in arms.arms:
        if _inputs(arm) not in lists:
            lists[_inputs(arm)] = _screen(arm, held_out, ids, out, curate)
    made: list[Curated] = []
    shared = tokenizer
    for arm in arms.arms:
        chosen = arm if shared is None else with_shared_tokenizer(arm, first.recipe.tokens, shared)
        path, _, _ = lists[_inputs(arm)]
        recipe = chosen.recipe if path is None else prepended(chosen.recipe, unlisted(path))
        folder = out / "arms" / arm.name
        curate(with_output(recipe, str(folder)), arm.name)
        manifest = read_manifest(folder)
        if not manifest.counts.tokens:
            raise SluiceError(f"arm {arm.name!r} keeps nothing to train on; see {folder / 'report.html'}")
        shared = shared or str(folder / manifest.tokenizer.path)
        excluded = sum(manifest.counts.rejected.get("1:select.unlisted", {}).values()) if path is not None else 0
        made.append(Curated(arm, folder, manifest, excluded))
    folder = out / "held-out" / "data"
    curate(with_output(with_tokens(held_out, first.recipe.tokens, shared), str(folder)), "held-out documents")
    judged_by = read_manifest(folder).counts
    if not judged_by.tokens:
        raise SluiceError(f"no held-out document is left to judge by; see {folder / 'report.html'}")
    counted = [(same, alike) for _, same, alike in lists.values()]
    facts = {
        "given": list(given),
        "documents": judged_by.rows_kept,
        "same_id": sum(same for same, _ in counted),
        "alike": sum(alike for _, alike in counted),
        "by_language": judged_by.by_language,
        "by_modality": judged_by.by_modality,
        "tokenizer": shared,
    }
    return Data(tuple(made), folder, facts)


def _inputs(arm: Arm) -> str:
    """Names what an arm reads, and how, so that arms with the same inputs are screened once."""
    specs = [*arm.recipe.inputs, *text_readers(arm.recipe)]
    return digest([spec.model_dump(mode="json") for spec in specs])


def _held_out_ids(held_out: Recipe, out: Path, curate: Curate) -> frozenset[str]:
    """The documents that are set aside, before there is a tokenizer to encode them with."""
    folder = out / "held-out" / "rows"
    curate(with_output(with_tokens(held_out, held_out.tokens, "bytes"), str(folder)), "reading the held-out documents")
    found = chosen_ids(folder)
    if not found:
        raise SluiceError(f"no held-out document is left to judge by; see {folder / 'report.html'}")
    return found


def _screen(arm: Arm, held_out: Recipe, ids: frozenset[str], out: Path, curate: Curate) -> tuple[Path | None, int, int]:
    """The list of an arm's rows that must not be trained on, None when there are none; how many have a held-out
    document's id, and how many are alike."""
    name = _inputs(arm)[:12]
    folder = out / "held-out" / f"screening-{name}"
    curate(screening_recipe(held_out, arm.recipe, str(folder)), f"screening what {arm.name} reads")
    found = screened(folder, ids)
    if not found.ids:
        return None, 0, 0
    # the list's name follows its content: a recipe that names it is another one when it changes
    content = hashlib.sha256("\n".join(sorted(found.ids)).encode()).hexdigest()[:12]
    path = out / "held-out" / f"excluded-{content}.parquet"
    if not path.exists():
        write_ids(path, found.ids)
    return path, found.same_id, found.alike
