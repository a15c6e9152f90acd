"""Where a run starts: a preset or a checkpoint that fits the data; stages that train parts, one after the other."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.batch import Batch
from model.config import LoaderConfig, TrainConfig
from model.data.dataset import dataset_info
from model.interop import load_model, newest_checkpoint, save_checkpoint_files
from model.net.vlm import build
from model.train.compiling import compile_layers
from model.train.freeze import part_of
from model.train.loop import Run
from model.train.recompute import recompute_layers
from model.train.start import starting_model
from schemas.errors import SluiceError
from tests.model_data import VOCAB, byte_tokenizer, mixed_rows, special, tiny, write_dataset

pytestmark = pytest.mark.usefixtures("tiny_preset")

STAGE = TrainConfig(
    name="stage",
    model="tiny",
    steps=3,
    batch_sequences=2,
    holdout_ratio=0.0,
    checkpoint_every_steps=3,
    tensorboard=False,
    train_parts=("projectors",),
    loader=LoaderConfig(threads=0),
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset") / "d", mixed_rows(8), 160)


def weights(out):
    return dict(load_model(newest_checkpoint(out)).named_parameters())


def test_projectors_first_then_everything_from_where_they_ended(dataset, tmp_path):
    fresh = {name: p.detach().clone() for name, p in starting_model(STAGE, dataset_info(dataset)).named_parameters()}
    Run(STAGE, dataset, tmp_path / "one").train(lambda line: None, lambda: False)
    first = weights(tmp_path / "one")
    moved = {name for name, p in first.items() if not torch.equal(p, fresh[name])}
    assert moved and {part_of(name) for name in moved} == {"projectors"}
    everything = replace(
        STAGE, init=str(tmp_path / "one"), train_parts=TrainConfig(name="", steps=1, batch_sequences=1).train_parts
    )
    run = Run(everything, dataset, tmp_path / "two")
    assert all(torch.equal(p, first[name]) for name, p in run.model.named_parameters())
    run.train(lambda line: None, lambda: False)
    second = weights(tmp_path / "two")
    assert {part_of(name) for name in second if not torch.equal(second[name], first[name])} == {
        "decoder",
        "embeddings",
        "head",
        "vision",
        "audio",
        "projectors",
    }
    # a stage goes on from its own checkpoint though the one it started from is gone
    (tmp_path / "one").rename(tmp_path / "elsewhere")
    assert Run(everything, dataset, tmp_path / "two").step == 3


def checkpoint(folder: Path, **changed):
    """A model on disk with its tokenizer."""
    folder.mkdir()
    save_checkpoint_files(build(replace(tiny(**changed.pop("text", {})), **changed), 0), folder)
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    return replace(STAGE, init=str(folder))


def test_a_checkpoint_may_have_more_rows_than_the_tokenizer_has_tokens(dataset, tmp_path):
    info = dataset_info(dataset)
    model = starting_model(checkpoint(tmp_path / "m", text={"vocab_size": VOCAB + 9}), info)
    assert model.config.text.vocab_size == VOCAB + 9 and model.config.image == info.image
    assert starting_model(checkpoint(tmp_path / "n"), info).config == tiny()


def test_a_checkpoint_that_does_not_fit_the_data_says_so(dataset, tmp_path):
    info = dataset_info(dataset)
    with pytest.raises(SluiceError, match=r"knows 200 tokens, the dataset's tokenizer makes 263"):
        starting_model(checkpoint(tmp_path / "small", text={"vocab_size": 200}), info)
    with pytest.raises(SluiceError, match=r"has image_pad at id 3, the dataset has it at 259"):
        starting_model(checkpoint(tmp_path / "ids", special=replace(special(), image_pad=3)), info)
    deaf = checkpoint(tmp_path / "deaf", special=replace(special(), audio_pad=-1))
    (tmp_path / "deaf" / "tokenizer.json").unlink()
    with pytest.raises(SluiceError, match=r"has no audio_pad, the dataset has it at 262"):
        starting_model(deaf, info)
    config = checkpoint(tmp_path / "words")
    path = tmp_path / "words" / "tokenizer.json"
    definition = json.loads(path.read_text())
    vocabulary = definition["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(definition))
    with pytest.raises(SluiceError, match=r"another tokenizer: 2 of the dataset's 263 tokens .* as 'a' \(\d+ here"):
        starting_model(config, info)
    path.write_text("{")
    with pytest.raises(SluiceError, match=r"tokenizer\.json cannot be read"):
        starting_model(config, info)
    with pytest.raises(SluiceError, match="holds no checkpoint"):
        starting_model(replace(STAGE, init=str(tmp_path / "none")), info)


def test_precision_is_that_of_the_configuration(dataset, tmp_path):
    config = replace(checkpoint(tmp_path / "m"), precision="bfloat16")
    model = starting_model(config, dataset_info(dataset))
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_without_a_compiler_compiling_is_refused(dataset, tmp_path, monkeypatch):
    config = replace(STAGE, compile=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(SluiceError, match=r"no C\+\+ compiler \(g\+\+ or clang\+\+ or c\+\+\); install one, or set"):
        Run(config, dataset, tmp_path / "run")


def test_compiled_layers_give_the_gradients_of_plain_ones_and_are_compiled_once():
    graphs = []

    def backend(graph, inputs):
        """Takes the captured graphs as they are: what a C++ compiler makes of them is its own affair."""
        graphs.append(graph)
        return graph.forward

    plain, compiled = (build(tiny(num_hidden_layers=2, mlp_only_layers=(0,)), 0) for _ in range(2))
    compile_layers(compiled, backend)
    recompute_layers(compiled)
    assert plain.state_dict().keys() == compiled.state_dict().keys()
    captured = []
    for lengths in ((40,), (9, 20, 11), (3, 30)):
        tokens = torch.arange(sum(lengths))
        batch = Batch(tokens, tokens.expand(3, -1), lengths, targets=tokens.roll(-1))
        for model in (plain, compiled):
            model.zero_grad()
            model(batch).total.backward()
        captured.append(len(graphs))
        for (name, p), q in zip(plain.named_parameters(), compiled.parameters(), strict=True):
            assert (p.grad is None) == (q.grad is None)
            if p.grad is not None:
                torch.testing.assert_close(q.grad, p.grad, msg=name)
    assert captured[0] > 2 and captured[1:] == captured[:1] * 2
