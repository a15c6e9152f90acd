"""What peft makes of our adapters, bitsandbytes of our 4 bits and torchao of our integers, on the same weights."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F

from model.adapt import Quantisation, load_adapter, merge_adapters, prepare, quantise_model, save_adapter
from model.adapt.adapter_files import adapter_state
from model.adapt.int4 import int4_linear
from model.adapt.int4 import quantise_matrix as to_int4
from model.adapt.int8 import int8_linear
from model.adapt.int8 import quantise_matrix as to_int8
from model.adapt.integers import dequantise, fake_quantise, quantise
from model.adapt.nf4 import Nf4Experts, dequantise_matrix, quantise_matrix
from model.adapt.qat import QAT, FakeQuantisedExperts
from model.adapt.quantise import bytes_of
from model.batch import Batch
from model.config import AdapterConfig
from model.net.moe import Experts
from model.net.vlm import build
from tests.model_data import tiny

bitsandbytes = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed (an extra)")
peft = pytest.importorskip("peft", reason="peft is not installed (a development extra)")
torchao = pytest.importorskip("torchao", reason="torchao is not installed (an extra of the model)")
transformers = pytest.importorskip("transformers", reason="transformers is not installed (a development extra)")

from torchao.quantization import (  # noqa: E402
    Int8DynamicActivationInt8WeightConfig,
    Int8DynamicActivationIntxWeightConfig,
    Int8WeightOnlyConfig,
    IntxWeightOnlyConfig,
    PerGroup,
    quantize_,
)
from torchao.quantization.qat import QATConfig  # noqa: E402

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "experts")


def visual(audio=False):
    """The tiny model as Qwen3-VL-MoE."""
    config = tiny()
    return config if audio else type(config)(**(vars(config) | {"audio": None}))


def theirs(config):
    """The same architecture in transformers, on the meta device when it has an audio tower."""
    text, vision = vars(config.text), vars(config.vision)
    names = "vocab_size hidden_size num_hidden_layers num_attention_heads num_key_value_heads head_dim num_experts"
    names += " num_experts_per_tok moe_intermediate_size intermediate_size decoder_sparse_step rms_norm_eps"
    settings = {name: text[name] for name in names.split()} | {"mlp_only_layers": list(config.text.mlp_only_layers)}
    settings["rope_parameters"] = {
        "rope_type": "default",
        "rope_theta": config.text.rope_theta,
        "mrope_section": list(config.text.mrope_section),
        "mrope_interleaved": True,
    }
    vision = {k: list(v) if isinstance(v, tuple) else v for k, v in vision.items()}
    if config.audio is None:
        whole = transformers.Qwen3VLMoeConfig(text_config=settings, vision_config=vision)
        return transformers.Qwen3VLMoeForConditionalGeneration(whole).eval()
    from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeThinkerConfig

    whole = Qwen3OmniMoeThinkerConfig(text_config=settings, vision_config=vision, audio_config=dict(vars(config.audio)))
    with torch.device("meta"):
        return transformers.Qwen3OmniMoeThinkerForConditionalGeneration(whole)


def trained_adapter(model, targets, quantize="none"):
    prepare(model, AdapterConfig(rank=3, alpha=6.0, targets=targets, quantize=quantize), "none")
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(0, 0.1, generator=generator)


@pytest.fixture(scope="module")
def batch():
    tokens = torch.arange(24) * 7 % 250
    return Batch(tokens, torch.arange(24).expand(3, -1), (24,))


def test_peft_opens_our_adapters_and_we_open_theirs(tmp_path, batch):
    model, reference = build(visual(), 3).eval(), theirs(visual())
    reference.load_state_dict(model.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(reference(batch.tokens[None]).logits[0], model.logits(batch), atol=1e-4, rtol=0)
    trained_adapter(model, TARGETS)
    save_adapter(model, tmp_path, "base")
    opened = peft.PeftModel.from_pretrained(reference, tmp_path)
    with torch.no_grad():
        ours, other = model.logits(batch), opened(batch.tokens[None]).logits[0]
    torch.testing.assert_close(other, ours, atol=1e-4, rtol=0)
    # and back: what peft saves of the adapter it opened is what we wrote, and opens here
    opened.save_pretrained(tmp_path / "again")
    again = build(visual(), 3).eval()
    load_adapter(again, tmp_path / "again")
    with torch.no_grad():
        assert torch.equal(again.logits(batch), ours)


def test_names_are_those_of_the_thinker_in_transformers():
    config = tiny()
    model, modules = build(config, 3), dict(theirs(config).named_modules())
    targets = (*TARGETS, "lm_head", "visual.qkv", "visual.linear_fc1", "visual.linear_fc2", "audio_tower.out_proj")
    trained_adapter(model, targets)
    stems = {name.removeprefix("base_model.model.").partition(".lora_")[0] for name in adapter_state(model)}
    paths = {stem.removesuffix(".base_layer") for stem in stems}
    assert paths <= set(modules) and len(paths) > 20
    for path in paths:
        assert isinstance(modules[path], torch.nn.Linear) or path.endswith(".experts")


def test_nf4_is_the_nearest_of_sixteen_levels_and_smaller():
    # quantiles of the normal distribution, with zero and both ends (QLoRA, appendix E)
    levels = [-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0]
    levels += [0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0]
    weight = torch.randn(24, 40, generator=torch.Generator().manual_seed(1))
    blocks = weight.flatten().view(-1, 64)
    scale = blocks.abs().amax(1, keepdim=True)
    nearest = (blocks / scale)[..., None].sub(torch.tensor(levels)).abs().argmin(-1)
    expected = (torch.tensor(levels)[nearest] * scale).view_as(weight)
    found = dequantise_matrix(*quantise_matrix(weight), (24, 40), torch.float32)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    packed, state = bitsandbytes.functional.quantize_4bit(weight, blocksize=64, quant_type="nf4")
    assert torch.equal(found, bitsandbytes.functional.dequantize_4bit(packed, state))
    experts = Experts(tiny().text)
    for p in experts.parameters():
        torch.nn.init.normal_(p, generator=torch.Generator().manual_seed(2))
    small = Nf4Experts(experts)
    for name, weights in small.weights().items():
        for expert, matrix in enumerate(getattr(experts, name)):
            again = dequantise_matrix(*quantise_matrix(matrix.detach()), tuple(matrix.shape), torch.float32)
            assert torch.equal(weights[expert], again)
    assert bytes_of(small) * 7 < bytes_of(experts)


def test_a_base_in_four_bits_trains_its_adapters_alone_and_merges(batch):
    model = build(visual(), 3)
    trained_adapter(model, ("q_proj", "experts"), quantize="nf4")
    targets = torch.arange(24) * 5 % 250
    model(Batch(batch.tokens, batch.positions, batch.lengths, targets=targets)).total.backward()
    assert all(("lora_" in name) == (p.grad is not None) for name, p in model.named_parameters())
    # o_proj has no adapter, and is in 4 bits all the same
    assert not [n for n, _ in model.named_parameters() if "o_proj" in n]
    with torch.no_grad():
        before = model.logits(batch)
        merge_adapters(model)
        torch.testing.assert_close(model.logits(batch), before, atol=1e-5, rtol=1e-4)
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in build(visual(), 3).named_parameters()]


def linear_of(weight):
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight = torch.nn.Parameter(weight.clone())
    return linear


def test_integers_of_fused_experts_are_torchaos_of_each_matrix():
    generator = torch.Generator().manual_seed(1)
    experts, x = torch.randn(3, 48, 64, generator=generator), torch.randn(5, 64, generator=generator)
    q8, s8 = to_int8(experts)
    for e, weight in enumerate(experts):
        for dynamic, config in ((False, Int8WeightOnlyConfig()), (True, Int8DynamicActivationInt8WeightConfig())):
            linear = linear_of(weight)
            quantize_(linear, config)
            assert torch.equal(linear.weight.qdata, q8[e]) and torch.equal(linear.weight.scale.squeeze(-1), s8[e])
            torch.testing.assert_close(int8_linear(x, q8[e], s8[e], dynamic=dynamic), linear(x), atol=1e-5, rtol=1e-5)
    for group in (32, 64):
        q4, s4 = quantise(experts, 4, group)
        packed, _ = to_int4(experts, group)
        for e, weight in enumerate(experts):
            for dynamic, kind in ((False, IntxWeightOnlyConfig), (True, Int8DynamicActivationIntxWeightConfig)):
                linear = linear_of(weight)
                name = "granularity" if kind is IntxWeightOnlyConfig else "weight_granularity"
                quantize_(linear, kind(weight_dtype=torch.int4, **{name: PerGroup(group)}))
                assert torch.equal(linear.weight.qdata, q4[e]) and torch.equal(linear.weight.scale, s4[e])
                assert torch.equal(linear.weight.dequantize(), dequantise(q4[e], s4[e], torch.float32))
                assert torch.equal(int4_linear(x, packed[e], s4[e], dynamic=dynamic), linear(x))


def test_fake_quantised_experts_are_torchaos_linears_with_their_gradients():
    config = dataclasses.replace(tiny().text, hidden_size=64, moe_intermediate_size=32)
    experts = Experts(config)
    generator = torch.Generator().manual_seed(1)
    for p in experts.parameters():
        torch.nn.init.normal_(p, generator=generator)
    rows = torch.randn(7, 64, generator=generator)
    counts = torch.tensor([2, 0, 5, 0])
    fake = FakeQuantisedExperts(experts, (32, 32))
    out = fake.compute(rows, counts)
    out.square().sum().backward()
    expected = []
    for e, h in enumerate(rows.split(counts.tolist())):
        if not len(h):
            continue
        pair = torch.nn.Sequential(*(linear_of(getattr(experts, n)[e].detach()) for n in ("gate_up_proj", "down_proj")))
        base = Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int4, weight_granularity=PerGroup(32))
        quantize_(pair, QATConfig(base, step="prepare"))
        gate, up = pair[0](h).chunk(2, -1)
        expected.append(pair[1](F.silu(gate) * up))
        expected[-1].square().sum().backward()
        for name, linear in zip(("gate_up_proj", "down_proj"), pair, strict=True):
            torch.testing.assert_close(getattr(experts, name).grad[e], linear.weight.grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(out, torch.cat(expected), atol=1e-5, rtol=1e-5)
    weight = experts.gate_up_proj[0].detach()
    assert torch.equal(fake_quantise(weight, 4, 32), dequantise(*quantise(weight, 4, 32), torch.float32))


def train(model, batches, rate):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for packed in batches:
        optimizer.zero_grad()
        model(packed).total.backward()
        optimizer.step()


@pytest.fixture(scope="module")
def language():
    """Packed documents of a language to learn: most of the time, a token follows from the one before it."""
    generator = torch.Generator().manual_seed(3)
    table = torch.randperm(64, generator=generator)

    def document():
        tokens = torch.randint(64, (64,), generator=generator)
        for i, follows in enumerate((torch.rand(63, generator=generator) < 0.9).tolist()):
            if follows:
                tokens[i + 1] = table[tokens[i]]
        return tokens

    def packed(count):
        documents = [document() for _ in range(count)]
        targets = torch.cat([torch.cat([d[1:], torch.tensor([-100])]) for d in documents])
        return Batch(torch.cat(documents), torch.arange(64).repeat(count).expand(3, -1), (64,) * count, targets=targets)

    return [packed(4) for _ in range(70)], packed(8)


def exaggerate(model):
    """Makes some channels of the norms small and the weights that read them large: the same function, hard to round."""
    with torch.no_grad():
        for layer in model.model.language_model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            fed = [mlp.gate_proj, mlp.up_proj] if hasattr(mlp, "gate_proj") else [mlp.gate]
            readers = [
                (layer.input_layernorm, [p.weight for p in (attention.q_proj, attention.k_proj, attention.v_proj)])
            ]
            readers += [(layer.post_attention_layernorm, [p.weight for p in fed])]
            if hasattr(mlp, "experts"):
                readers[-1][1].append(mlp.experts.gate_up_proj)
            for norm, weights in readers:
                norm.weight[::8] /= 16
                for weight in weights:
                    weight[..., ::8] *= 16


def test_qat_trains_what_is_converted_and_loses_less_than_quantising_afterwards(language):
    """Outlying channels cost much at 4 bits; the same training with the rounding in the loop gets it back."""
    batches, unseen = language

    def loss(model):
        with torch.no_grad():
            return float(model(unseen).language)

    plain, aware = build(visual(), 3), build(visual(), 3)
    train(plain, batches[:50], 1e-2)
    exaggerate(plain)
    aware.load_state_dict(plain.state_dict())
    names = [n for n, _ in aware.named_parameters()]
    prepare(aware, AdapterConfig(), "int8_dynamic_int4")
    assert [n for n, _ in aware.named_parameters()] == names
    train(plain, batches[50:], 3e-3)
    train(aware, batches[50:], 3e-3)
    whole, trained = loss(plain), loss(aware)
    with torch.no_grad():
        before = aware.logits(unseen)
    quantise_model(plain, QAT)
    quantise_model(aware, QAT)
    with torch.no_grad():
        torch.testing.assert_close(aware.logits(unseen), before, atol=1e-4, rtol=1e-4)
    assert abs(loss(aware) - trained) < 1e-5
    assert whole < loss(aware) < loss(plain)
    assert loss(aware) - whole < 0.25 * (loss(plain) - whole)


def test_torchaos_conversion_gives_the_same_integers():
    model = build(visual(), 3)
    prepare(model, AdapterConfig(), "int8_dynamic_int4")
    converted = torch.nn.Sequential(copy.deepcopy(model.model.language_model.layers[0].self_attn.q_proj))
    base = Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int4, weight_granularity=PerGroup(32))
    quantize_(converted, QATConfig(base, step="convert"))
    quantise_model(model, Quantisation(scheme="int8_dynamic_int4"))
    ours = model.model.language_model.layers[0].self_attn.q_proj
    x = torch.randn(4, 32, generator=torch.Generator().manual_seed(2))
    assert torch.equal(converted(x), ours(x)) and torch.equal(converted[0].weight.scale, ours.scale)
