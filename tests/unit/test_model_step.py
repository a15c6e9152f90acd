"""One step: accumulation is exact, bfloat16 keeps float32 weights, frozen parts do not move, recomputing is free."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.config import LoaderConfig, OptimizerConfig, TrainConfig
from model.data.dataset import dataset_info
from model.net.rope import mrope_table
from model.net.vlm import build
from model.train.freeze import freeze, part_of
from model.train.gradients import Gradients, global_norm, not_finite
from model.train.muon import orthogonalise, products_dtype
from model.train.objective import NextToken, Setting
from model.train.optim import Optimizer, decays
from model.train.ranks import Ranks
from model.train.recompute import recompute_layers
from model.train.start import starting_model
from model.train.step import forward_backward
from schemas.errors import SluiceError
from tests.model_data import mixed_rows, sequence_row, text_document, tiny, write_dataset

pytestmark = pytest.mark.usefixtures("tiny_preset")

RUN = TrainConfig(
    name="test", model="tiny", steps=6, batch_sequences=4, holdout_ratio=0.0, loader=LoaderConfig(threads=0)
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset") / "d", mixed_rows(12), 160)


def setting(config, data: Path):
    info = dataset_info(data)
    return Setting(config, info, lambda: starting_model(config, info))


def gradients_of(config, data, model):
    """Totals and gradients of a run's first step."""
    objective = NextToken(setting(config, data))
    gradients = Gradients({n: p for n, p in model.named_parameters() if p.requires_grad})
    totals = forward_backward(objective, model, objective.step(model), gradients, Ranks())
    return totals, gradients


def without_balance_loss(seed=1, **text):
    """The load-balancing loss is each micro-batch's own, so it is left out where cuts are compared."""
    return build(tiny(router_aux_loss_coef=0.0, **text), seed)


def test_accumulated_micro_batches_are_one_batch(dataset):
    whole, one = gradients_of(RUN, dataset, without_balance_loss())
    cut, two = gradients_of(replace(RUN, accumulate=4, batch_sequences=1), dataset, without_balance_loss())
    assert cut.tokens == whole.tokens
    assert cut.measures["loss"] == pytest.approx(whole.measures["loss"], rel=1e-6)
    torch.testing.assert_close(cut.load, whole.load)
    one, two = one.tensors(), two.tensors()
    assert one.keys() == two.keys()
    scale = float(global_norm(one))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-6 * scale, msg=name)


def test_the_balance_loss_of_a_step_is_the_mean_of_its_micro_batches_by_targets(dataset):
    config = replace(RUN, accumulate=2, batch_sequences=2)
    model = build(tiny(), 1)
    totals, _ = gradients_of(config, dataset, model)
    micros = NextToken(setting(config, dataset)).step(model)
    own = [model(m.batch).balance.item() for m in micros]
    targets = [m.targets for m in micros]
    mean = sum(b * n for b, n in zip(own, targets, strict=True)) / sum(targets)
    assert own[0] != own[1] and totals.measures["balance"] == pytest.approx(mean, rel=1e-5)


def test_gradients_of_bfloat16_parameters_are_added_in_float32():
    p = torch.nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))
    gradients = Gradients({"p": p})
    for value in (1.0, *[2.0**-9] * 8):
        p.grad = torch.tensor([value], dtype=torch.bfloat16)
        gradients.collect()
    # in bfloat16 1 + 2^-9 is 1
    assert gradients.tensors()["p"].tolist() == [1 + 8 * 2.0**-9]
    gradients.clear()
    assert gradients.tensors() == {}


def test_updates_too_small_for_bfloat16_add_up_in_the_master_weight():
    p = torch.nn.Parameter(torch.ones(4, 4, dtype=torch.bfloat16))
    optimizer = Optimizer([("p", p)], OptimizerConfig(matrix_learning_rate=0.0, learning_rate=1e-3, weight_decay=0.0))
    for _ in range(8):
        optimizer.step({"p": torch.ones(4, 4)}, 1.0)
    assert optimizer.state_tensors()["p/master"].tolist() == [[pytest.approx(1 - 8e-3, rel=1e-4)] * 4] * 4
    assert p[0, 0].item() == torch.tensor(1 - 8e-3).bfloat16().item() < 1


def losses(config, data, steps):
    """Losses of the first steps, by hand."""
    objective = NextToken(setting(config, data))
    model = starting_model(config, dataset_info(data))
    optimizer = Optimizer(model.named_parameters(), config.optimizer)
    gradients = Gradients(optimizer.parameters)
    found = []
    for _ in range(steps):
        found.append(forward_backward(objective, model, objective.step(model), gradients, Ranks()).measures["loss"])
        optimizer.step(gradients.tensors(), 1.0)
        gradients.clear()
    return found, model


def test_a_run_in_bfloat16_learns_like_one_in_float32(dataset):
    config = replace(RUN, batch_sequences=2, accumulate=2)
    exact, _ = losses(config, dataset, 12)
    rounded, model = losses(replace(config, precision="bfloat16"), dataset, 12)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert exact[-1] < exact[0] - 1.5
    assert rounded == pytest.approx(exact, abs=0.08)


def test_what_needs_float32_has_it_in_a_bfloat16_model(dataset):
    config = replace(RUN, precision="bfloat16")
    model = starting_model(config, dataset_info(dataset))
    (micro,) = NextToken(setting(config, dataset)).step(model)
    routed = []
    model.model.language_model.layers[0].mlp.gate.register_forward_hook(lambda m, i, out: routed.append(out))
    losses = model(micro.batch)
    assert {x.dtype for x in (losses.total, losses.language, losses.balance, losses.z)} == {torch.float32}
    weights, _, routing = routed[0]
    assert weights.dtype == torch.bfloat16 and routing.probabilities.dtype == torch.float32
    # a table of positions made in bfloat16 would not tell neighbours apart
    cos, _ = mrope_table(torch.arange(500, 502).expand(3, -1), tiny().text, torch.bfloat16)
    exact = torch.cos(torch.arange(500.0, 502.0))
    torch.testing.assert_close(cos[:, 0].float(), exact, atol=2.0**-8, rtol=0)


def test_recomputed_layers_give_the_same_gradients(dataset):
    plain, one = gradients_of(RUN, dataset, build(tiny(), 1))
    model = build(tiny(), 1)
    recompute_layers(model)
    again, two = gradients_of(RUN, dataset, model)
    assert plain.measures == again.measures
    two = two.tensors()
    assert all(torch.equal(g, two[n]) for n, g in one.tensors().items())


def test_every_parameter_has_a_part():
    parts = {}
    for name, _ in build(tiny(), 0).named_parameters():
        parts.setdefault(part_of(name), []).append(name)
    assert set(parts) == {"decoder", "embeddings", "head", "vision", "audio", "projectors"}
    assert parts["head"] == ["lm_head.weight"]
    heads = {".".join(name.split(".")[1:3]) for name in parts["projectors"]}
    assert heads == {
        "visual.merger",
        "visual.deepstack_merger_list",
        "audio_tower.ln_post",
        "audio_tower.proj1",
        "audio_tower.proj2",
    }


def test_frozen_parts_get_no_gradient_and_frozen_towers_no_graph(dataset):
    model = build(tiny(), 1)
    freeze(model, ("projectors",))
    optimizer = Optimizer(model.named_parameters(), RUN.optimizer)
    assert {part_of(name) for name in optimizer.parameters} == {"projectors"}
    assert {name.partition("/")[0] for name in optimizer.state_tensors()} == set(optimizer.parameters)
    seen = []
    model.model.visual.blocks[-1].register_forward_hook(lambda module, inputs, out: seen.append(out))
    model.model.audio_tower.layers[-1].register_forward_hook(lambda module, inputs, out: seen.append(out))
    model.model.language_model.layers[-1].register_forward_hook(lambda module, inputs, out: seen.append(out[0]))
    _, gradients = gradients_of(RUN, dataset, model)
    assert [x.requires_grad for x in seen] == [False, False, True]
    assert gradients.tensors().keys() == optimizer.parameters.keys()
    assert all(p.grad is None for name, p in model.named_parameters() if name not in optimizer.parameters)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer.step(gradients.tensors(), 1.0)
    moved = {part_of(name) for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"projectors"}


def test_a_step_of_text_alone_leaves_the_towers_alone(tmp_path):
    data = write_dataset(tmp_path / "d", [sequence_row([text_document(f"no {i}")], 40) for i in range(4)], 40)
    model = build(tiny(), 1)
    totals, gradients = gradients_of(RUN, data, model)
    assert {part_of(name) for name in gradients.tensors()} == {"decoder", "embeddings", "head"}
    freeze(model, ("projectors",))
    again, gradients = gradients_of(RUN, data, model)
    assert again.measures == totals.measures and gradients.tensors() == {}


def test_what_cannot_be_frozen_says_so():
    with pytest.raises(SluiceError, match="no parameter in an empty list"):
        freeze(build(tiny(), 0), ())
    tied = build(tiny(tie_word_embeddings=True), 0)
    with pytest.raises(SluiceError, match="head is its embedding; name both, or neither"):
        freeze(tied, ("head", "decoder"))
    freeze(tied, ("embeddings",))
    assert tied.lm_head.weight.requires_grad


def test_a_parameter_without_gradient_keeps_weight_and_state():
    layer = torch.nn.Linear(3, 3)
    optimizer = Optimizer(layer.named_parameters(), OptimizerConfig())
    before = layer.weight.detach().clone()
    optimizer.step({"bias": torch.ones(3)}, 1.0)
    assert torch.equal(layer.weight, before) and float(optimizer.state_tensors()["weight/momentum"].abs().sum()) == 0
    assert float(optimizer.state_tensors()["bias/step"]) == 1


def test_weight_decay_spares_embeddings_norms_and_biases():
    decayed = {name for name, p in build(tiny(), 0).named_parameters() if decays(name, p)}
    for name in ("lm_head", "model.visual.patch_embed.proj", "model.language_model.layers.0.mlp.gate"):
        assert f"{name}.weight" in decayed
    assert not {n for n in decayed if "norm" in n or "bias" in n or "embed_tokens" in n or "pos_embed" in n}


def test_gradients_that_are_not_finite_are_named():
    found = {"a": torch.ones(2), "b": torch.tensor([1.0, torch.inf]), "c": torch.tensor([torch.nan])}
    assert not_finite(found) == ["b", "c"] and not torch.isfinite(global_norm(found))


def test_products_of_bfloat16_are_near_those_of_float32_and_weights_stay_float32():
    gradients = {"w": torch.randn(48, 32, generator=torch.Generator().manual_seed(0))}
    steps = []
    for precision in ("float32", "bfloat16"):
        p = torch.nn.Parameter(torch.zeros(48, 32))
        optimizer = Optimizer([("w", p)], OptimizerConfig(matrix_precision=precision, matrix_learning_rate=1.0))
        optimizer.step(gradients, 1.0)
        assert p.dtype == torch.float32
        steps.append(p.detach())
    assert 0 < float((steps[0] - steps[1]).norm() / steps[0].norm()) < 0.02
    capable = torch.cpu.get_capabilities()
    expected = torch.bfloat16 if capable.get("amx_bf16") or capable.get("avx512_bf16") else torch.float32
    assert products_dtype("auto", torch.device("cpu")) == expected
    assert products_dtype("auto", torch.device("cuda")) == torch.bfloat16


def test_matrices_of_one_shape_are_updated_as_each_alone():
    generator = torch.Generator().manual_seed(0)
    shapes = {"a": (6, 4), "b": (3, 6, 4), "c": (6, 2, 2, 1), "d": (4, 6)}
    gradients = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    config = OptimizerConfig(matrix_precision="float32", matrix_learning_rate=0.5, weight_decay=0.1)
    together = [(name, torch.nn.Parameter(torch.ones(shape))) for name, shape in shapes.items()]
    Optimizer(together, config).step(gradients, 1.0)
    for name, p in together:
        alone = torch.nn.Parameter(torch.ones(shapes[name]))
        Optimizer([(name, alone)], config).step({name: gradients[name]}, 1.0)
        torch.testing.assert_close(p, alone)
        # by hand: decay, then the factor of every matrix at the root mean square of its shape
        update = 0.05 * gradients[name] * 0.95 + gradients[name] * 0.05
        matrices = update if name == "b" else update.flatten(1)[None]
        tall = max(1.0, matrices.shape[1] / matrices.shape[2]) ** 0.5
        expected = 1 - 0.5 * 0.1 - 0.5 * tall * orthogonalise(matrices).view(shapes[name])
        torch.testing.assert_close(p.detach(), expected)
