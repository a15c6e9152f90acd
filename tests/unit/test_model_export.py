"""`sluice export`: another layout, precision and number of files, the same model; nothing half-written."""

import json
from dataclasses import replace

import pytest
import torch
import typer
from safetensors.torch import load_file
from typer.testing import CliRunner

from jobs.export import export
from jobs.generate import generate
from model.interop import Checkpoint, load_model, save_checkpoint_files
from model.net.vlm import build
from schemas.errors import SluiceError
from tests.model_data import byte_tokenizer, tiny


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run with one checkpoint of a model without audio, and one of a model with it."""
    place = tmp_path_factory.mktemp("export")
    (place / "tokenizer").mkdir()
    byte_tokenizer().save(str(place / "tokenizer" / "tokenizer.json"))
    (place / "tokenizer" / "chat_template.jinja").write_text("{{ messages }}")
    for name, config in (("vl", replace(tiny(), audio=None)), ("omni", tiny(router_bias_update_rate=0.1))):
        folder = place / name / "checkpoints" / "step-000003"
        folder.mkdir(parents=True)
        model = build(config, 2)
        for buffer in model.buffers():
            buffer.add_(1)
        save_checkpoint_files(model, folder, place / "tokenizer")
        (folder / "training").mkdir()
        (folder / "training" / "training.json").write_text("{}")
    return place


def call(command, *words):
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_run_is_exported_in_another_layout_and_generates_from_there(place, tmp_path):
    out = tmp_path / "deep" / "out"
    call(export, place / "vl", out, "--layout", "hub-vl", "--max-shard-size", "0.05MB")
    checkpoint = Checkpoint(out)
    assert checkpoint.layout == "hub-vl" and len(list(out.glob("model-*.safetensors"))) > 2
    state = load_model(place / "vl" / "checkpoints" / "step-000003").state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in load_model(out).state_dict().items())
    assert (out / "chat_template.jinja").read_text() == "{{ messages }}"
    assert {p.name for p in out.iterdir()}.isdisjoint({"training", "sluice.safetensors"})
    assert [p.name for p in out.parent.iterdir()] == ["out"]
    asked = ("--prompt", "ab", "--max-new-tokens", 4, "--threads", 1, "--json")
    texts = [json.loads(call(generate, folder, *asked))["text"] for folder in (place / "vl", out)]
    assert texts[0] == texts[1]


def test_precision_is_that_asked_for(place, tmp_path):
    call(export, place / "vl", tmp_path / "out", "--dtype", "bfloat16")
    assert {t.dtype for t in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
    assert load_model(tmp_path / "out").lm_head.weight.dtype == torch.bfloat16


def test_a_balancing_bias_is_dropped_only_when_asked(place, tmp_path):
    with pytest.raises(SluiceError, match=r"layers\.0\.mlp\.gate\.bias and 1 more.*--drop-router-bias"):
        call(export, place / "omni", tmp_path / "out")
    assert not list(tmp_path.iterdir())
    call(export, place / "omni", tmp_path / "out", "--drop-router-bias")
    assert not any(buffer.any() for buffer in load_model(tmp_path / "out").buffers())
    assert "talker" not in " ".join(load_file(tmp_path / "out" / "model.safetensors"))


def test_what_cannot_be_done_says_why_and_leaves_nothing(place, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    for words, problem in (
        ((tmp_path / "full",), "is there already"),
        ((tmp_path / "new", "--layout", "hub-omni"), "layout hub-omni does not fit; use hf5"),
        ((tmp_path / "new", "--layout", "gguf"), "--layout 'gguf' is not one of hf5, hub-vl, hub-omni"),
        ((tmp_path / "new", "--dtype", "int8"), "--dtype 'int8' is not one of"),
        ((tmp_path / "new", "--max-shard-size", "big"), "'big' is no size; write 5GB"),
        ((tmp_path / "new", "--max-shard-size", "9" * 400), "is no size; write 5GB"),
    ):
        with pytest.raises(SluiceError, match=problem):
            call(export, place / "vl", *words)
    assert [p.name for p in tmp_path.iterdir()] == ["full"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"layer_types": ("sliding_attention",) * 3, "sliding_window": 4}, "layers with a sliding window"),
        ({"norm_topk_prob": False}, "norm_topk_prob false in a model without audio"),
    ],
)
def test_what_the_published_form_cannot_say_is_not_exported(tmp_path, change, problem):
    save_checkpoint_files(build(replace(tiny(**change), audio=None), 1), tmp_path)
    with pytest.raises(SluiceError, match=f"the published form cannot say {problem}"):
        call(export, tmp_path, tmp_path / "out")
