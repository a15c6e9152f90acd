"""A run over several ranks is the run of one: same losses, same weights; it loses a rank and goes on with fewer."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from model import config as model_config
from model.config import OptimizerConfig, ParallelConfig, TrainConfig
from model.interop import newest_checkpoint
from model.train.loop import Run
from model.train.metrics import TIMING
from model.train.ranks import joined_ranks
from model.train.storage import Shards
from schemas.errors import SluiceError
from tests.model_data import mixed_rows, tiny, write_dataset
from tests.ranks import results, run_ranks, start_ranks

#: a rank gets one sequence a micro-batch, and every third has neither image nor sound
RUN = TrainConfig(
    name="ranks",
    model="tiny",
    steps=4,
    batch_sequences=2,
    accumulate=2,
    holdout_ratio=0.25,
    max_holdout_sequences=3,
    log_every_steps=1,
    evaluate_every_steps=2,
    checkpoint_every_steps=2,
    tensorboard=False,
    optimizer=OptimizerConfig(warmup_steps=2, matrix_precision="float32"),
)


def train(ranks, config, data, out, stop_after=None, dies_after=None):
    """Trains on a rank; returns what it said. Rank 1 dies after a step, as kill -9 would have it."""
    shape = tiny(router_aux_loss_coef=0.1, router_z_loss_coef=0.01, router_bias_update_rate=0.001)
    model_config.PRESETS["tiny"] = lambda vocab_size, special, image: shape

    def on_step(step):
        if step == dies_after and ranks.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    said = []
    run = Run(config, data, out, ranks=ranks)
    run.train(said.append, lambda: run.step == stop_after, on_step)
    return said


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("ranks") / "d", mixed_rows(12), 160)


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    run_ranks(1, train, RUN, data, out)
    return out


def curve(out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMING} for line in lines]


def check_same(out, alone, tolerance):
    for line, expected in zip(curve(out), curve(alone), strict=True):
        assert line.keys() == expected.keys()
        assert all(line[k] == pytest.approx(expected[k], rel=tolerance, abs=1e-6) for k in line), (line, expected)
    one, other = newest_checkpoint(out), newest_checkpoint(alone)
    assert one.name == other.name
    for a, b in (
        (load_file(one / "model.safetensors"), load_file(other / "model.safetensors")),
        (Shards(one / "training"), Shards(other / "training")),
    ):
        assert set(a) == set(b)
        for name in b:
            # its true gradient is zero, so what moves it is rounding
            if not name.endswith(("k_proj.bias", "k_proj.bias/momentum", "k_proj.bias/square")):
                worst = float((a[name].double() - b[name].double()).abs().max())
                assert worst <= tolerance * max(1e-3, float(b[name].abs().max())), (name, worst)


def test_two_ranks_train_as_one_and_one_goes_on_for_two(data, alone, tmp_path):
    said = run_ranks(2, train, RUN, data, tmp_path, 2)
    assert said[0][0].endswith("step 0 of 4") and said[1] == []
    shards = sorted(path.name for path in (newest_checkpoint(tmp_path) / "training").glob("*.safetensors"))
    assert len(shards) == 2
    run_ranks(1, train, RUN, data, tmp_path)
    check_same(tmp_path, alone, 2e-4)


def test_two_ranks_share_experts_and_go_on_for_one(data, alone, tmp_path):
    run_ranks(1, train, RUN, data, tmp_path, 2)
    config = ParallelConfig(expert=2)
    run_ranks(2, train, replace(RUN, parallel=config), data, tmp_path, config=config)
    check_same(tmp_path, alone, 2e-4)


@pytest.mark.parametrize("config", [ParallelConfig(shard=False), ParallelConfig(shard=False, expert=2)])
def test_ranks_that_shard_nothing_train_as_one(data, alone, tmp_path, config):
    run_ranks(2, train, replace(RUN, parallel=config), data, tmp_path, config=config)
    check_same(tmp_path, alone, 2e-4)


def test_a_killed_rank_ends_the_run_with_a_message_and_the_run_goes_on(data, alone, tmp_path):
    first, second = start_ranks(2, train, RUN, data, tmp_path, None, 3)
    with pytest.raises(SluiceError, match=r"rank 0 has lost another rank: it was killed, .* go on from the newest"):
        results([first])
    second[0].join()
    assert second[0].exitcode == -signal.SIGKILL
    run_ranks(2, train, RUN, data, tmp_path)
    check_same(tmp_path, alone, 2e-4)


def test_ranks_that_do_not_divide_the_work_say_so(data, tmp_path):
    with (
        pytest.raises(SluiceError, match="expert is 3, which does not divide the number of ranks, 2"),
        joined_ranks({"WORLD_SIZE": "2"}, ParallelConfig(expert=3)),
    ):
        pass
    with pytest.raises(SluiceError, match="batch_sequences is 3, which cannot be shared evenly by 2 ranks"):
        run_ranks(2, train, replace(RUN, batch_sequences=3), data, tmp_path)
    assert torch.distributed.is_initialized() is False
