"""Log-probabilities of given tokens are those of log_softmax, with its gradients, however they are cut into chunks."""

import pytest
import torch

from model.net import loss
from model.net.log_probs import token_log_probs


def inputs(rows, dtype=torch.float32, width=8, vocab=37):
    generator = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, width, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(vocab, width, generator=generator).to(dtype).requires_grad_()
    return hidden, weight, torch.randint(vocab, (rows,), generator=generator), torch.randn(rows, generator=generator)


def plain(hidden, weight, targets):
    return (hidden @ weight.T).float().log_softmax(-1).gather(1, targets[:, None]).squeeze(1)


@pytest.mark.parametrize("rows", [0, 1, 7, 64])
def test_they_are_those_of_log_softmax(rows, monkeypatch):
    monkeypatch.setattr(loss, "MIN_CHUNK_ROWS", 5)
    monkeypatch.setattr(loss, "CHUNK_BYTES", {"cpu": 1, "gpu": 1})
    monkeypatch.setattr(loss, "SOFTMAX_VALUES", {"cpu": 3 * 37, "gpu": 1})
    hidden, weight, targets, scale = inputs(rows)
    found = token_log_probs(hidden, weight, targets)
    expected = plain(hidden, weight, targets)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    ours = torch.autograd.grad((found * scale).sum(), (hidden, weight))
    theirs = torch.autograd.grad((expected * scale).sum(), (hidden, weight))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_frozen_head_gets_no_gradient():
    hidden, weight, targets, _ = inputs(6)
    token_log_probs(hidden, weight.detach(), targets).sum().backward()
    expected = torch.autograd.grad(plain(hidden, weight, targets).sum(), hidden)[0]
    torch.testing.assert_close(hidden.grad, expected)
    assert weight.grad is None


def test_in_bfloat16_only_products_are_rounded():
    hidden, weight, targets, _ = inputs(50, torch.bfloat16)
    found = token_log_probs(hidden, weight, targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, plain(hidden, weight, targets))
    found.sum().backward()
    assert (hidden.grad.dtype, weight.grad.dtype) == (torch.bfloat16, torch.bfloat16)
    exact = [x.detach().float().requires_grad_() for x in (hidden, weight)]
    plain(*exact, targets).sum().backward()
    for ours, theirs in zip((hidden, weight), exact, strict=True):
        assert float((ours.grad.float() - theirs.grad).norm() / theirs.grad.norm()) < 0.02
