"""A run stops before the step that would spoil it and says what it saw; measurements survive a resume without twins."""

import json
import math
from dataclasses import replace

import pytest
import torch

from model.config import GuardConfig, OptimizerConfig, TrainConfig
from model.interop import checkpoints
from model.train.guard import Guard, RunStopped
from model.train.loop import Run
from model.train.metrics import EventFile, MetricsFile, held_out_line, training_line
from model.train.schedule import rate_factor
from tests.model_data import mixed_rows, write_dataset

pytestmark = pytest.mark.usefixtures("tiny_preset")

RUN = TrainConfig(
    name="test",
    model="tiny",
    steps=6,
    batch_sequences=2,
    holdout_ratio=0.2,
    log_every_steps=1,
    evaluate_every_steps=3,
    checkpoint_every_steps=2,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset") / "d", mixed_rows(12), 160)


def verdicts(guard, losses):
    return [guard.verdict(loss, 1.0) for loss in losses]


def test_a_single_spike_passes_and_several_in_a_row_stop():
    guard = Guard(GuardConfig(spike_deviations=4.0, window_steps=4, patience=2))
    assert verdicts(guard, [2.0, 2.2, 2.0, 2.2, 9.0]) == [None] * 5 and guard.spiking
    assert verdicts(guard, [2.1, 9.0]) == [None, None] and guard.spiking
    assert "is 9.5000, the 2. in a row more than 4 deviations above the mean of 2.1250" in guard.verdict(9.5, 1.0)
    # what was a spike is not part of the window
    assert guard.last_losses == (2.2, 2.0, 2.2, 2.1)


def test_the_window_must_be_full_and_a_flat_loss_may_wiggle():
    guard = Guard(GuardConfig(spike_deviations=4.0, window_steps=4, patience=1))
    assert verdicts(guard, [2.0, 50.0, 2.0, 2.0]) == [None] * 4
    flat = Guard(GuardConfig(spike_deviations=4.0, window_steps=4, patience=1))
    assert verdicts(flat, [2.0, 2.0, 2.0, 2.0, 2.07]) == [None] * 5
    assert flat.verdict(2.2, 1.0) is not None
    off = Guard(GuardConfig(spike_deviations=0.0, window_steps=4, patience=1))
    assert verdicts(off, [2.0, 2.0, 2.0, 2.0, 1e9]) == [None] * 5


@pytest.mark.parametrize(
    ("loss", "norm", "said"),
    [(math.nan, 1.0, "its loss is nan"), (math.inf, 1.0, "its loss is inf"), (2.0, math.nan, "gradient is not finite")],
)
def test_what_is_not_finite_stops_at_once(loss, norm, said):
    assert said in Guard(GuardConfig(spike_deviations=0.0)).verdict(loss, norm)


def test_a_guard_goes_on_from_its_state():
    config = GuardConfig(spike_deviations=4.0, window_steps=4, patience=2)
    losses = [2.0, 2.2, 2.0, 2.2, 9.0, 9.0]
    whole = Guard(config)
    expected = verdicts(whole, losses)
    assert expected[-1] is not None
    for at in range(len(losses)):
        first, second = Guard(config), Guard(config)
        verdicts(first, losses[:at])
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert verdicts(second, losses[at:]) == expected[at:]


def poisoned(config, data, out, at):
    """A run in whose step `at` one gradient becomes infinite."""
    run = Run(config, data, out)
    name = "model.language_model.layers.0.self_attn.q_proj.weight"
    run.optimizer.parameters[name].register_hook(lambda grad: grad * (math.inf if run.step == at - 1 else 1.0))
    return run, name


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_step(dataset, tmp_path):
    run, name = poisoned(RUN, dataset, tmp_path, at=4)
    seen = {}

    def remember(step):
        seen[step] = {n: p.detach().clone() for n, p in run.model.named_parameters()}

    with pytest.raises(RunStopped) as stopped:
        run.train(lambda line: None, lambda: False, remember)
    assert run.step == 3 and all(torch.equal(p, seen[3][n]) for n, p in run.model.named_parameters())
    assert [p.name for p in checkpoints(tmp_path)] == ["step-000002"]
    report = json.loads((tmp_path / "stopped.json").read_text())
    assert report["step"] == 4 and report["not_finite"] == {"decoder": [name]} and report["grad_norm"] in ("nan", "inf")
    assert len(report["last_losses"]) == 3 and len(report["rows"]) == 2
    assert all("shard-0000" in row and "documents row" in row for row in report["rows"])
    said = str(stopped.value)
    assert "stopped at step 4, which was not applied" in said and f"not finite in decoder: {name}" in said
    assert "row" in said and "stopped.json" in said
    # again from the checkpoint, without the fault: the same losses, and on to the end
    again = Run(RUN, dataset, tmp_path)
    assert again.train(lambda line: None, lambda: False).finished


def test_a_run_of_spikes_stops_and_says_so(dataset, tmp_path):
    config = replace(RUN, steps=20, guard=GuardConfig(window_steps=2, patience=2, spike_deviations=1.0))
    said = []
    run = Run(replace(config, optimizer=OptimizerConfig(matrix_learning_rate=8.0, warmup_steps=1)), dataset, tmp_path)
    with pytest.raises(RunStopped, match=r"the 2\. in a row more than 1 deviations above the mean"):
        run.train(said.append, lambda: False)
    assert any("is a spike; it is let pass" in line for line in said)


def test_metrics_tell_the_load_of_experts_and_no_step_is_told_twice(dataset, tmp_path):
    Run(RUN, dataset, tmp_path).train(lambda line: None, lambda: False)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    step = next(line for line in lines if line["step"] == 6)
    assert len(step["imbalance"]) == 2 and all(1.0 <= x <= 2.0 for x in step["imbalance"])
    assert step["dead_experts"] in (0.0, 1 / 8, 2 / 8) and step["memory_mib"] > 100
    assert {"loss", "balance", "z", "grad_norm", "rate", "tokens", "tokens_per_s", "time"} <= step.keys()
    # as if killed after step 6, before anything newer than step 4 was saved
    newest = checkpoints(tmp_path)[-1]
    newest.rename(newest.with_name(".lost.tmp"))
    Run(RUN, dataset, tmp_path).train(lambda line: None, lambda: False)
    (path,) = (tmp_path / "tensorboard").iterdir()
    assert path.name.startswith("events.out.tfevents.")
    curves = read_events(path)
    again = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [s for s, _ in curves["loss"]] == [1, 2, 3, 4, 5, 6] and [s for s, _ in curves["held_out_loss"]] == [3, 6]
    assert [v for _, v in curves["loss"]] == pytest.approx([line["loss"] for line in again if "loss" in line])
    assert {"imbalance/0", "imbalance/1"} <= curves.keys()


def read_events(path):
    """Curves of an event file, as TensorBoard's own reader finds them."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    curves = {}
    for record in RawEventFileLoader(str(path)).Load():
        event = Event.FromString(record)
        for value in event.summary.value:
            curves.setdefault(value.tag, []).append((event.step, value.simple_value))
    return curves


def test_half_written_lines_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.0}\n[1]\n\n{"step": 3, "l')
    file = MetricsFile(path, step=1)
    file.write({"step": 2, "loss": 2.5})
    file.close()
    assert path.read_text() == '{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.5}\n'
    events = EventFile(tmp_path / "t", [{"step": 1, "loss": 3.0, "time": 5.0}])
    events.close()
    assert read_events(next((tmp_path / "t").iterdir())) == {"loss": [(1, 3.0)]}


def test_lines_for_people_are_aligned():
    measured = {"step": 7, "loss": 2.5, "grad_norm": 0.25, "rate": 1.0, "tokens_per_s": 1234.0}
    other = {"step": 70000, "loss": 12.5, "grad_norm": 110.25, "rate": 0.015, "tokens_per_s": 1234567.0}
    one, two = training_line(measured), training_line(other)
    assert len(one) == len(two) and one.index("loss") == two.index("loss") and one.index("rate") == two.index("rate")
    assert held_out_line(7, {"held_out_loss": 2.0}) == "step      7  held out loss 2.0000"


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.25, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.25, 1.0, 1.0, 0.55, 0.1 + 0.9 / 96]),
        ("cosine", [0.25, 1.0, 1.0, 0.55, 0.1 + 0.9 * (0.5 - 0.5 * math.cos(math.pi / 96))]),
        ("wsd", [0.25, 1.0, 1.0, 1.0, 0.1 + 0.9 / 20]),
    ],
)
def test_every_schedule_by_hand(schedule, expected):
    config = OptimizerConfig(schedule=schedule, warmup_steps=4, decay_ratio=0.2, min_ratio=0.1)
    assert [rate_factor(step, 100, config) for step in (0, 3, 4, 52, 99)] == pytest.approx(expected)
    rates = [rate_factor(step, 100, config) for step in range(100)]
    assert rates[4:] == sorted(rates[4:], reverse=True) and min(rates[4:]) >= 0.1
