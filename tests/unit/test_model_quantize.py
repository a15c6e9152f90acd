"""`sluice quantize`, and folders that hold a model in another form than plain weights."""

import json
import shutil

import pytest
import torch
import typer
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from jobs.export import export
from jobs.generate import generate
from jobs.quantize import quantize
from model.adapt import Quantisation, prepare, quantise_model, save_adapter
from model.adapt.adapter_files import CONFIG as ADAPTER
from model.batch import Batch
from model.config import AdapterConfig
from model.infer.effect import compare
from model.infer.opening import open_model
from model.infer.quantised import WEIGHTS
from model.interop import load_model, save_checkpoint_files
from model.net.vlm import build
from schemas.errors import SluiceError
from tests.model_data import byte_tokenizer, mixed_rows, tiny, write_dataset

TOKENS = torch.arange(40) * 7 % 250
BATCH = Batch(TOKENS, torch.arange(40).expand(3, -1), (40,), targets=TOKENS.roll(-1))


def logits(model):
    with torch.no_grad():
        return model.logits(BATCH)


def call(*words):
    app = typer.Typer()
    for command in (quantize, generate, export):
        app.command()(command)
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A plain checkpoint, a dataset, and an adapter of the checkpoint."""
    folder = tmp_path_factory.mktemp("quantize")
    write_dataset(folder / "data", mixed_rows(8), 160)
    (folder / "plain").mkdir()
    model = build(tiny(), 3)
    save_checkpoint_files(model, folder / "plain")
    byte_tokenizer().save(str(folder / "plain" / "tokenizer.json"))
    prepare(model, AdapterConfig(rank=2), "none")
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(0, 0.1, generator=torch.Generator().manual_seed(len(name)))
    (folder / "adapter").mkdir()
    save_adapter(model, folder / "adapter", str(folder / "plain"))
    return folder


@pytest.mark.parametrize("scheme", ["int8", "int8_dynamic_int4"])
def test_what_quantize_writes_is_what_generate_opens(place, scheme):
    out = place / scheme
    options = ("--scheme", scheme, "--data", place / "data", "--holdout", 0.3, "--threads", 1, "--json")
    found = json.loads(call("quantize", place / "plain", out, *options).stdout)
    model = load_model(place / "plain").eval()
    quantise_model(model, Quantisation(scheme=scheme))
    assert torch.equal(logits(open_model(out)), logits(model))
    assert found["bytes_after"] < found["bytes_before"] and found["tokens"] > 50
    assert 0 < found["divergence"] < 0.2 and 0.5 < found["same_choice"] < 1
    assert 0 < abs(found["loss_after"] - found["loss_before"]) < 0.2
    words = ("--prompt", "a", "--max-new-tokens", 4, "--threads", 1, "--json")
    assert json.loads(call("generate", out, *words).stdout)["checkpoint"] == str(out)
    with pytest.raises(SluiceError, match="is there already"):
        call("quantize", place / "plain", out)
    with pytest.raises(SluiceError, match="is quantised already"):
        call("quantize", out, place / "again")
    with pytest.raises(SluiceError, match="its weights are not there any more"):
        call("export", out, place / "again")
    with pytest.raises(SluiceError, match="'quantization' is not a setting"):
        load_model(out)
    assert not (place / "again").exists()


def test_quantising_is_the_same_bytes_and_says_what_it_saved(place):
    told = call("quantize", place / "plain", place / "one", "--scheme", "int4", "--group-size", 16).stdout
    call("quantize", place / "plain", place / "two", "--scheme", "int4", "--group-size", 16)
    assert (place / "one" / WEIGHTS).read_bytes() == (place / "two" / WEIGHTS).read_bytes()
    assert "times smaller" in told and "held-out" not in told
    with pytest.raises(SluiceError, match="no scheme 'int3'"):
        call("quantize", place / "plain", place / "three", "--scheme", "int3")


def test_the_cost_is_measured_on_data_of_the_same_tokenizer(place, tmp_path):
    data = write_dataset(tmp_path / "data", mixed_rows(4), 160)
    tokenizer = data / "tokenizer" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("<|audio_pad|>", "<|sound_pad|>"))
    with pytest.raises(SluiceError, match="its ids mean other text"):
        call("quantize", place / "plain", tmp_path / "out", "--data", data)
    assert not (tmp_path / "out").exists()


def test_a_quantised_folder_that_does_not_fit_is_an_error(place, tmp_path):
    folder = tmp_path / "q"
    call("quantize", place / "plain", folder)
    config, weights = (folder / "config.json").read_text(), (folder / WEIGHTS).read_bytes()
    tensors = load_file(folder / WEIGHTS)
    name = "model.language_model.layers.0.self_attn.q_proj.weight"

    def fails(message, note=None, stored=None, raw=None):
        changed = json.loads(config)
        if note is not None:
            changed["sluice"]["quantization"] = note
        (folder / "config.json").write_text(json.dumps(changed))
        (folder / WEIGHTS).write_bytes(weights if raw is None else raw)
        if stored is not None:
            save_file(stored, folder / WEIGHTS)
        with pytest.raises(SluiceError, match=message):
            open_model(folder)

    fails("torn", raw=weights[:-3])
    fails("expected a mapping", note=[])
    fails("'int2' is not one of", note={"scheme": "int2"})
    fails("expected int", note={"scheme": "int4", "group_size": True})
    fails("even and at least", note={"scheme": "int4", "group_size": -8})
    fails(r"q_proj.scale is float32 \[64\], expected float32 \[64, 1\]", note={"scheme": "int4"})
    fails(r"is float32 \[64, 32\], expected int8", stored=tensors | {name: tensors[name].float()})
    fails("q_proj.weight is missing", stored={k: v for k, v in tensors.items() if k != name})
    fails("x is not part of the model", stored=tensors | {"x": torch.zeros(1)})


def test_an_adapter_opens_merged_generates_and_is_exported(place):
    model = open_model(place / "adapter")
    expected = build(tiny(), 3)
    assert not torch.allclose(logits(model), logits(expected), atol=0.1)
    words = ("--prompt", "a", "--max-new-tokens", 4, "--threads", 1, "--json")
    assert "text" in json.loads(call("generate", place / "adapter", *words).stdout)
    call("export", place / "adapter", place / "exported")
    assert torch.equal(logits(load_model(place / "exported")), logits(model))
    assert (place / "exported" / "tokenizer.json").exists()


def test_an_adapter_without_its_base_says_where_to_look(place, tmp_path):
    for base, message in (
        (place / "nowhere", "which is not there"),
        (3, "the model 3, which is not there"),
        (place / "adapter", "no plain model"),
    ):
        shutil.copytree(place / "adapter", tmp_path / "a", dirs_exist_ok=True)
        settings = json.loads((tmp_path / "a" / ADAPTER).read_text())
        settings["base_model_name_or_path"] = base if isinstance(base, int) else str(base)
        (tmp_path / "a" / ADAPTER).write_text(json.dumps(settings))
        with pytest.raises(SluiceError, match=message):
            open_model(tmp_path / "a")


def test_the_effect_of_a_change_is_measured_on_what_carries_loss():
    before, after = build(tiny(), 3), build(tiny(), 4)
    alike = compare(before, before, [BATCH])
    assert (alike.divergence, alike.same_choice, alike.loss_before) == (0.0, 1.0, alike.loss_after)
    effect = compare(before, after, [BATCH, BATCH])
    with torch.no_grad():
        p, q = (m.logits(BATCH).double().log_softmax(-1) for m in (before, after))
    assert effect.tokens == 80
    assert effect.divergence == pytest.approx(float((p.exp() * (p - q)).sum(-1).mean()), rel=1e-4)
    assert effect.loss_after == pytest.approx(float(-q.gather(1, BATCH.targets[:, None]).mean()), rel=1e-5)
    with pytest.raises(SluiceError, match="no token to score"):
        compare(before, after, [])
