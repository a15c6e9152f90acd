"""`sluice train` and `sluice generate`, as a user calls them."""

import json
import signal
import sys
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from jobs.facts import caption_facts
from jobs.generate import generate
from jobs.train import _Interrupt, train
from model.config import PRESETS, TrainConfig, from_dict
from pipeline.outputs import locked
from schemas.errors import RecipeError, SchemaError, SluiceError
from tests.model_data import mixed_rows, square, tone, write_dataset

CONFIG = """
train: 1
name: quick
steps: 2
batch_sequences: 2
holdout_ratio: 0.0
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    write_dataset(folder / "data", mixed_rows(8), 160)
    (folder / "c.yaml").write_text(CONFIG)
    (folder / "a.png").write_bytes(square("red"))
    (folder / "a.wav").write_bytes(tone(300, 0.4))
    return folder


def call(*words):
    app = typer.Typer()
    app.command()(train)
    app.command()(generate)
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_train_then_generate(place):
    run = place / "run"
    arguments = ("train", place / "c.yaml", "--data", place / "data", "--out", run, "--threads", 1, "--json")
    result = call(*arguments, "--set", "steps=3", "--set", "optimizer.learning_rate=0.001", "--holdout", 0.25)
    summary = json.loads(result.stdout)
    assert (summary["finished"], summary["step"], summary["checkpoint"]) == (True, 3, "checkpoints/step-000003")
    assert summary["held_out_loss"] > 0
    assert json.loads((run / "summary.json").read_text())["held_out_loss"] == summary["held_out_loss"]
    options = ("--max-new-tokens", 4, "--threads", 1, "--json")
    result = call("generate", run, "--image", place / "a.png", "--audio", place / "a.wav", "--prompt", "x", *options)
    written = json.loads(result.stdout)
    assert written["checkpoint"] == str(run / "checkpoints" / "step-000003") and written["prompt"] == "x"
    assert (
        json.loads(call("generate", run / summary["checkpoint"], "--prompt", "a", *options).stdout)["text"] is not None
    )


def test_several_datasets_are_one_to_a_run(place):
    more = write_dataset(place / "more", mixed_rows(4, 200), 200, fingerprint="g")
    words = ("train", place / "c.yaml", "--out", place / "both", "--threads", 1, "--set", "steps=1")
    said = call(*words, "--data", place / "data", "--data", more, "--set", "loader.threads=0").stderr
    assert "12 sequences to train on, 0 held out; step 0 of 1" in said and "step      1  loss" in said
    with pytest.raises(SluiceError, match="another data"):
        call(*words, "--data", more)
    with pytest.raises(SchemaError, match="is given twice"):
        call(*words, "--data", more, "--data", more)


def test_a_stage_starts_from_a_checkpoint(place):
    words = ("train", place / "c.yaml", "--data", place / "data", "--threads", 1, "--set", "steps=1")
    call(*words, "--out", place / "first", "--set", "train_parts=[projectors]")
    call(*words, "--out", place / "second", "--set", f"init={place / 'first'}", "--set", "precision=bfloat16")
    assert (place / "second" / "checkpoints" / "step-000001").is_dir()
    with pytest.raises(
        RecipeError, match=r"train_parts\[0\]: 'projector' is not one of .*; did you mean 'projectors'\?"
    ):
        call(*words, "--out", place / "third", "--set", "train_parts=[projector]")


def test_errors_name_the_place(place):
    arguments = ("--data", place / "data", "--out", place / "none")
    with pytest.raises(RecipeError, match=r"c\.yaml: 'stepz' is not a setting; did you mean 'steps'\?"):
        call("train", place / "c.yaml", *arguments, "--set", "stepz=1")
    with pytest.raises(RecipeError, match=r"c\.yaml\.optimizer: 'lr' is not a setting"):
        call("train", place / "c.yaml", *arguments, "--set", "optimizer.lr=1")
    with pytest.raises(RecipeError, match="'steps' is not a group of settings"):
        call("train", place / "c.yaml", *arguments, "--set", "steps.x=1")
    for given, message in (
        ("steps=[", r"--set steps=\[: '\[' is not YAML"),
        ("steps", r"--set steps: expected NAME=VALUE"),
        ("optimizer.betas=[0.9]", r"c\.yaml\.optimizer\.betas: expected 2 values, got 1"),
        ("optimizer.learning_rate=1e-3", "1e-3 is a text in YAML; .* needs a point and a sign"),
        (f"optimizer.learning_rate={'9' * 400}", r"learning_rate: 99999.* is too large"),
        (f"seed={2**63}", r"c\.yaml\.seed: 92233.* is too large"),
    ):
        with pytest.raises(RecipeError, match=message):
            call("train", place / "c.yaml", *arguments, "--set", given)
    with pytest.raises(SluiceError, match=r"captions\.path: there is nothing at none\.tar"):
        call("train", place / "c.yaml", *arguments, "--captions", "none.tar")
    with locked(place / "none"), pytest.raises(SluiceError, match=r"another sluice run is using .*none"):
        call("train", place / "c.yaml", *arguments)
    with pytest.raises(RecipeError, match="no preset 'huge'; choose one of"):
        call("train", place / "c.yaml", *arguments, "--set", "model=huge")
    with pytest.raises(RecipeError, match="cannot be read"):
        call("train", place / "missing.yaml", *arguments)
    with pytest.raises(RecipeError, match="it must say `train: 1`"):
        call("train", place / "data" / "manifest.json", *arguments)
    with pytest.raises(SluiceError, match="holds no checkpoint"):
        call("generate", place / "data", "--prompt", "x")
    with pytest.raises(SluiceError, match=r"b\.png cannot be read"):
        call("generate", place / "data", "--image", place / "b.png")


def test_without_torch_the_error_says_what_to_install(place, monkeypatch):
    monkeypatch.delitem(sys.modules, "jobs.model_parts", raising=False)
    monkeypatch.setattr(sys.modules["jobs"], "model_parts", None, raising=False)
    monkeypatch.delattr(sys.modules["jobs"], "model_parts")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SluiceError, match=r"need torch, which is not installed: pip install 'sluice\[model\]'"):
        call("generate", place, "--prompt", "x")


def test_the_first_interrupt_is_a_wish_the_second_an_order():
    before = signal.getsignal(signal.SIGINT)
    with _Interrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_facts_of_a_scene_do_not_depend_on_its_phrasing():
    one = caption_facts("A small red circle above a large blue square on a white background.")
    other = caption_facts("There is a large blue square below a small red circle on a white background.")
    assert one == other == ("column", "white", "small", "red", "circle", "large", "blue", "square")
    assert caption_facts("three birds") is None


def test_the_published_recipe_is_valid():
    path = Path(__file__).parents[2] / "recipes" / "train_nano.yaml"
    config = from_dict(TrainConfig, yaml.safe_load(path.read_text()), path.name)
    assert config.model in PRESETS and config.steps % config.checkpoint_every_steps == 0
