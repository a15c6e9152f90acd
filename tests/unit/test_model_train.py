"""Training: it learns, a killed run continues bit for bit, checkpoints are whole or absent, scores are right."""

import gzip
import io
import json
import pickle
import tarfile
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.config import OptimizerConfig, TrainConfig
from model.data.collate import collate
from model.data.dataset import TokenShards, dataset_info
from model.data.shards import HoldoutSplit
from model.eval.captions import CaptionPair, read_caption_pairs, score_captions
from model.infer.generate import TextGenerator
from model.interop import checkpoints, load_model, newest_checkpoint
from model.net.vlm import build
from model.train import checkpoint as checkpoint_module
from model.train.gradients import clip_, global_norm
from model.train.held_out import held_out_loss
from model.train.loop import Run
from model.train.metrics import TIMING
from model.train.muon import orthogonalise
from model.train.optim import Optimizer, is_hidden_matrix
from model.train.ranks import Ranks
from model.train.schedule import rate_factor
from model.train.storage import Shards, read_shards
from schemas.errors import SluiceError
from tests.model_data import (
    COLORS,
    image_document,
    mixed_rows,
    sequence_row,
    square,
    text_document,
    tiny,
    write_dataset,
)

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


def train(config, data, out, stop_after=None):
    seen = []
    run = Run(config, data, out)
    stop = (lambda: False) if stop_after is None else (lambda: run.step >= stop_after)
    summary = run.train(seen.append, stop)
    return run, summary, seen


def same_state(one, other):
    """Whether two checkpoints hold the same model and the same state to go on from, to the bit."""
    files = [load_file(folder / "model.safetensors") for folder in (one, other)]
    states = [dict(Shards(folder / "training")) for folder in (one, other)]
    return all(a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) for a, b in (files, states))


def metrics(out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMING} for line in lines]


@pytest.mark.parametrize("matrix_learning_rate", [0.0, 0.02])
def test_a_stopped_run_continues_bit_for_bit(dataset, tmp_path, matrix_learning_rate):
    config = replace(RUN, optimizer=OptimizerConfig(matrix_learning_rate=matrix_learning_rate))
    _, summary, _ = train(config, dataset, tmp_path / "whole")
    _, half, _ = train(config, dataset, tmp_path / "parts", stop_after=3)
    assert (half.finished, half.step) == (False, 3)
    _, rest, seen = train(config, dataset, tmp_path / "parts")
    assert "step 3 of 6" in seen[0] and rest.finished
    assert same_state(newest_checkpoint(tmp_path / "whole"), newest_checkpoint(tmp_path / "parts"))
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "parts")
    assert rest.held_out_loss == summary.held_out_loss


def test_a_run_killed_between_checkpoints_repeats_the_lost_steps(dataset, tmp_path):
    train(RUN, dataset, tmp_path / "whole")
    train(RUN, dataset, tmp_path / "killed", stop_after=5)
    # as kill -9 would leave it: the save at the stop never happened, a half-written one lies about
    newest = checkpoints(tmp_path / "killed")[-1]
    assert newest.name == "step-000005"
    newest.rename(newest.with_name(".step-000005.tmp"))
    (newest.with_name(".step-000005.tmp") / "model.safetensors").write_bytes(b"half")
    with (tmp_path / "killed" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    _, _, seen = train(RUN, dataset, tmp_path / "killed")
    assert "step 4 of 6" in seen[0]
    assert same_state(newest_checkpoint(tmp_path / "whole"), newest_checkpoint(tmp_path / "killed"))
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "killed")
    assert not list((tmp_path / "killed" / "checkpoints").glob(".*"))


def test_a_finished_run_has_nothing_left_to_do(dataset, tmp_path):
    train(RUN, dataset, tmp_path)
    before = (tmp_path / "summary.json").read_bytes()
    _, summary, _ = train(RUN, dataset, tmp_path)
    assert summary.finished and summary.step == 6
    assert (tmp_path / "summary.json").read_bytes() == before
    # killed after its last checkpoint, before it was summed up
    (tmp_path / "summary.json").unlink()
    train(RUN, dataset, tmp_path)
    assert json.loads((tmp_path / "summary.json").read_bytes())["step"] == 6


def test_a_checkpoint_that_fails_half_way_leaves_the_old_one(dataset, tmp_path, monkeypatch):
    run, _, _ = train(RUN, dataset, tmp_path, stop_after=2)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint_module, "_commit", fail)
    with pytest.raises(SluiceError, match=r"checkpoint of step 4 could not be written to .*disk full; those before"):
        run.train(lambda line: None, lambda: False)
    monkeypatch.undo()
    assert [p.name for p in checkpoints(tmp_path)] == ["step-000002"]
    assert load_model(newest_checkpoint(tmp_path)).config == tiny()


def test_only_the_newest_checkpoints_stay(dataset, tmp_path):
    train(RUN, dataset, tmp_path)
    assert [p.name for p in checkpoints(tmp_path)] == ["step-000004", "step-000006"]
    assert {p.name for p in checkpoints(tmp_path)[-1].iterdir()} == {
        "config.json",
        "model.safetensors",
        "training",
        "tokenizer.json",
        "preprocessor_config.json",
        "generation_config.json",
    }


def test_an_old_checkpoint_that_was_moved_and_linked_loses_the_link_alone(dataset, tmp_path):
    run, _, _ = train(replace(RUN, keep_checkpoints=1), dataset, tmp_path / "run", stop_after=2)
    first = newest_checkpoint(tmp_path / "run")
    first.rename(tmp_path / "moved")
    first.symlink_to(tmp_path / "moved")
    run.train(lambda line: None, lambda: run.step >= 4)
    assert load_model(tmp_path / "moved").config == tiny()
    assert [p.name for p in checkpoints(tmp_path / "run")] == ["step-000004"]


def test_a_run_refuses_another_configuration_or_data(dataset, tmp_path):
    train(RUN, dataset, tmp_path / "run", stop_after=2)
    with pytest.raises(SluiceError, match="a run with another configuration"):
        Run(replace(RUN, steps=7), dataset, tmp_path / "run")
    other = write_dataset(tmp_path / "other", mixed_rows(12), 160, fingerprint="g")
    with pytest.raises(SluiceError, match="a run with another data"):
        Run(RUN, other, tmp_path / "run")
    Run(replace(RUN, log_every_steps=5, keep_checkpoints=1), dataset, tmp_path / "run")


def test_a_torn_checkpoint_is_a_clear_error(dataset, tmp_path):
    train(RUN, dataset, tmp_path, stop_after=2)
    folder = newest_checkpoint(tmp_path) / "training"
    written = (folder / "training.json").read_text()
    for change, message in (
        ({"guard": {}}, "does not say what its last losses were"),
        ({"objective": json.loads(written)["objective"] | {"index": -1}}, "was reading at sequence -1 of epoch 0"),
    ):
        (folder / "training.json").write_text(json.dumps(json.loads(written) | change))
        with pytest.raises(SluiceError, match=message):
            Run(RUN, dataset, tmp_path)
    (folder / "training.json").write_text(written)
    (shard,) = folder.glob("*.safetensors")
    whole = shard.read_bytes()
    # as long as before, but not what was written
    shard.write_bytes(b"\xff" * 8 + whole[8:])
    with pytest.raises(SluiceError, match="is not a shard of a checkpoint"):
        Run(RUN, dataset, tmp_path)
    shard.write_bytes(whole[:100])
    with pytest.raises(SluiceError, match=r"cannot be resumed \(shard-00001-.* is 100 bytes, not \d+\); remove it"):
        Run(RUN, dataset, tmp_path)
    shard.unlink()
    with pytest.raises(SluiceError, match=r"cannot be resumed \(shard-00001-.* is 0 bytes"):
        Run(RUN, dataset, tmp_path)
    for text in ("{", "[]", '{"step": 1}', '{"shards": 5}', '{"shards": {}, "step": "1", "run": 0, "x": 0}'):
        (folder / "training.json").write_text(text)
        with pytest.raises(SluiceError, match=r"step-000002 cannot be resumed \("):
            Run(RUN, dataset, tmp_path)


def test_shards_that_lie_are_a_clear_error(tmp_path):
    def shard(name, offsets, rows=2):
        info = json.dumps({"a": {"saved_offsets": offsets}})
        save_file({"a": torch.zeros(rows, 3)}, tmp_path / f"{name}.safetensors", {"DCP_SHARDING_INFO": info})

    shard("one", [0, 0])
    shard("two", [2, 0], rows=1)
    assert Shards(tmp_path).shape("a") == (3, 3) and Shards(tmp_path)["a"].shape == (3, 3)
    with pytest.raises(SluiceError, match=r"does not fit this run: b is missing; a is \[3, 3\], expected \[4, 3\]"):
        read_shards(tmp_path, {"a": torch.zeros(4, 3), "b": torch.zeros(1)}, Ranks())
    for offsets in ([1, 0], [3, 0]):
        shard("two", offsets)
        with pytest.raises(SluiceError, match="a has no rows 2 to"):
            Shards(tmp_path)
    for offsets in ([2], [2, 1], [-2, 0], ["2", 0], 2, None, {"a": 0}):
        shard("two", offsets)
        with pytest.raises(SluiceError, match=r"two\.safetensors is not a shard"):
            Shards(tmp_path)
    save_file({"a": torch.zeros(1, 4)}, tmp_path / "two.safetensors", {"DCP_SHARDING_INFO": "[]"})
    with pytest.raises(SluiceError, match=r"two\.safetensors is not a shard"):
        Shards(tmp_path)
    (tmp_path / "two.safetensors").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(SluiceError, match=r"two\.safetensors is not a shard"):
        Shards(tmp_path)


def test_two_runs_are_one(dataset, tmp_path):
    train(RUN, dataset, tmp_path / "a")
    torch.manual_seed(5)
    train(RUN, dataset, tmp_path / "b")
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b")


def test_it_learns_to_caption_what_it_saw(tmp_path):
    colors = list(COLORS)
    rows = [
        sequence_row([image_document(square(color), f"a {color} square") for color in order], 160)
        for order in (colors, colors[::-1])
    ]
    data = write_dataset(tmp_path / "d", rows, 160)
    with tarfile.open(tmp_path / "pairs.tar", "w") as tar:
        for color in colors:
            for ending, content in (("png", square(color)), ("txt", f"A {color}  square\n".encode())):
                info = tarfile.TarInfo(f"{color}.{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    config = replace(
        RUN,
        steps=60,
        batch_sequences=2,
        holdout_ratio=0.0,
        checkpoint_every_steps=60,
    )
    _, summary, _ = train(config, data, tmp_path / "run")
    assert summary.held_out_loss is None
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["checkpoint"] == "checkpoints/step-000060"
    generator = TextGenerator.load(newest_checkpoint(tmp_path / "run"))
    scores = score_captions(
        read_caption_pairs(tmp_path / "pairs.tar", 10), lambda images: generator.caption(images, 24)
    )
    assert (scores.exact_match, scores.attribute_accuracy, scores.same_words, scores.pairs) == (1.0, 1.0, 1.0, 4)


def test_held_out_sequences_are_not_trained_on_and_their_loss_is_per_token(dataset, tmp_path):
    run, summary, _ = train(RUN, dataset, tmp_path)
    shards = TokenShards(dataset_info(dataset).shards)
    split = HoldoutSplit(len(shards), RUN.holdout_ratio)
    rows = [split.held_out_row(i) for i in range(split.held_out)]
    assert len(rows) == 2 and not set(rows) & {split.training_row(i) for i in range(10)}
    one = held_out_loss(run.model, [collate([shards[r] for r in rows])])
    each = held_out_loss(run.model, [collate([shards[r]]) for r in rows])
    assert one == pytest.approx(each, rel=1e-5) and summary.held_out_loss == pytest.approx(one, rel=1e-5)


def test_nothing_to_score_is_told_before_training(tmp_path):
    document = text_document("no word of it is learned")
    rows = [sequence_row([document | {"runs": [(0, len(document["ids"]))]}], 40) for _ in range(4)]
    data = write_dataset(tmp_path / "data", rows, 40)
    with pytest.raises(SluiceError, match="held-out sequences have no token to score"):
        Run(RUN, data, tmp_path / "run")


def test_orthogonalise_flattens_the_spectrum():
    x = torch.randn(3, 40, 24, generator=torch.Generator().manual_seed(0)) * torch.logspace(0, -2, 24)
    values = torch.linalg.svdvals(orthogonalise(x))
    assert values.shape == (3, 24) and values.max() < 1.3 and values.median() > 0.6
    assert torch.allclose(orthogonalise(x.mT), orthogonalise(x).mT, atol=1e-4)


def test_adam_is_torch_adamw():
    config = OptimizerConfig(matrix_learning_rate=0.0, max_grad_norm=1e9, weight_decay=0.1, learning_rate=0.01)
    ours, theirs = (torch.nn.Linear(5, 3, bias=False) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    optimizer = Optimizer(ours.named_parameters(), config)
    reference = torch.optim.AdamW(theirs.parameters(), lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)
    for i in range(5):
        x = torch.randn(4, 5, generator=torch.Generator().manual_seed(i))
        for layer in (ours, theirs):
            layer.zero_grad()
            layer(x).square().sum().backward()
        optimizer.step({"weight": ours.weight.grad}, 1.0)
        reference.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_gradients_are_clipped_to_their_norm():
    gradients = {"weight": torch.full((4, 4), 10.0), "bias": torch.full((4,), 10.0)}
    norm = global_norm(gradients)
    assert float(norm) == pytest.approx(10 * 20**0.5, rel=1e-6)
    clip_(gradients, norm, 1.0)
    assert float(global_norm(gradients)) == pytest.approx(1.0, rel=1e-5)
    small = {"weight": torch.full((4, 4), 0.1)}
    clip_(small, global_norm(small), 1.0)
    assert torch.equal(small["weight"], torch.full((4, 4), 0.1))
    assert float(global_norm({})) == 0.0


def test_the_rate_rises_stays_and_falls():
    config = OptimizerConfig(warmup_steps=10, decay_ratio=0.5)
    rates = [rate_factor(step, 100, config) for step in range(100)]
    assert rates[0] == 0.1 and rates[9] == 1.0 and set(rates[9:51]) == {1.0}
    assert rates[75] == 0.5 and rates[99] == pytest.approx(0.02)


def test_scores_of_captions():
    def facts(text):
        words = text.split()
        return tuple(sorted(words)) if "dog" in words else None

    pairs = [CaptionPair(str(i), bytes([i]), text) for i, text in enumerate(["big dog", "dog red", "A cat, there"])]
    scores = score_captions(pairs, lambda images: ["dog big", "cat", "cat there now"], facts)
    assert scores.exact_match == 1 / 3 and scores.same_words == 0
    assert scores.attribute_accuracy == 4 / 6  # 2 of 2, 0 of 2, 2 of 2
    assert scores.examples[1] == ("dog red", "cat")


def test_pairs_come_from_a_tar_or_a_folder_and_anything_else_is_an_error(tmp_path):
    with pytest.raises(SluiceError, match="no image-caption pair"):
        read_caption_pairs(tmp_path, 5)
    with tarfile.open(tmp_path / "nameless.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("."), io.BytesIO())
    (tmp_path / "torn.tar").write_bytes(gzip.compress((tmp_path / "nameless.tar").read_bytes())[:-20])
    (tmp_path / "a.tar").write_bytes(b"no tar")
    for name in ("a.tar", "torn.tar", "nameless.tar"):
        with pytest.raises(SluiceError, match="cannot be read as a tar"):
            read_caption_pairs(tmp_path / name, 5)
    with pytest.raises(SluiceError, match="cannot be read as a tar"):
        read_caption_pairs(tmp_path / "none.tar", 5)


def test_muon_takes_hidden_matrices_experts_and_convolutions():
    chosen = {n for n, p in build(tiny(), 0).named_parameters() if is_hidden_matrix(n, p)}
    for name in ("visual.patch_embed.proj", "audio_tower.conv2d1", "language_model.layers.0.self_attn.q_proj"):
        assert f"model.{name}.weight" in chosen
    assert "model.language_model.layers.0.mlp.experts.down_proj" in chosen
    for name in ("language_model.embed_tokens", "visual.pos_embed", "language_model.layers.0.mlp.gate"):
        assert f"model.{name}.weight" not in chosen
    assert not {n for n in chosen if "norm" in n or "bias" in n or "lm_head" in n}
