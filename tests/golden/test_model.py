"""The model gives what transformers gave when the golden files were written; see regenerate_model.py."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from tests import model_reference as ours
from tests.golden.regenerate_model import FAMILIES, ROWS, condensed, golden


@pytest.fixture(scope="module", params=FAMILIES)
def case(request):
    """The family, its packed documents, and what is expected of them."""
    expected = load_file(golden(request.param))
    documents = ours.documents(request.param)
    return request.param, documents, ours.batch(documents, expected["positions"].long()), expected


def test_logits_losses_and_gradients(case):
    family, _, packed, expected = case
    found = condensed(ours.outputs(ours.model(family), packed))
    torch.testing.assert_close(found["logits"], expected["logits"], atol=5e-5, rtol=0)
    for name in ("loss", "balance"):
        torch.testing.assert_close(found[name], expected[name], atol=5e-6, rtol=0)
    lengths = expected["gradients"][:, :1]
    difference = (found["gradients"] - expected["gradients"]).abs()
    assert (difference <= 1e-4 * lengths + 1e-6 * lengths.max()).all()


def test_greedy_tokens(case):
    family, documents, packed, expected = case
    written = ours.greedy(ours.model(family), documents, packed.positions, expected["greedy"].shape[1])
    assert torch.equal(written, expected["greedy"].long())


def test_bfloat16_is_as_near_to_float32_as_theirs_was(case):
    family, _, packed, expected = case
    with torch.no_grad():
        exact, rounded = (m.logits(packed) for m in (ours.model(family), ours.model(family).bfloat16()))
    assert 0 < ours.typical_error(rounded, exact) <= 1.15 * expected["bfloat16_error"]
    assert len(exact[::ROWS]) == len(expected["logits"])
