"""Adapters and integer weights: what they compute, what they train, what their files hold."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.adapt import (
    Quantisation,
    adapter_state,
    load_adapter,
    merge_adapters,
    prepare,
    quantise_model,
    save_adapter,
)
from model.adapt.adapter_files import CONFIG, WEIGHTS
from model.adapt.integers import dequantise, fake_quantise, pack_nibbles, quantise, round_rows, unpack_nibbles
from model.adapt.quantise import SCHEMES, bytes_of
from model.config import AdapterConfig
from model.data.collate import collate
from model.data.tokenizer import Prompts, TextCodec
from model.net.vlm import build
from schemas.errors import RecipeError, SluiceError
from tests.model_data import IMAGE, byte_tokenizer, special, square, tiny, tone

EVERYWHERE = ("q_proj", "k_proj", "v_proj", "o_proj", "experts", "gate_proj", "lm_head", "visual.qkv")
ADAPTER = AdapterConfig(rank=3, alpha=6.0, targets=(*EVERYWHERE, "audio_tower.q_proj"))


@pytest.fixture(scope="module")
def batch():
    builder = Prompts(TextCodec(byte_tokenizer().to_str()), special(), IMAGE)
    prompts = [
        builder.build("a text of some length"),
        builder.build("seen", [square("red")]),
        builder.build("heard", [], [tone(400, 0.5)]),
    ]
    found = collate(prompts)
    return replace(found, targets=found.tokens.clone())


def logits(model, batch):
    with torch.no_grad():
        return model.logits(batch)


def adapted(config=ADAPTER, **text):
    """A model whose adapters have been trained, as far as anyone can tell."""
    model = build(tiny(**text), 3).eval()
    prepare(model, config, "none")
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(0, 0.1, generator=generator)
    return model


def test_an_adapter_starts_as_nothing_and_trains_alone(batch):
    model = build(tiny(), 3)
    before = logits(model, batch)
    prepare(model, ADAPTER, "none")
    assert torch.equal(logits(model, batch), before)
    model(batch).total.backward()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {name for name, _ in model.named_parameters() if "lora_" in name}
    for name, p in model.named_parameters():
        assert (p.grad is not None) == (name in trained), name
    # A moves only once B is not zero
    moved = {name for name in trained if model.get_parameter(name).grad.any()}
    assert moved == {name for name in trained if "lora_B" in name}


def test_the_gradient_of_an_adapter_is_that_of_the_weights_it_changes(batch):
    model, whole = adapted(), adapted()
    merge_adapters(whole)
    model(batch).total.backward()
    whole(batch).total.backward()
    layer = model.model.language_model.layers[0]
    plain = whole.model.language_model.layers[0]
    q, weight = layer.self_attn.q_proj, plain.self_attn.q_proj.weight
    torch.testing.assert_close(q.lora_B.grad, weight.grad @ q.lora_A.T * 2, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(q.lora_A.grad, q.lora_B.T @ weight.grad * 2, atol=1e-6, rtol=1e-4)
    for name in ("gate_up_proj", "down_proj"):
        (a, b), grad = layer.mlp.experts.factors(name), getattr(plain.mlp.experts, name).grad
        torch.testing.assert_close(b.grad, grad @ a.mT * 2, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(a.grad, b.mT @ grad * 2, atol=1e-6, rtol=1e-4)


def test_merging_gives_a_plain_model_with_the_same_logits(batch):
    model = adapted()
    before = logits(model, batch)
    assert (before - logits(build(tiny(), 3), batch)).abs().max() > 0.1
    merge_adapters(model)
    torch.testing.assert_close(logits(model, batch), before, atol=1e-5, rtol=1e-4)
    plain = build(tiny(), 3)
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in plain.named_parameters()]
    assert {type(m) for m in model.modules()} == {type(m) for m in plain.modules()}


def test_dropout_is_of_training_alone(batch):
    model = adapted(replace(ADAPTER, dropout=0.5))
    torch.manual_seed(0)
    assert torch.equal(logits(model, batch), logits(adapted(), batch))
    assert not torch.equal(logits(model.train(), batch), logits(adapted(), batch))


@pytest.mark.parametrize(
    ("adapter", "qat", "message"),
    [
        ({"rank": -1}, "none", "rank >= 0"),
        ({"rank": 2, "alpha": 0.0}, "none", "alpha > 0"),
        ({"rank": 2, "dropout": 1.0}, "none", r"dropout in \[0, 1\)"),
        ({"rank": 2, "targets": ()}, "none", "name at least one"),
        ({"quantize": "nf4"}, "none", "needs an adapter to train"),
        ({"rank": 2}, "int8_dynamic_int4", "choose one of the two"),
        ({"rank": 2, "targets": ("q_prj",)}, "none", "no module 'q_prj'; did you mean 'q_proj'"),
        ({"rank": 2, "targets": ("xyz",)}, "none", "no module 'xyz'; there are"),
    ],
)
def test_settings_that_do_not_go_together_are_errors(adapter, qat, message):
    with pytest.raises(SluiceError, match=message) as caught:
        prepare(build(tiny(), 3), AdapterConfig(**adapter), qat)
    assert isinstance(caught.value, RecipeError) == ("module" not in message)


def test_a_head_that_is_the_embedding_has_no_adapter():
    with pytest.raises(SluiceError, match="the head of this model is its embedding"):
        prepare(build(tiny(tie_word_embeddings=True), 3), ADAPTER, "none")


def test_adapter_files_come_back(tmp_path, batch):
    model = adapted()
    save_adapter(model, tmp_path, "base")
    settings = json.loads((tmp_path / CONFIG).read_text())
    assert (settings["r"], settings["lora_alpha"], settings["base_model_name_or_path"]) == (3, 6.0, "base")
    assert set(load_file(tmp_path / WEIGHTS)) == set(adapter_state(model))
    again = build(tiny(), 3).eval()
    load_adapter(again, tmp_path)
    assert torch.equal(logits(again, batch), logits(model, batch))
    with pytest.raises(SluiceError, match="no adapters to save"):
        save_adapter(build(tiny(), 3), tmp_path, "base")


def test_adapter_files_that_do_not_fit_are_errors(tmp_path):
    save_adapter(adapted(), tmp_path, "base")
    settings, weights = (tmp_path / CONFIG).read_text(), (tmp_path / WEIGHTS).read_bytes()
    tensors = load_file(tmp_path / WEIGHTS)

    def fails(message, change=None, stored=None, text=None, raw=None):
        (tmp_path / CONFIG).write_text(json.dumps(json.loads(settings) | (change or {})) if text is None else text)
        (tmp_path / WEIGHTS).write_bytes(weights if raw is None else raw)
        if stored is not None:
            save_file(stored, tmp_path / WEIGHTS)
        with pytest.raises(SluiceError, match=message):
            load_adapter(build(tiny(), 3), tmp_path)

    name = "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight"
    rest = {k: v for k, v in tensors.items() if k != name}
    fails("torn", raw=weights[:-5])
    fails("torn", text="{")
    fails("torn", text="[" * 100_000)
    fails("larger than 1 MB", text=" " * (2 << 20))
    fails("not of a LoRA adapter", {"peft_type": "IA3"})
    fails("not of a LoRA adapter", text="[]")
    fails("sets use_dora, bias,", {"use_dora": True, "bias": "all"})
    fails("r must be at least 1", {"r": 10**9, "lora_alpha": "x"})
    fails(r"is \[3, 32\], expected \[1000000000, 32\]", {"r": 10**9})
    fails("lora_B.weight belongs to no module", stored=rest)
    fails(r"is \[2, 32\], expected \[3, 32\]", stored=rest | {name: torch.zeros(2, 32)})
    fails("belongs to no module", stored=tensors | {"x": torch.zeros(1)})
    fails("adapts nothing", stored={})


def test_integers_are_the_nearest_and_pack_without_loss():
    weight = torch.randn(3, 6, 64, generator=torch.Generator().manual_seed(1))
    for bits, group in ((8, 64), (4, 32), (4, 8)):
        q, scale = quantise(weight, bits, group)
        half = scale.repeat_interleave(group, -1) / 2
        error = (dequantise(q, scale, torch.float32) - weight).abs()
        # the largest magnitude lies half a step outside of the integers, on the positive side
        assert (error <= half * 1.001).all()
        assert (scale.shape, q.dtype) == ((3, 6, 64 // group), torch.int8)
        assert torch.equal(fake_quantise(weight, bits, group), dequantise(q, scale, torch.float32))
    q = torch.arange(-8, 8, dtype=torch.int8).repeat(2, 1)
    assert torch.equal(unpack_nibbles(pack_nibbles(q)), q)
    assert pack_nibbles(torch.tensor([[1, -1]], dtype=torch.int8)).tolist() == [[0xF1]]
    zeros = torch.zeros(2, 32)
    assert torch.equal(dequantise(*quantise(zeros, 4, 32), torch.float32), zeros)
    assert torch.equal(round_rows(zeros), zeros)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_quantised_model_is_close_smaller_and_done_with_training(batch, scheme):
    model = build(tiny(), 3).eval()
    before, whole = logits(model, batch), bytes_of(model.model.language_model.layers)
    quantise_model(model, Quantisation(scheme=scheme))
    after = logits(model, batch)
    error = (after - before).norm() / before.norm()
    assert 1e-4 < error < (0.25 if "int4" in scheme else 0.03)
    assert bytes_of(model.model.language_model.layers) < whole * (0.45 if "int4" in scheme else 0.4)
    assert not [n for n, p in model.named_parameters() if p.requires_grad]


@pytest.mark.parametrize(
    ("options", "message"), [({"scheme": "int3"}, "no scheme 'int3'"), ({"group_size": 7}, "even")]
)
def test_impossible_quantisation_is_an_error(options, message):
    with pytest.raises(SluiceError, match=message):
        Quantisation(**({"scheme": "int4"} | options))


def test_experts_without_rows_are_left_alone():
    model = build(tiny(), 3)
    quantise_model(model, Quantisation(scheme="int4"))
    experts = model.model.language_model.layers[0].mlp.experts
    rows = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    alone = [experts.compute(rows[i : i + 1], torch.eye(4, dtype=torch.int64)[e]) for i, e in enumerate((1, 3, 3))]
    torch.testing.assert_close(experts.compute(rows, torch.tensor([0, 1, 0, 2])), torch.cat(alone))
    assert experts.compute(rows[:0], torch.zeros(4, dtype=torch.int64)).shape == (0, 32)
