"""Decoding's fast paths against the ordinary ones: steps of few sequences, int8 weights, windows."""

import pytest
import torch

from model.adapt.int8 import Int8Experts, Int8Linear
from model.adapt.quantise import Quantisation, quantise_model
from model.batch import Batch
from model.infer.cache import KvCache
from model.net import few_rows, layer_step
from model.net.few_rows import few_experts, few_linear
from model.net.moe import Experts
from model.net.vlm import build
from tests.model_data import tiny

TOKENS = torch.randint(0, 250, (60,), generator=torch.Generator().manual_seed(3))
FORMS = [
    {},
    {"layer_types": ("sliding_attention",) * 3, "sliding_window": 5},
    {"router_bias_update_rate": 0.01, "norm_topk_prob": False},
    {"num_key_value_heads": 4, "num_experts_per_tok": 3},
]


def built(dtype, *, int8=False, **form):
    model = build(tiny(**form), 7)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(parameter, 1.0, 0.3, generator=torch.Generator().manual_seed(len(name)))
    for name, buffer in model.named_buffers():
        if name.endswith("gate.bias"):
            buffer.copy_(torch.arange(len(buffer)) * 2**20)
    if int8:
        quantise_model(model, Quantisation(scheme="int8"))
    return model.to(dtype).eval()


@torch.inference_mode()
def stepwise(model, starts):
    """Logits of the steps after prompts of these lengths, four each."""
    cache = KvCache(model.config.text, len(starts))
    tokens = torch.cat([TOKENS[:n] for n in starts])
    positions = torch.cat([torch.arange(n) for n in starts]).expand(3, -1)
    found = []
    for step in range(5):
        lengths = tuple(starts) if step == 0 else (1,) * len(starts)
        if step:
            tokens = torch.stack([TOKENS[n + step] for n in starts])
            positions = torch.tensor([n + step - 1 for n in starts]).expand(3, -1)
        cache.begin(lengths)
        found.append(model.logits(Batch(tokens, positions, lengths), cache.layers, last_only=True))
        cache.commit()
    return torch.stack(found)


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("starts", [(9,), (3, 17, 4)])
def test_a_step_in_one_loop_is_the_ordinary_one(monkeypatch, form, starts, int8):
    model = built(torch.float32, int8=int8, **form)
    fast = stepwise(model, starts)
    monkeypatch.setattr(layer_step, "MAX_SEQUENCES", 0)
    monkeypatch.setattr(few_rows, "FEW_SLOTS", 0)
    monkeypatch.setattr(few_rows, "is_compiled", lambda x: False)
    torch.testing.assert_close(fast, stepwise(model, starts), atol=2e-5, rtol=1e-4)


def test_a_step_in_bfloat16_is_as_near_to_float32_as_the_ordinary_one(monkeypatch):
    model = built(torch.bfloat16)
    fast = stepwise(model, (20, 11))
    monkeypatch.setattr(layer_step, "MAX_SEQUENCES", 0)
    slow = stepwise(model, (20, 11))
    exact = stepwise(model.float(), (20, 11))
    # the prompt's step is the same for both
    fast, slow, exact = (x[1:] for x in (fast, slow, exact))
    assert (fast - exact).norm() <= 1.1 * (slow - exact).norm()
    assert not torch.equal(fast, slow)


def test_the_loop_is_taken(monkeypatch):
    taken = []
    real = layer_step.loops
    monkeypatch.setattr(layer_step, "loops", lambda name: taken.append(name) or real(name))
    stepwise(built(torch.float32), (4,))
    assert len(taken) == 4 * 2  # a step's two layers with experts; the dense one is not for it


def test_a_layer_that_is_large_goes_over_threads(monkeypatch):
    model = built(torch.float32)
    expected = stepwise(model, (4,))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(layer_step, "MAX_PARAMETERS", 10)
    monkeypatch.setattr(layer_step, "loops", lambda name: pytest.fail("one thread for a large layer"))
    torch.testing.assert_close(stepwise(model, (4,)), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("rows", [1, 3, 32])
def test_int8_products_of_few_rows(rows):
    generator = torch.Generator().manual_seed(0)
    linear = torch.nn.Linear(40, 56, bias=False)
    torch.nn.init.normal_(linear.weight, generator=generator)
    quantised = Int8Linear.of(linear)
    x = torch.randn(rows, 40, generator=generator)
    expected = x @ quantised.dequantised(torch.float32).T
    torch.testing.assert_close(few_linear(x, quantised.weight, quantised.scale), expected, atol=1e-4, rtol=1e-4)
    rounded = few_linear(x.bfloat16(), quantised.weight, quantised.scale)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), expected, atol=0.2, rtol=0.02)


@pytest.mark.parametrize("int8", [False, True])
def test_few_experts_are_the_sorted_ones(int8):
    generator = torch.Generator().manual_seed(0)
    experts = Experts(tiny().text)
    for p in experts.parameters():
        torch.nn.init.normal_(p, generator=generator)
    x = torch.randn(6, 32, generator=generator)
    chosen = torch.randint(0, 4, (6, 2), generator=generator)
    weights = torch.rand(6, 2, generator=generator)
    form = Int8Experts.of(experts) if int8 else experts
    scales = (form.gate_up_proj_scale, form.down_proj_scale) if int8 else ()
    few = few_experts(x, weights, chosen, form.gate_up_proj, form.down_proj, *scales)
    with torch.enable_grad():
        sorted_ones = form(x, weights, chosen)
    torch.testing.assert_close(few, sorted_ones, atol=1e-3, rtol=1e-4)
    with torch.no_grad():
        assert torch.equal(form(x, weights, chosen), few)
        # a row alone gives the same
        assert torch.equal(form(x[2:3], weights[2:3], chosen[2:3]), few[2:3])
