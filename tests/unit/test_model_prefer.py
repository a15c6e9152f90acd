"""DPO and GRPO: their losses are the published formulas, they learn, a stopped run goes on bit for bit."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from jobs.train import train
from model.adapt import adapters_off
from model.adapt.lora import add_adapters
from model.config import AdapterConfig, ImageConfig, ObjectiveConfig, OptimizerConfig, TrainConfig
from model.data.collate import collate
from model.data.dataset import special_ids
from model.data.media import MediaCache
from model.data.tokenizer import Prompts, load_tokenizer
from model.infer.decode import decode
from model.infer.sampling import Sampling
from model.interop import load_model, newest_checkpoint, save_checkpoint_files
from model.net.loss import IGNORE
from model.net.vlm import build
from model.prefer.answers import sample, with_answer
from model.prefer.dpo import Dpo
from model.prefer.grpo import Grpo, token_losses
from model.prefer.scoring import Reference, score, sums, targets_of
from model.prefer.source import described_preferences, prompts_of
from model.train.loop import Run
from model.train.objective import Setting
from model.train.start import starting_model
from schemas.control_tokens import QWEN
from schemas.errors import SluiceError
from tests.model_data import tiny
from tests.unit.test_model_train import metrics, same_state
from transforms.tokens.tokenizer import Tokenizer

COLOURS = ("red", "green", "blue")
OPTIMIZER = OptimizerConfig(
    learning_rate=5e-3, matrix_learning_rate=0.0, warmup_steps=1, schedule="constant", weight_decay=0.0
)


def definition() -> Tokenizer:
    """Bytes as tokens, and the control tokens of conversations."""
    plain = json.loads(Tokenizer.load("bytes").json)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    plain["added_tokens"] = [{"id": 256 + at, "content": name} | flags for at, name in enumerate(QWEN)]
    return Tokenizer(plain)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A checkpoint that has learned to answer any question with a colour, each as often as the others."""
    folder = tmp_path_factory.mktemp("start") / "sft"
    definition().save(folder)
    codec = load_tokenizer(folder)
    shape = tiny(vocab_size=256 + len(QWEN), num_hidden_layers=2)
    shape = replace(shape, audio=None, special=special_ids(codec.controls, "test"))
    model = build(shape, 3)
    prompts = Prompts(codec, shape.special, ImageConfig())
    talks = [
        [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": c}] for n in range(6) for c in COLOURS
    ]
    batch = collate([prompts.conversation(talk) for talk in talks])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(60):
        optimizer.zero_grad()
        model(batch).total.backward()
        optimizer.step()
    torch.set_num_threads(threads)
    save_checkpoint_files(model, folder)
    return folder


def config(use, start, **changed):
    objective = ObjectiveConfig(use=use, **changed.pop("objective", {}))
    settings = {"name": "t", "init": str(start), "steps": 4, "batch_sequences": 2, "holdout_ratio": 0.0}
    settings |= {"log_every_steps": 1, "tensorboard": False, "optimizer": OPTIMIZER}
    return TrainConfig(**(settings | changed), objective=objective)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pairs(folder, count=6):
    rows = [{"prompt": f"{n}?", "chosen": "blue", "rejected": COLOURS[n % 2]} for n in range(count)]
    return write(folder / "pairs.jsonl", rows)


def tasks(folder, count=6, **check):
    return write(folder / "tasks.jsonl", [{"prompt": f"{n}?", **(check or {"answer": "blue"})} for n in range(count)])


def setting(config, path):
    info = described_preferences(config, [path])
    return Setting(config, info, lambda: starting_model(config, info))


OBJECTIVES = {"dpo": Dpo, "grpo": Grpo}


def run(config, path, out, stop_after=None):
    one = Run(config, path, out, OBJECTIVES[config.objective.use], describe=described_preferences)
    one.train(lambda line: None, (lambda: False) if stop_after is None else (lambda: one.step >= stop_after))
    return metrics(out)


def shaken(model, scale=0.02):
    """Other weights, so that policy and reference differ."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(scale * torch.randn(p.shape, generator=generator))
    return model


def answer_log_prob(model, sequence):
    """Of one document by itself, from all logits."""
    batch = collate([sequence])
    chosen = model.logits(batch).log_softmax(-1).gather(1, batch.targets.clamp(min=0)[:, None]).squeeze(1)
    return chosen[batch.targets != IGNORE].sum()


def test_dpo_is_the_published_loss_with_its_gradients(start, tmp_path):
    made = setting(config("dpo", start, objective={"beta": 0.3}), pairs(tmp_path))
    objective, reference = Dpo(made), load_model(start)
    model, again = shaken(load_model(start)), shaken(load_model(start))
    (micro,) = objective.step(model)
    assert micro.targets == 2 and micro.tokens == len(micro.batch.tokens)
    found = objective.losses(model, micro, 2)
    found.total.backward()

    expected, rewards = [], []
    for row in micro.rows:
        pair = objective._reader[row]
        policy = [answer_log_prob(again, s) for s in (pair.chosen, pair.rejected)]
        with torch.no_grad():
            fixed = [answer_log_prob(reference, s) for s in (pair.chosen, pair.rejected)]
        # TRL's DPOTrainer.dpo_loss, loss_type "sigmoid": the log-ratios of policy and reference
        expected.append(-torch.log(torch.sigmoid(0.3 * ((policy[0] - policy[1]) - (fixed[0] - fixed[1])))))
        rewards.append([0.3 * float(p.detach() - f) for p, f in zip(policy, fixed, strict=True)])
    loss = torch.stack(expected).mean()
    torch.testing.assert_close(found.measures["loss"], loss.detach(), atol=1e-5, rtol=1e-5)
    chosen, rejected = np.mean(rewards, axis=0)
    for name, value in (("chosen_reward", chosen), ("rejected_reward", rejected), ("margin", chosen - rejected)):
        assert float(found.measures[name]) == pytest.approx(value, abs=1e-4)
    assert float(found.measures["accuracy"]) == np.mean([a > b for a, b in rewards])
    scores = score(again, micro.batch)
    (loss + scores.routing).backward()
    for (name, ours), theirs in zip(model.named_parameters(), again.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, atol=2e-5, rtol=1e-3, msg=name)


def test_dpo_micro_batches_add_up_to_one_large_batch(start, tmp_path):
    path = pairs(tmp_path)
    parts = Dpo(setting(config("dpo", start, batch_sequences=1, accumulate=4), path))
    whole = Dpo(setting(config("dpo", start, batch_sequences=4), path))
    model = shaken(load_model(start))
    micros, (large,) = parts.step(model), whole.step(model)
    assert [micro.rows[0] for micro in micros] == list(large.rows)
    found = [parts.losses(model, micro, 4).measures for micro in micros]
    for name, value in whole.losses(model, large, 4).measures.items():
        if name not in ("balance", "z"):  # an even load is asked of each batch by itself
            torch.testing.assert_close(sum(one[name] for one in found), value, atol=1e-4, rtol=1e-4)


def test_an_adapted_model_is_its_own_reference(start, tmp_path):
    made = setting(config("dpo", start), pairs(tmp_path))
    objective, model = Dpo(made), load_model(start)
    add_adapters(model, AdapterConfig(rank=2, dropout=0.5), 0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(1))
    (micro,) = objective.step(model)
    plain = sums(
        Reference(made.start, torch.device("cpu")).log_probs(load_model(start), micro.batch), targets_of(micro.batch)
    )
    torch.testing.assert_close(micro.reference.flatten(), plain, atol=1e-4, rtol=1e-4)
    assert objective._reference._copy is None
    with adapters_off(model), torch.no_grad():
        off = score(model, micro.batch).log_probs
    assert float((score(model, micro.batch).log_probs - off).abs().max()) > 0.1


def test_dpo_learns_what_is_preferred(start, tmp_path):
    path = pairs(tmp_path, 8)
    lines = run(config("dpo", start, steps=20, batch_sequences=4, holdout_ratio=0.25), path, tmp_path / "run")
    steps = [line for line in lines if "margin" in line]
    assert abs(steps[0]["margin"]) < 1e-3 and steps[0]["loss"] == pytest.approx(np.log(2), abs=1e-3)
    assert steps[-1]["margin"] > 2 and steps[-1]["accuracy"] == 1
    assert steps[-1]["chosen_reward"] > steps[-1]["rejected_reward"]
    assert lines[-1]["held_out_accuracy"] == 1 and lines[-1]["held_out_margin"] > 2
    # what a run writes is a model with its tokenizer, and its own weights
    trained = newest_checkpoint(tmp_path / "run")
    assert load_tokenizer(trained).controls == load_tokenizer(start).controls
    assert not torch.equal(load_model(trained).lm_head.weight, load_model(start).lm_head.weight)


def test_grpo_is_the_published_loss():
    generator = torch.Generator().manual_seed(0)
    log_probs, old, reference = (-3 * torch.rand(40, generator=generator) for _ in range(3))
    advantages = torch.randn(40, generator=generator)
    settings = ObjectiveConfig(use="grpo", beta=0.04, clip=0.2)
    found, divergence, clipped = token_losses(log_probs, old, reference, advantages, settings)
    for i in range(40):
        ratio = float((log_probs[i] - old[i]).exp())
        inside = min(max(ratio, 0.8), 1.2)
        gain = min(ratio * float(advantages[i]), inside * float(advantages[i]))
        pi, ref = float(log_probs[i].exp()), float(reference[i].exp())
        k3 = ref / pi - np.log(ref / pi) - 1
        assert float(found[i]) == pytest.approx(-(gain - 0.04 * k3), rel=1e-3, abs=1e-5)
        assert float(divergence[i]) == pytest.approx(k3, rel=1e-3, abs=1e-5)
        assert bool(clipped[i]) == (gain < ratio * float(advantages[i]) - 1e-9)
    assert 0 < int(clipped.sum()) < 40


def test_grpo_reinforces_by_advantage(start, tmp_path):
    made = setting(
        config("grpo", start, objective={"group_size": 6, "max_new_tokens": 8, "beta": 0.0}), tasks(tmp_path)
    )
    objective, model, again = Grpo(made), load_model(start), load_model(start)
    (micro,) = objective.step(model)
    assert len(micro.answers) == 12 and micro.reference is None
    found = objective.losses(model, micro, micro.targets)
    found.total.backward()
    scores = score(again, micro.batch)
    # the gradient of the first update is that of REINFORCE with the group's advantages, a mean over tokens
    weights = micro.advantages.repeat_interleave(torch.tensor([len(a) for a in micro.answers]))
    (scores.routing - (weights * scores.log_probs).sum() / micro.targets).backward()
    for ours, theirs in zip(model.parameters(), again.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-4)
    right = [objective._judge._codec.decode(a).strip() == "blue" for a in micro.answers]
    assert float(found.measures["right"]) == pytest.approx(np.mean(right)) and 0 < np.mean(right) < 1
    assert float(found.measures["length"]) == pytest.approx(micro.targets / 12)


def test_sampled_answers_are_likely_as_the_loss_says(start, tmp_path):
    """Decoding and the loss see one model: the greedy answer is the likeliest, token by token, its end included."""
    prompts = prompts_of(setting(config("grpo", start), tasks(tmp_path)).info)
    model = load_model(start)
    prompt = prompts.chat([{"role": "user", "content": "2?"}])
    (greedy,) = sample(model, [prompt], Sampling(max_new_tokens=8), [torch.Generator()], MediaCache(0))
    assert greedy[-1] == prompts.codec.controls["<|im_end|>"] and model.training
    batch = collate([with_answer(prompt, greedy)])
    best = model.logits(batch)[batch.targets != IGNORE].argmax(-1)
    assert best.tolist() == greedy
    bare = decode(model, collate([prompt]), Sampling(max_new_tokens=8), [torch.Generator()], (greedy[-1],))
    assert bare == [greedy[:-1]]


def test_grpo_learns_what_is_rewarded(start, tmp_path):
    settings = config(
        "grpo",
        start,
        steps=12,
        batch_sequences=4,
        holdout_ratio=0.25,
        objective={"group_size": 8, "max_new_tokens": 6, "beta": 0.01, "updates": 2},
    )
    lines = run(settings, tasks(tmp_path, 8, check={"contains": "blue"}), tmp_path / "run")
    rewards = [line["reward"] for line in lines if "reward" in line]
    assert rewards[0] < 0.6 and np.mean(rewards[-2:]) > 0.9
    assert lines[-1]["held_out_reward"] == 1
    assert all(line["kl"] >= -1e-6 for line in lines if "kl" in line)


@pytest.mark.parametrize(
    ("use", "objective"),
    [("dpo", {}), ("grpo", {"group_size": 3, "max_new_tokens": 5, "updates": 3, "temperature": 1.3})],
)
def test_a_stopped_run_goes_on_bit_for_bit(start, tmp_path, use, objective):
    path = (pairs if use == "dpo" else tasks)(tmp_path, 5)
    settings = config(use, start, steps=6, batch_sequences=2, accumulate=2, holdout_ratio=0.2, objective=objective)
    whole = run(settings, path, tmp_path / "whole")
    run(settings, path, tmp_path / "parts", stop_after=1)
    run(settings, path, tmp_path / "parts", stop_after=5)
    assert run(settings, path, tmp_path / "parts") == whole
    one, other = (newest_checkpoint(tmp_path / name) for name in ("whole", "parts"))
    assert one.name == "step-000006" and same_state(one, other)


def test_a_run_goes_on_with_its_own_data_alone(start, tmp_path):
    settings = config("dpo", start, steps=3)
    run(settings, pairs(tmp_path), tmp_path / "run", stop_after=1)
    with pytest.raises(SluiceError, match="another data"):
        run(settings, pairs(tmp_path, 5), tmp_path / "run")


def test_what_is_wrong_is_told(start, tmp_path):
    good = tasks(tmp_path)
    bad = write(tmp_path / "bad.jsonl", [{"prompt": "a", "answer": "b"}, {"prompt": "a", "check": {"regex": "("}}])
    for settings, path, says in (
        (config("dpo", ""), good, "set `init`"),
        (config("grpo", start), tmp_path, "is a folder"),
        (config("grpo", start), tmp_path / "none.jsonl", "cannot be read"),
        (config("grpo", tmp_path), good, "holds no checkpoint"),
        (config("dpo", start), good, "row 1: `chosen` is neither a text"),
        (config("grpo", start), bad, r"row 2: `check`: '\(' is no pattern"),
        (config("dpo", start, objective={"beta": 0.0}), good, "needs it above 0"),
        (config("grpo", start, objective={"group_size": 1}), good, "group_size >= 2, got 1"),
    ):
        with pytest.raises(SluiceError, match=says):
            run(settings, path, tmp_path / "run")
    with pytest.raises(SluiceError, match="one file of rows, 2 were given"):
        described_preferences(config("dpo", start), [good, good])


def test_the_command_trains_by_preference(start, tmp_path):
    (tmp_path / "c.yaml").write_text(
        "train: 1\nname: t\nsteps: 2\nbatch_sequences: 2\ntensorboard: false\n"
        f"init: {start}\nobjective: {{use: grpo, group_size: 2, max_new_tokens: 4}}\n"
    )
    app = typer.Typer()
    app.command()(train)
    words = [tmp_path / "c.yaml", "--data", tasks(tmp_path), "--out", tmp_path / "run", "--threads", 1]
    result = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["step"] == 2
    assert {"reward", "kl", "length"} <= metrics(tmp_path / "run")[0].keys()
