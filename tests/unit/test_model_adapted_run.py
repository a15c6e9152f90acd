"""Runs that train adapters, or through rounded weights: checkpoints, resuming, and the commands that open them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import load_file
from typer.testing import CliRunner

from jobs.export import export
from jobs.generate import generate
from jobs.quantize import quantize
from model import config as model_config
from model.adapt.adapter_files import CONFIG, WEIGHTS
from model.batch import Batch
from model.config import AdapterConfig, LoaderConfig, OptimizerConfig, TrainConfig
from model.eval.dataset import unseen_rows
from model.infer.opening import open_model
from model.interop import load_model, newest_checkpoint, save_checkpoint_files
from model.net.vlm import build
from model.train.loop import Run
from model.train.ranks import Ranks
from schemas.errors import SluiceError
from tests.model_data import byte_tokenizer, mixed_rows, tiny, write_dataset

RUN = TrainConfig(
    name="adapted",
    model="tiny",
    steps=4,
    batch_sequences=1,
    holdout_ratio=0.2,
    max_holdout_sequences=1,
    checkpoint_every_steps=2,
    tensorboard=False,
    optimizer=OptimizerConfig(warmup_steps=0),
    loader=LoaderConfig(threads=0),
)
ADAPTER = AdapterConfig(rank=2, dropout=0.3, targets=("q_proj", "experts", "visual.qkv"))
TOKENS = torch.arange(40) * 7 % 250
BATCH = Batch(TOKENS, torch.arange(40).expand(3, -1), (40,), targets=TOKENS.roll(-1))


@pytest.fixture(scope="module", autouse=True)
def tiny_preset():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model_config.PRESETS["tiny"] = lambda vocab_size, special, image: tiny()
    yield
    del model_config.PRESETS["tiny"]
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapted")
    write_dataset(folder / "data", mixed_rows(8), 160)
    checkpoint = folder / "base" / "checkpoints" / "step-000009"
    checkpoint.mkdir(parents=True)
    save_checkpoint_files(build(tiny(router_bias_update_rate=0.01), 3), checkpoint)
    byte_tokenizer().save(str(checkpoint / "tokenizer.json"))
    return folder


def train(config, place, out, stop_at=0):
    run = Run(config, place / "data", out)
    run.train(lambda line: None, lambda: bool(stop_at) and run.step == stop_at)
    return run


def call(*words):
    app = typer.Typer()
    for command in (quantize, generate, export):
        app.command()(command)
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def logits(model):
    with torch.no_grad():
        return model.eval().logits(BATCH)


def adapted(place, **settings):
    return replace(RUN, init=str(place / "base"), adapter=replace(ADAPTER, **settings))


@pytest.mark.parametrize(("quantize", "precision"), [("none", "bfloat16"), ("nf4", "float32")])
def test_an_adapter_is_trained_resumed_opened_and_exported(place, tmp_path, quantize, precision):
    config = replace(adapted(place, quantize=quantize), precision=precision)
    whole = train(config, place, tmp_path / "whole")
    train(config, place, tmp_path / "run", stop_at=2)
    # the base that a run began with is its base, whatever is trained there since
    newer = place / "base" / "checkpoints" / "step-000010"
    newer.mkdir()
    (newer / "config.json").write_text("{}")
    try:
        resumed = train(config, place, tmp_path / "run")
    finally:
        (newer / "config.json").unlink()
        newer.rmdir()
    assert resumed.step == whole.step == 4
    one, other = (newest_checkpoint(tmp_path / name) for name in ("whole", "run"))
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    assert Path(WEIGHTS) in names and Path("model.safetensors") not in names and Path("tokenizer.json") in names
    for name in names:
        if name.suffix == ".safetensors":
            a, b = load_file(one / name), load_file(other / name)
            assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a), name
        elif name.name != "training.json":  # it has the sizes of files whose headers are in no order
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
    stored = load_file(one / WEIGHTS)
    assert all(tensor.any() for tensor in stored.values()) and len(stored) == 2 * (3 + 2 * 2 + 2)
    assert json.loads((one / CONFIG).read_text())["base_model_name_or_path"].endswith("checkpoints/step-000009")
    # what the run held out is found, and nothing else
    assert len(unseen_rows(resumed.info, 8, one)) == 2
    # what opens is what was trained
    opened = open_model(other).to(next(resumed.model.parameters()).dtype)
    moved = logits(resumed.model) - logits(load_model(place / "base" / "checkpoints" / "step-000009"))
    error = logits(opened) - logits(resumed.model)
    assert error.norm() < (0.2 if precision == "bfloat16" else 1e-4) * moved.norm()
    words = ("--prompt", "a", "--max-new-tokens", 3, "--threads", 1, "--json")
    said = json.loads(call("generate", tmp_path / "run", *words).stdout)
    assert said["checkpoint"] == str(other)
    call("export", tmp_path / "run", tmp_path / "merged")
    assert torch.equal(logits(load_model(tmp_path / "merged")), logits(open_model(other)))
    assert json.loads(call("generate", tmp_path / "merged", *words).stdout)["text"] == said["text"]
    with pytest.raises(SluiceError, match=r"holds adapters of another model; merge them first, `sluice export"):
        Run(replace(RUN, init=str(tmp_path / "run")), place / "data", tmp_path / "next")


def test_an_adapter_moves_nothing_else(place, tmp_path):
    run = train(replace(adapted(place), steps=1), place, tmp_path / "run")
    base = load_model(place / "base" / "checkpoints" / "step-000009").state_dict()
    state = run.model.state_dict()
    same = {name for name in base if torch.equal(state[name if name in state else _inside(name)], base[name])}
    assert same == set(base)
    assert {n for n, p in run.model.named_parameters() if p.requires_grad} == set(run.optimizer.parameters)
    assert not any(
        "momentum" in key and f"{key[:-9]}/square" not in run.optimizer.state_tensors()
        for key in run.optimizer.state_tensors()
    )


def _inside(name):
    """Where an adapted module keeps a weight of its base's."""
    module, _, last = name.rpartition(".")
    return f"{module}.base.{last}"


def test_a_base_that_is_gone_is_named(place, tmp_path):
    config = adapted(place)
    train(config, place, tmp_path / "run", stop_at=2)
    path = newest_checkpoint(tmp_path / "run") / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": "gone"}))
    with pytest.raises(SluiceError, match=r"holds adapters of the model 'gone', which is not there; put it back"):
        Run(config, place / "data", tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "ranks", "message"),
    [
        ({"adapter": ADAPTER}, 1, "nothing to adapt: name the model in `init`"),
        ({"adapter": ADAPTER, "init": "x", "train_parts": ("decoder",)}, 1, "leave train_parts out"),
        ({"adapter": ADAPTER, "init": "x", "qat": "int8_dynamic_int4"}, 1, "choose one of the two"),
        ({"adapter": ADAPTER, "init": "x"}, 2, "adapter is for a run of one process; 2 were started"),
        ({"qat": "int8_dynamic_int4"}, 2, "qat is for a run of one process"),
        ({"keep_checkpoints": 0}, 1, "keep_checkpoints is 0; it must be at least 1"),
        ({"media_repeats": 0}, 1, "media_repeats is 0; it must be at least 1"),
        ({"optimizer": OptimizerConfig(max_grad_norm=0.0)}, 1, "max_grad_norm is 0.0; it must be above 0"),
        ({"optimizer": OptimizerConfig(betas=(0.9, 1.0))}, 1, r"betas is \(0.9, 1.0\); they are from 0 to below 1"),
        ({"optimizer": OptimizerConfig(decay_ratio=1.5)}, 1, "decay_ratio is 1.5; it is a share"),
        ({"optimizer": OptimizerConfig(learning_rate=float("nan"))}, 1, "learning_rate is nan; it must be 0 or more"),
        ({"loader": LoaderConfig(threads=-1)}, 1, "loader.threads is -1; it must be 0 or more"),
    ],
)
def test_what_cannot_be_honoured_is_refused(place, tmp_path, change, ranks, message):
    with pytest.raises(SluiceError, match=message):
        Run(replace(RUN, **change), place / "data", tmp_path / "run", ranks=Ranks(count=ranks))


def test_a_run_through_rounded_weights_is_a_plain_checkpoint_quantised_as_it_was_trained(place, tmp_path):
    config = replace(RUN, qat="int8_dynamic_int4")
    whole = train(config, place, tmp_path / "whole")
    train(config, place, tmp_path / "run", stop_at=2)
    train(config, place, tmp_path / "run")
    folder = newest_checkpoint(tmp_path / "run")
    mine, theirs = (load_file(newest_checkpoint(tmp_path / n) / "model.safetensors") for n in ("run", "whole"))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert [n for n, _ in load_model(folder).named_parameters()] == [n for n, _ in build(tiny(), 0).named_parameters()]
    plain = train(RUN, place, tmp_path / "plain")
    assert not torch.equal(plain.model.lm_head.weight, whole.model.lm_head.weight)
    words = ("--threads", 1, "--json")
    assert json.loads(call("quantize", tmp_path / "run", tmp_path / "q", *words).stdout)["scheme"] == config.qat
    torch.testing.assert_close(logits(open_model(tmp_path / "q")), logits(whole.model), atol=1e-4, rtol=1e-4)
    assert json.loads(call("quantize", tmp_path / "plain", tmp_path / "p", *words).stdout)["scheme"] == "int8"
    asked = ("--scheme", "int4", *words)
    assert json.loads(call("quantize", tmp_path / "run", tmp_path / "r", *asked).stdout)["scheme"] == "int4"
