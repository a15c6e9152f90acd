"""`sluice ablate`, end to end on a tiny corpus: fair, resumable, and its numbers are those of its files."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import yaml

from jobs.ablation.arms import leave_one_out, named_arms
from jobs.ablation.data import prepare
from pipeline.curate import curate as run
from pipeline.graph import Launcher
from pipeline.recipe import load_recipe, resolve
from schemas.manifest import read_manifest
from tests.e2e.corpus import document

SPAM = "Buy now and save, buy now and save, buy now and save, buy now and save. "
PROXY = {"train": 1, "name": "p", "model": "nano", "steps": 1, "batch_sequences": 2}


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Thirty good texts, ten of spam, all nearly alike; a held-out file of which three documents are in the corpus: by
    id, by text (with other spaces), and nearly (twice, of which one copy is exact)."""
    folder = tmp_path_factory.mktemp("ablate")
    rng = random.Random(3)
    good = [{"id": f"good-{k}", "text": document(rng, 8)} for k in range(30)]
    spam = [{"id": f"spam-{k}", "text": SPAM * 4 + f"Number {k}."} for k in range(10)]
    held = [{"id": f"held-{k}", "text": document(rng, 8)} for k in range(12)]
    near = held[3]["text"] + " And one sentence more."
    leaks = [
        {"id": "held-1", "text": "Another text altogether."},
        {"id": "same-text", "text": held[2]["text"].replace(". ", ".  ")},
        {"id": "near", "text": near},
        {"id": "near-again", "text": near},
    ]
    write(folder / "in" / "a.jsonl", [*good, *spam, *leaks])
    write(folder / "held" / "h.jsonl", held)
    recipe = {
        "recipe": 1,
        "name": "good",
        "inputs": [{"use": "jsonl", "with": {"paths": str(folder / "in")}}],
        "steps": [{"use": "text.normalize"}, {"use": "text.minhash_dedup"}, {"use": "text.exact_dedup"}],
        "tokens": {"tokenizer": {"train": {"vocab_size": 400}}, "sequence_length": 128},
        "output": {"path": str(folder / "unused")},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "train.yaml").write_text(yaml.safe_dump(PROXY))
    return folder


def words(place, *more):
    arguments = ("ablate", place / "recipe.yaml", "--raw", "--heldout", place / "held", "--out", place / "out")
    options = ("--train", place / "train.yaml", "--tokens", 800, "--seeds", 2, "--workers", 1, "--threads", 1)
    return (*arguments, *options, *more)


def test_an_experiment_end_to_end(sluice, place):
    code, out, err = sluice(*words(place, "--json"))
    assert code == 0, err
    found = json.loads(out)
    assert found == json.loads((place / "out" / "ablate.json").read_text())
    good, raw = found["arms"]
    assert (good["name"], raw["name"]) == ("good", "raw")
    # held-1 by id; same-text, near and its copy by content: no arm has them
    assert (found["held_out"]["documents"], found["held_out"]["same_id"], found["held_out"]["alike"]) == (12, 1, 3)
    assert (good["rows_in"], good["excluded_as_held_out"], good["rows_kept"]) == (44, 4, 31)
    assert (raw["rows_in"], raw["excluded_as_held_out"], raw["rows_kept"]) == (44, 4, 40)
    kept, whole = (read_manifest(place / "out" / "arms" / name) for name in ("good", "raw"))
    assert kept.tokenizer.fingerprint == whole.tokenizer.fingerprint
    assert abs(good["trained_tokens"] - raw["trained_tokens"]) < 256
    # the comparison is of the losses by seed
    (comparison,) = found["comparisons"]
    everything = comparison["groups"][0]
    assert (comparison["arm"], comparison["against"], everything["documents"]) == ("good", "raw", 12)
    expected = np.subtract(good["loss_by_seed"], raw["loss_by_seed"])
    assert everything["by_seed"] == pytest.approx(expected.tolist())
    assert everything["mean"] == pytest.approx(expected.mean()) and len(set(good["loss_by_seed"])) == 2
    assert everything["over_both"]["low"] <= everything["mean"] <= everything["over_both"]["high"]
    page = (place / "out" / "ablate.html").read_text()
    assert "Against raw" in page and "<script" not in page and page.count("<svg") == 1 + len(comparison["groups"][1:])
    _again(sluice, place, found)


def _again(sluice, place, found):
    """Nothing is done twice; what was lost is made again, and comes out the same."""
    runs = place / "out" / "runs"
    stamp = (runs / "raw" / "seed-17" / "losses.parquet").stat().st_mtime_ns
    (runs / "good" / "seed-18" / "losses.parquet").unlink()
    code, out, err = sluice(*words(place, "--json"))
    assert code == 0 and json.loads(out) == found
    assert "good, seed 18" in err and "good, seed 17" not in err and "raw, seed" not in err
    assert (runs / "raw" / "seed-17" / "losses.parquet").stat().st_mtime_ns == stamp
    code, out, _ = sluice(*words(place))
    assert "loss minus that of raw" in out and "12 held-out documents" in out


def test_arms_that_leave_one_filter_out(place):
    recipe = load_recipe(place / "recipe.yaml")
    found = leave_one_out(recipe)
    assert [(arm.name, arm.leaves_out) for arm in found.arms] == [
        ("good", None),
        ("raw", None),
        ("without-2-text.minhash_dedup", "2:text.minhash_dedup"),
        ("without-3-text.exact_dedup", "3:text.exact_dedup"),
    ]
    assert [[step.use for step in arm.recipe.steps] for arm in found.arms[1:]] == [
        ["text.normalize"],
        ["text.normalize", "text.exact_dedup"],
        ["text.normalize", "text.minhash_dedup"],
    ]
    assert [arm.leaves_out for arm in leave_one_out(recipe, ["3"]).arms[2:]] == ["3:text.exact_dedup"]
    with pytest.raises(Exception, match=r"--step text\.exact_dedub: did you mean 'text\.exact_dedup'"):
        leave_one_out(recipe, ["text.exact_dedub"])


def test_a_filter_that_others_need_is_not_left_out(place):
    steps = (
        "steps",
        [{"use": "text.language"}, {"use": "select.range", "with": {"column": "text.lang_score", "min": 0.5}}],
    )
    path = place / "needs.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load((place / "recipe.yaml").read_text()) | dict([steps])))
    found = leave_one_out(load_recipe(path))
    assert [arm.leaves_out for arm in found.arms[2:]] == ["2:select.range"]
    ((label, why),) = found.skipped
    assert label == "1:text.language" and "text.lang_score" in why


def test_conversations_are_held_out_by_what_they_say(tmp_path):
    rng = random.Random(5)
    chats = [[("user", document(rng, 4)), ("assistant", document(rng, 4))] for _ in range(8)]
    # no ids: a row is known by its file and line, so only the words can tell
    rows = [{"messages": [{"role": role, "content": text} for role, text in chat]} for chat in chats]
    write(tmp_path / "in" / "a.jsonl", rows)
    write(tmp_path / "held" / "h.jsonl", rows[5:])
    read = {"use": "jsonl", "with": {"paths": str(tmp_path / "in"), "columns": {"text": None}}}
    recipe = {
        "recipe": 1,
        "name": "chats",
        "inputs": [read],
        "steps": [{"use": "chat.turns"}, {"use": "text.exact_dedup"}],
        # a conversation is never cut: as bytes these are too long, as tokens they are not
        "tokens": {"tokenizer": {"train": {"vocab_size": 400}}, "sequence_length": 512},
        "output": {"path": str(tmp_path / "unused")},
    }
    read_held = read | {"with": read["with"] | {"paths": str(tmp_path / "held")}}
    (tmp_path / "held.yaml").write_text(yaml.safe_dump(recipe | {"inputs": [read_held]}))
    arms = named_arms([resolve(recipe)], with_raw=True)
    assert [step.use for step in arms.arms[1].recipe.steps] == ["chat.turns"]
    data = prepare(
        arms, [str(tmp_path / "held.yaml")], None, tmp_path / "out", lambda made, _: run(made, Launcher("direct", 1))
    )
    assert (data.facts["documents"], data.facts["alike"]) == (3, 3)
    assert [arm.manifest.counts.rows_kept for arm in data.arms] == [5, 5]


def test_all_arms_have_the_first_recipes_tokens(place):
    recipe = load_recipe(place / "recipe.yaml")
    other = load_recipe(place / "recipe.yaml", ["tokens.sequence_length=64", "name=good"])
    arms = named_arms([recipe, other], with_raw=False).arms
    assert [arm.name for arm in arms] == ["good", "good-2"]
    assert arms[1].recipe.tokens == recipe.tokens


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "nothing to be compared with"),
        (("--leave-one-out", "recipe.yaml"), "takes one recipe apart"),
        (("--raw", "--step", "x"), "names the filters of --leave-one-out"),
    ],
)
def test_what_cannot_be_an_experiment_is_refused(sluice, place, more, message):
    more = [place / word if word == "recipe.yaml" else word for word in more]
    code, _, err = sluice("ablate", place / "recipe.yaml", "--heldout", place / "held", "--out", place / "no", *more)
    assert code == 1 and message in err
