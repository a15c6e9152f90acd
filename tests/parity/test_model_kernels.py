"""The model's fast paths against their slow, readable references: results and gradients, in both precisions."""

import math

import pytest
import torch
import torch.nn.functional as F

from model.net import loss, threads
from model.net.attention import causal_attention
from model.net.expert_kernel import combine, dispatch, grouped_outer, grouped_product, plan_slots, swiglu_experts
from model.net.loss import IGNORE, linear_cross_entropy
from model.net.norm import RMSNorm
from model.net.rope import rotate


def drawn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def with_gradients(function, inputs, weight):
    """[result, gradient of each input], the result weighted by `weight`."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    result = function(*inputs)
    return [result.detach(), *torch.autograd.grad(result, inputs, weight.to(result.dtype))]


def error(found, reference):
    return float((found.double() - reference.double()).norm() / reference.double().norm())


def check(fast, slow, inputs, weight, *, slack):
    """float32: equal to the reference in float64. bfloat16: as near to it as the slow form is, but for `slack`."""
    exact = with_gradients(slow, [x.double() for x in inputs], weight.double())
    for found, expected in zip(with_gradients(fast, inputs, weight), exact, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-4)
    rounded = [x.bfloat16() for x in inputs]
    exact = with_gradients(slow, [x.double() for x in rounded], weight.bfloat16().double())
    found, plain = (with_gradients(f, rounded, weight.bfloat16()) for f in (fast, slow))
    for ours, theirs, expected in zip(found, plain, exact, strict=True):
        assert ours.dtype == torch.bfloat16
        assert error(ours, expected) <= slack * error(theirs, expected) + 1e-6


def plain_norm(x, weight):
    norm = RMSNorm(x.shape[-1], 1e-6)
    unit = (x.float() if x.dtype != torch.float64 else x) * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.eps)
    return weight * unit.to(x.dtype)


def fast_norm(x, weight):
    norm = RMSNorm(x.shape[-1], 1e-6)
    del norm.weight
    norm.weight = weight
    return norm(x)


@pytest.mark.parametrize(("rows", "size"), [(1, 16), (300, 64), (513, 40)])
def test_norm(rows, size):
    inputs = [drawn(rows, size), drawn(size, seed=1)]
    check(fast_norm, plain_norm, inputs, drawn(rows, size, seed=2), slack=1.0)


@pytest.mark.parametrize(("tokens", "heads", "size"), [(1, 1, 8), (70, 4, 32), (300, 2, 64)])
def test_norm_and_rotation(tokens, heads, size):
    angles = drawn(tokens, size // 2, seed=3).repeat(1, 2)

    def tables(x):
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)

    def fast(x, weight):
        norm = RMSNorm(size, 1e-6)
        del norm.weight
        norm.weight = weight
        return norm.turned(x, tables(x))

    def slow(x, weight):
        return rotate(plain_norm(x, weight), *tables(x))

    inputs = [drawn(tokens, heads, size), drawn(size, seed=1)]
    check(fast, slow, inputs, drawn(tokens, heads, size, seed=2), slack=1.1)


def test_norms_do_not_depend_on_threads_or_neighbours(monkeypatch):
    x, weight = drawn(3000, 64), drawn(64, seed=1)
    once = with_gradients(fast_norm, [x, weight], x)
    monkeypatch.setattr(threads, "VALUES_A_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    assert all(map(torch.equal, once, with_gradients(fast_norm, [x, weight], x)))
    assert torch.equal(fast_norm(x[1234:1235], weight), once[0][1234:1235])


def test_rounding_keeps_what_is_not_a_number():
    x = torch.tensor([[math.nan, 1.0], [math.inf, 1.0], [3e38, 3e38]]).bfloat16()
    assert torch.isnan(fast_norm(x, torch.ones(2).bfloat16())[0]).all()


@pytest.mark.parametrize(("length", "kv_heads"), [(1, 4), (37, 2), (300, 1), (512, 4)])
def test_causal_attention(length, kv_heads):
    size = 32
    inputs = [drawn(2, heads, length, size, seed=heads + i) for i, heads in enumerate((4, kv_heads, kv_heads))]

    def slow(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    # probabilities are rounded once more than in the library's backward pass
    if length > 1:
        check(causal_attention, slow, inputs, drawn(2, 4, length, size, seed=9), slack=3.0)
    else:  # a row that sees itself alone: its query and key do not matter
        found = with_gradients(causal_attention, [x.bfloat16() for x in inputs], drawn(2, 4, 1, size).bfloat16())
        assert max(float(found[i].abs().max()) for i in (1, 2)) < 0.05


def loop_over_experts(rows, gate_up, down, counts):
    outputs = []
    for part, first, second in zip(rows.split(counts), gate_up, down, strict=True):
        gate, up = (part @ first.T).chunk(2, -1)
        outputs.append((F.silu(gate) * up) @ second.T)
    return torch.cat(outputs)


@pytest.mark.parametrize("counts", [[5, 0, 70, 1], [0, 0, 0, 3], [64, 64, 64, 64]])
def test_experts(counts):
    inputs = [drawn(sum(counts), 32), drawn(4, 48, 32, seed=1) / 4, drawn(4, 32, 24, seed=2) / 4]
    check(
        lambda *x: swiglu_experts(*x, torch.tensor(counts)),
        lambda *x: loop_over_experts(*x, counts),
        inputs,
        drawn(sum(counts), 32, seed=3),
        slack=1.1,
    )


def test_products_without_a_kernel_are_the_same():
    rows, matrices, ends = drawn(7, 16), drawn(3, 16, 8, seed=1), torch.tensor([2, 2, 7], dtype=torch.int32)
    other = drawn(7, 8, seed=2)
    for product, operand in ((grouped_product, matrices), (grouped_outer, other)):
        exact = product(rows.double(), operand.double(), ends)
        torch.testing.assert_close(product(rows, operand, ends).double(), exact, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("multiple", [1, 4, 64])
def test_slots_send_each_token_to_its_experts_and_back(multiple):
    experts = torch.randint(0, 5, (23, 2), generator=torch.Generator().manual_seed(0))
    experts[experts == 3] = 1  # an expert without rows
    slots = plan_slots(experts, 5, multiple)
    assert all(int(n) % multiple == 0 for n in slots.counts) and int(slots.counts[3]) == 0
    expert_of_row = torch.repeat_interleave(torch.arange(5), slots.counts)
    assert torch.equal(expert_of_row[slots.places], experts)
    assert torch.equal(slots.tokens[slots.places], torch.arange(23)[:, None].expand(-1, 2))

    def fast(x, weights):
        return combine(dispatch(x, slots) * (1 + expert_of_row[:, None]), weights, slots)

    def slow(x, weights):
        return (x[:, None] * (1 + experts[..., None]) * weights[..., None]).sum(1)

    check(fast, slow, [drawn(23, 16), drawn(23, 2, seed=1)], drawn(23, 16, seed=2), slack=1.3)


def test_loss_in_bfloat16_is_that_of_its_logits_in_float32():
    hidden, weight = drawn(70, 16).bfloat16(), drawn(50, 16, seed=1).bfloat16()
    targets = torch.randint(0, 50, (70,), generator=torch.Generator().manual_seed(2))
    targets[::5] = IGNORE

    def slow(h, w):
        return F.cross_entropy((h @ w.T).float(), targets, ignore_index=IGNORE)

    exact = with_gradients(slow, [hidden.double(), weight.double()], torch.ones(()))
    ours, theirs = (
        with_gradients(f, [hidden, weight], torch.ones(()))
        for f in (lambda h, w: linear_cross_entropy(h, w, targets), slow)
    )
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-6, rtol=1e-6)
    assert all(error(a, c) <= 1.05 * error(b, c) for a, b, c in zip(ours[1:], theirs[1:], exact[1:], strict=True))


def test_loss_of_several_chunks_adds_up_in_float32(monkeypatch):
    hidden, weight = drawn(200, 16).bfloat16(), drawn(50, 16, seed=1).bfloat16()
    targets = torch.randint(0, 50, (200,), generator=torch.Generator().manual_seed(2))
    whole = with_gradients(lambda h, w: linear_cross_entropy(h, w, targets), [hidden, weight], torch.ones(()))
    monkeypatch.setattr(loss, "CHUNK_BYTES", {"cpu": 0})
    monkeypatch.setattr(loss, "MIN_CHUNK_ROWS", 7)
    monkeypatch.setattr(loss, "SOFTMAX_VALUES", {"cpu": 150})
    parts = with_gradients(lambda h, w: linear_cross_entropy(h, w, targets), [hidden, weight], torch.ones(()))
    torch.testing.assert_close(parts[0], whole[0], atol=1e-5, rtol=1e-5)
    assert all(error(a, b) < 0.004 for a, b in zip(parts[1:], whole[1:], strict=True))
