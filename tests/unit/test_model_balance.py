"""Losses of a step cut into batches add up; experts are balanced by losses or by a bias on their choice."""

import math
from dataclasses import replace

import pytest
import torch

from model.batch import Batch
from model.config import TextConfig
from model.net.balance import expert_load, load_balancing_loss, update_balancing, z_loss
from model.net.loss import IGNORE
from model.net.moe import BIAS_UNIT, Router, Routing, SparseMoe
from model.net.vlm import build
from tests.model_data import VOCAB, tiny

COEFFICIENTS = {"router_aux_loss_coef": 0.1, "router_z_loss_coef": 0.03}


def routing(assignments, probabilities, normalisers=0.0, tokens=16):
    return Routing(torch.tensor(assignments), torch.tensor(probabilities), torch.tensor(normalisers), tokens)


def documents(*lengths, masked=0):
    """A batch of text; the first `masked` tokens of all have no target."""
    generator = torch.Generator().manual_seed(sum(lengths))
    tokens = torch.randint(0, VOCAB, (sum(lengths),), generator=generator)
    targets = tokens.roll(-1)
    targets[torch.tensor(lengths).cumsum(0) - 1] = IGNORE
    targets[:masked] = IGNORE
    positions = torch.cat([torch.arange(n) for n in lengths]).expand(3, -1)
    return Batch(tokens, positions, lengths, targets=targets)


def test_balanced_routing_costs_k_and_collapsed_routing_costs_more():
    even = routing([8.0, 8.0, 8.0, 8.0], [4.0, 4.0, 4.0, 4.0])
    collapsed = routing([16.0, 16.0, 0.0, 0.0], [8.0, 8.0, 0.0, 0.0])
    assert float(load_balancing_loss([even])) == 2.0
    assert float(load_balancing_loss([collapsed])) == 4.0
    assert float(load_balancing_loss([even, collapsed])) == 2.5
    assert expert_load([even, collapsed]).tolist() == [[0.25] * 4, [0.5, 0.5, 0.0, 0.0]]


def test_z_loss_is_the_mean_over_tokens_and_layers():
    assert float(z_loss([routing([8.0], [4.0], 32.0, 16), routing([8.0], [4.0], 64.0, 16)])) == 3.0
    router = Router(tiny().text).double()
    torch.nn.init.normal_(router.weight, generator=torch.Generator().manual_seed(0))
    x = torch.randn(9, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    *_, found = router(x)
    logits = (x @ router.weight.detach().T).tolist()
    expected = sum(math.log(sum(math.exp(value) for value in row)) ** 2 for row in logits) / 9
    assert float(z_loss([found]).detach()) == pytest.approx(expected, rel=1e-5)


def test_the_total_weighs_the_losses_and_reports_the_load():
    model = build(tiny(**COEFFICIENTS), 1)
    losses = model(documents(20, 13))
    routed = 0.1 * losses.balance + 0.03 * losses.z
    torch.testing.assert_close(losses.total, losses.language + routed)
    assert losses.load.shape == (2, 4) and not losses.load.requires_grad
    torch.testing.assert_close(losses.load.sum(-1), torch.ones(2))
    assert float(losses.z.detach()) > 0 and losses.z.requires_grad


def test_batches_of_a_step_add_up_to_the_step():
    """Language exactly; the routing losses of each batch by its share of the targets."""
    model = build(tiny(router_aux_loss_coef=0.0), 1).double()
    parts = [documents(20, masked=7), documents(31), documents(5, masked=5)]
    whole = Batch(
        torch.cat([b.tokens for b in parts]),
        torch.cat([b.positions for b in parts], 1),
        tuple(n for b in parts for n in b.lengths),
        targets=torch.cat([b.targets for b in parts]),
    )
    model(whole).total.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    targets = int((whole.targets != IGNORE).sum())
    assert targets == 12 + 30
    found = [model(b, targets) for b in parts]
    torch.stack([losses.total for losses in found]).sum().backward()
    torch.testing.assert_close(sum(losses.language for losses in found), model(whole).language)
    for name, grad in expected.items():
        torch.testing.assert_close(model.get_parameter(name).grad, grad, atol=1e-7, rtol=1e-5, msg=name)
    model.config = replace(model.config, text=replace(model.config.text, **COEFFICIENTS))
    found = [model(b, targets) for b in parts]
    shares = [12 / 42, 30 / 42, 0.0]
    for losses, share in zip(found, shares, strict=True):
        routed = 0.1 * losses.balance + 0.03 * losses.z
        torch.testing.assert_close(losses.total, losses.language + share * routed)
    assert float(found[2].total.detach()) == 0.0


def biased(**changes) -> TextConfig:
    return tiny(router_bias_update_rate=0.001, **changes).text


def test_the_bias_moves_the_choice_and_not_the_weights():
    router = Router(biased(norm_topk_prob=False))
    torch.nn.init.normal_(router.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    x = torch.randn(50, 32, generator=torch.Generator().manual_seed(1))
    plain, chosen, _ = router(x)
    probabilities = (x @ router.weight.T).softmax(-1)
    torch.testing.assert_close(plain, probabilities.topk(2).values)
    router.bias[3] = round(1 / BIAS_UNIT)  # no probability is larger than 1
    weights, experts, routing = router(x)
    assert bool((experts[:, 0] == 3).all()) and not bool((chosen[:, 0] == 3).all())
    torch.testing.assert_close(weights, probabilities.gather(1, experts))
    assert float(routing.assignments[3]) == 50
    weights.sum().backward()
    assert float(router.weight.grad.abs().sum()) > 0


def test_an_update_is_one_step_towards_the_mean_load_in_any_precision():
    model = build(tiny(router_bias_update_rate=0.001), 0).bfloat16()
    loads = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.4, 0.1]])
    for _ in range(300):
        update_balancing(model, loads, 0.001)
    routers = [m for m in model.modules() if isinstance(m, Router)]
    expected = torch.tensor([[-0.3, 0.3, 0.3, 0.3], [0.0, 0.0, -0.3, 0.3]])
    torch.testing.assert_close(torch.stack([r.bias for r in routers]) * BIAS_UNIT, expected, atol=1e-5, rtol=0)


def test_a_model_without_the_bias_has_no_buffer_and_is_left_alone():
    model = build(tiny(), 0)
    update_balancing(model, torch.full((2, 4), 0.25), 0.001)
    assert not list(model.named_buffers())


def test_the_bias_evens_out_a_collapsed_router():
    moe = SparseMoe(biased())
    generator = torch.Generator().manual_seed(3)
    for p in moe.parameters():
        torch.nn.init.normal_(p, std=0.05, generator=generator)
    x = torch.randn(256, 32, generator=generator) + 1.0
    moe.gate.weight.data[0] += 0.03  # an expert that most tokens prefer
    first = moe(x)[1].assignments
    for _ in range(300):
        update_balancing(moe, expert_load([moe(x)[1]]), 0.002)
    last = moe(x)[1].assignments
    assert float(first.max()) > 200 and float(last.max() - last.min()) < 40, (first, last)
