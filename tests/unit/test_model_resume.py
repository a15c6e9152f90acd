"""kill -9 at any moment: the same command goes on, and nothing shows that it was ever killed."""

import json
import multiprocessing
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model import config as model_config
from model.config import LoaderConfig, OptimizerConfig, TrainConfig
from model.interop import load_model, newest_checkpoint
from model.train.loop import Run
from model.train.metrics import TIMING
from tests.model_data import mixed_rows, tiny, write_dataset

#: everything that has state: Muon and AdamW with master weights, sums of gradients, the balancing bias, threads
RUN = TrainConfig(
    name="killed",
    model="tiny",
    steps=14,
    batch_sequences=1,
    accumulate=2,
    precision="bfloat16",
    media_repeats=2,
    holdout_ratio=0.2,
    max_holdout_sequences=1,
    log_every_steps=1,
    evaluate_every_steps=7,
    checkpoint_every_steps=3,
    optimizer=OptimizerConfig(warmup_steps=2),
    loader=LoaderConfig(threads=2, steps_ahead=2),
)


def run(config: TrainConfig, data: str, out: str) -> None:
    """Trains to the end; what a process of its own is given."""
    torch.set_num_threads(1)
    model_config.PRESETS["tiny"] = lambda vocab_size, special, image: tiny(router_bias_update_rate=0.01)
    Run(config, Path(data), Path(out)).train(lambda line: None, lambda: False)


def lines(out):
    path = out / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def test_a_run_killed_at_random_is_the_run_undisturbed(tmp_path, monkeypatch):
    monkeypatch.setitem(model_config.PRESETS, "tiny", None)
    data = write_dataset(tmp_path / "d", mixed_rows(10), 160)
    threads = torch.get_num_threads()
    run(RUN, str(data), str(tmp_path / "whole"))
    torch.set_num_threads(threads)
    # one clean process imports torch; runs are its forks
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.unit.test_model_resume"])
    chance = random.Random(7)
    out = tmp_path / "killed"
    ends = []
    for after in (4, 8, None):
        process = context.Process(target=run, args=(RUN, str(data), str(out)))
        process.start()
        while after is not None and process.is_alive() and len(lines(out)) < after:
            time.sleep(0.002)
        if after is not None:
            time.sleep(chance.uniform(0, 0.04))
            process.kill()
        process.join()
        ends.append(process.exitcode)
    # a fast machine may be done before the second kill
    assert ends[0] == -signal.SIGKILL and ends[-1] == 0
    one, other = (newest_checkpoint(tmp_path / name) for name in ("whole", "killed"))
    assert one.name == other.name == "step-000014"
    names = sorted(path.relative_to(one) for path in one.rglob("*.safetensors"))
    assert names == sorted(path.relative_to(other) for path in other.rglob("*.safetensors")) and len(names) > 2
    for name in names:
        a, b = load_file(one / name), load_file(other / name)
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    assert all(bias.any() for bias in load_model(one).buffers())
    curves = [
        [{k: v for k, v in json.loads(line).items() if k not in TIMING} for line in lines(tmp_path / name)]
        for name in ("whole", "killed")
    ]
    assert curves[0] == curves[1] and len(curves[0]) == RUN.steps + 2


def test_other_settings_of_the_loader_may_resume_a_run(tmp_path, monkeypatch):
    monkeypatch.setitem(model_config.PRESETS, "tiny", lambda vocab_size, special, image: tiny())
    data = write_dataset(tmp_path / "d", mixed_rows(6), 160)
    config = replace(RUN, steps=3, checkpoint_every_steps=2, evaluate_every_steps=3)
    first = Run(config, data, tmp_path / "run")
    first.train(lambda line: None, lambda: first.step == 2)
    second = Run(replace(config, loader=LoaderConfig(threads=0)), data, tmp_path / "run")
    assert second.step == 2
    second.train(lambda line: None, lambda: False)
    Run(config, data, tmp_path / "whole").train(lambda line: None, lambda: False)
    a, b = (load_file(newest_checkpoint(tmp_path / name) / "model.safetensors") for name in ("run", "whole"))
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("setting", ["accumulate", "train_parts", "precision"])
def test_what_changes_learning_may_not_resume_a_run(tmp_path, monkeypatch, setting):
    monkeypatch.setitem(model_config.PRESETS, "tiny", lambda vocab_size, special, image: tiny())
    data = write_dataset(tmp_path / "d", mixed_rows(6), 160)
    config = replace(RUN, steps=1, checkpoint_every_steps=1)
    Run(config, data, tmp_path / "run").train(lambda line: None, lambda: False)
    other = {"accumulate": 1, "train_parts": ("decoder",), "precision": "float32"}[setting]
    with pytest.raises(ValueError, match="another configuration"):
        Run(replace(config, **{setting: other}), data, tmp_path / "run")
