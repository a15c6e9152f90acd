"""The network: documents in a pack do not see each other, experts and losses equal their slow definitions."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from model.batch import Batch
from model.config import TextConfig, TrainConfig, from_dict, to_dict
from model.data.collate import collate
from model.data.dataset import TokenShards
from model.net.attention import segment_attention
from model.net.audio import AudioTower
from model.net.loss import IGNORE, linear_cross_entropy
from model.net.moe import SparseMoe
from model.net.norm import RMSNorm
from model.net.rope import mrope_axes, mrope_table, rotate
from model.net.segments import plan_segments
from model.net.vision import merge_order
from model.net.vlm import build, count_parameters
from schemas.errors import RecipeError, SluiceError
from schemas.shard import audio_tokens
from tests.model_data import (
    audio_document,
    image_document,
    sequence_row,
    square,
    text_document,
    tiny,
    tone,
    write_shard,
)

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=8)


def sequences(tmp_path, rows, length=160):
    path = tmp_path / "shard.arrow"
    write_shard(path, rows, length)
    shards = TokenShards((path,))
    return [shards[i] for i in range(len(shards))]


DOCUMENTS = [
    image_document(square("red"), "a red square"),
    text_document("plain words"),
    audio_document(tone(300, 0.5), 50, "a tone"),
    image_document(square("blue", 96, 64), "a wide blue square"),
]


def test_packed_documents_give_the_logits_of_separate_ones(tmp_path):
    model = build(tiny(), 3)
    packed, *alone = sequences(tmp_path, [sequence_row(d, 160) for d in (DOCUMENTS, *([d] for d in DOCUMENTS))])
    with torch.no_grad():
        together = model.logits(collate([packed]))
        separate = torch.cat([model.logits(collate([s])) for s in alone])
    torch.testing.assert_close(together, separate, atol=2e-5, rtol=1e-4)


def test_packed_documents_give_the_gradients_of_separate_ones(tmp_path):
    model = build(tiny(router_aux_loss_coef=0.0), 3).double()
    packed, *alone = sequences(tmp_path, [sequence_row(d, 160) for d in (DOCUMENTS, *([d] for d in DOCUMENTS))])
    model(collate([packed])).total.backward()
    together = {n: p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    model(collate(alone)).total.backward()
    assert all(p.grad.abs().sum() > 0 for n, p in model.named_parameters() if "k_proj.bias" not in n)
    for name, p in model.named_parameters():
        torch.testing.assert_close(together[name], p.grad, atol=1e-7, rtol=1e-5, msg=name)


def test_a_changed_document_leaves_its_neighbours_alone(tmp_path):
    model = build(tiny(), 3)
    other = [DOCUMENTS[0], text_document("other words"), *DOCUMENTS[2:]]
    first, second = sequences(tmp_path, [sequence_row(DOCUMENTS, 160), sequence_row(other, 160)])
    with torch.no_grad():
        a, b = model.logits(collate([first])), model.logits(collate([second]))
    start = len(DOCUMENTS[0]["ids"])
    stop = start + len(DOCUMENTS[1]["ids"])
    difference = (a - b).abs().amax(-1)
    assert max(difference[:start].max(), difference[stop:].max()) < 1e-5
    assert difference[start:stop].max() > 1e-2


def test_an_image_changes_what_follows_it_and_nothing_before(tmp_path):
    model = build(tiny(), 3)
    red, blue = (sequence_row([image_document(square(color), "a square")], 160) for color in ("red", "blue"))
    first, second = sequences(tmp_path, [red, blue])
    with torch.no_grad():
        a, b = model.logits(collate([first])), model.logits(collate([second]))
    difference = (a - b).abs().amax(-1)
    assert difference[0] < 1e-5 and difference[1:].min() > 1e-3


@settings(deadline=None, max_examples=25)
@given(LENGTHS, st.booleans())
def test_segments_split_and_join_are_inverse(lengths, padded):
    x = torch.arange(sum(lengths) * 2, dtype=torch.float32).view(-1, 2).requires_grad_()
    segments = plan_segments(lengths, x.device, padded=padded)
    y = segments.join(segments.split(x))
    assert torch.equal(x, y)
    weight = torch.randn_like(x)
    (y * weight).sum().backward()
    assert torch.equal(x.grad, weight)


def dense_attention(q, k, v, lengths, *, causal, window=None):
    """The definition: a mask over all pairs of rows, softmax, a weighted sum."""
    total = sum(lengths)
    document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    mask = document[:, None] == document
    back = torch.arange(total)[:, None] - torch.arange(total)
    if causal:
        mask &= (back >= 0) & (back < (window or total))
    repeats = q.shape[1] // k.shape[1]
    heads = [x.transpose(0, 1) for x in (q, k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1))]
    scores = (heads[0] @ heads[1].mT / math.sqrt(q.shape[-1])).masked_fill(~mask, -math.inf)
    return (scores.softmax(-1) @ heads[2]).transpose(0, 1)


@settings(deadline=None, max_examples=40)
@given(LENGTHS, st.booleans(), st.sampled_from([None, 1, 2, 3, 8, 17, 39]))
def test_segment_attention_equals_a_dense_mask(lengths, causal, window):
    generator = torch.Generator().manual_seed(1)
    window = window if causal else None
    inputs = [
        torch.randn(sum(lengths), h, 8, generator=generator, dtype=torch.float64, requires_grad=True) for h in (4, 2, 2)
    ]
    expected = dense_attention(*inputs, lengths, causal=causal, window=window)
    segments = plan_segments(lengths, torch.device("cpu"), padded=causal)
    found = segment_attention(*inputs, segments, causal=causal, window=window)
    torch.testing.assert_close(found, expected)
    weight = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad(found, inputs, weight), torch.autograd.grad(expected, inputs, weight), strict=True
    ):
        torch.testing.assert_close(a, b)


def text_config(**changes) -> TextConfig:
    return tiny(**changes).text


def test_experts_equal_a_loop_over_tokens():
    config = text_config()
    moe = SparseMoe(config).double()
    generator = torch.Generator().manual_seed(5)
    for p in moe.parameters():
        torch.nn.init.normal_(p, generator=generator)
    x = torch.randn(37, config.hidden_size, generator=generator, dtype=torch.float64, requires_grad=True)
    out, routing = moe(x)
    expected, counts = [], torch.zeros(config.num_experts)
    probability = (x.float() @ moe.gate.weight.float().T).softmax(-1)
    for token, p in zip(x, (x @ moe.gate.weight.T).float().softmax(-1), strict=True):
        weight, chosen = p.topk(2)
        weight = (weight / weight.sum()).double()
        y = 0
        for w, e in zip(weight, chosen, strict=True):
            gate, up = (moe.experts.gate_up_proj[e] @ token).chunk(2)
            y = y + w * (moe.experts.down_proj[e] @ (F.silu(gate) * up))
            counts[e] += 1
        expected.append(y)
    expected = torch.stack(expected)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(routing.assignments, counts) and routing.tokens == 37
    torch.testing.assert_close(routing.probabilities, probability.sum(0), atol=1e-4, rtol=1e-4)
    (fast,) = torch.autograd.grad(out.square().sum(), x)
    (slow,) = torch.autograd.grad(expected.square().sum(), x)
    torch.testing.assert_close(fast, slow, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("rows", [1, 7, 1025, 2500])
def test_chunked_loss_equals_cross_entropy(rows):
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(rows, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 11, (rows,), generator=generator)
    targets[::3] = IGNORE
    targets[-1] = 4
    loss = linear_cross_entropy(hidden, weight, targets)
    expected = F.cross_entropy(hidden @ weight.T, targets, ignore_index=IGNORE)
    torch.testing.assert_close(loss.double(), expected, atol=1e-5, rtol=1e-5)
    half = linear_cross_entropy(hidden, weight, targets, denominator=2 * int((targets != IGNORE).sum()))
    torch.testing.assert_close(half, loss / 2)
    (whole,), (halved,) = torch.autograd.grad(loss, hidden, retain_graph=True), torch.autograd.grad(half, hidden)
    torch.testing.assert_close(halved, whole / 2)
    for a, b in zip(
        torch.autograd.grad(loss, (hidden, weight)), torch.autograd.grad(expected, (hidden, weight)), strict=True
    ):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_a_batch_without_targets_costs_nothing_and_moves_nothing():
    hidden = torch.randn(3, 8, requires_grad=True)
    loss = linear_cross_entropy(hidden, torch.randn(5, 8), torch.full((3,), IGNORE))
    loss.backward()
    assert float(loss.detach()) == 0.0 and float(hidden.grad.abs().sum()) == 0.0


def test_published_channel_axes():
    axes = mrope_axes((24, 20, 20))
    assert [axes.count(i) for i in range(3)] == [24, 20, 20]
    assert axes[:7] == [0, 1, 2, 0, 1, 2, 0] and axes[57:] == [0, 1, 2, 0, 0, 0, 0]


def test_equal_axes_are_ordinary_rotation():
    positions = torch.arange(9).expand(3, -1)
    x = torch.randn(9, 2, 16, dtype=torch.float64)
    turned = rotate(x, *mrope_table(positions, text_config(rope_theta=100.0), torch.float64))
    for t in range(9):
        for j in range(8):
            angle = t * 100.0 ** (-2 * j / 16)
            pair = torch.complex(x[t, :, j], x[t, :, j + 8]) * complex(math.cos(angle), math.sin(angle))
            torch.testing.assert_close(turned[t, :, j], pair.real, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(turned[t, :, j + 8], pair.imag, atol=1e-5, rtol=1e-5)


def test_norm_multiplies_by_its_weight_after_the_cast():
    norm = RMSNorm(64, 1e-6).bfloat16()
    norm.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    x = torch.randn(50, 64, generator=torch.Generator().manual_seed(1)).bfloat16()
    unit = (x.float() / (x.float().square().mean(-1, keepdim=True) + 1e-6).sqrt()).bfloat16()
    assert torch.equal(norm(x), norm.weight * unit)


def test_patches_come_in_merge_blocks():
    rows, columns = merge_order((1, 4, 4), 2)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True))[:6] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
        (0, 2),
        (0, 3),
    ]
    assert len(merge_order((3, 2, 4), 2)[0]) == 24


@pytest.mark.parametrize(("frames", "tokens"), [(1, 1), (8, 1), (9, 2), (99, 13), (100, 13), (101, 14), (200, 26)])
def test_audio_tokens_match_the_placeholders(frames, tokens):
    tower = AudioTower(tiny().audio)
    assert audio_tokens(frames) == tokens
    assert tower(torch.zeros(128, frames), [frames]).shape == (tokens, 32)


def test_clips_do_not_hear_each_other():
    tower = AudioTower(tiny().audio).double()
    generator = torch.Generator().manual_seed(0)
    clips = [torch.randn(128, n, generator=generator, dtype=torch.float64) for n in (35, 137, 250)]
    together = tower(torch.cat(clips, 1), [35, 137, 250])
    torch.testing.assert_close(together, torch.cat([tower(c, [c.shape[1]]) for c in clips]), atol=1e-6, rtol=1e-5)


def test_long_clips_attend_within_windows():
    assert AudioTower(tiny().audio)._windows([3000, 50]) == [104, 104, 104, 78, 7]


def test_media_without_a_tower_is_a_clear_error(tmp_path):
    config = tiny()
    (sequence,) = sequences(tmp_path, [sequence_row([DOCUMENTS[0]], 160)])
    with pytest.raises(SluiceError, match="no vision tower"):
        build(replace(config, vision=None), 0)(collate([sequence]))


def test_same_seed_same_weights_whatever_torch_did_before():
    first = build(tiny(), 9)
    torch.manual_seed(123)
    torch.randn(10)
    second = build(tiny(), 9)
    third = build(tiny(), 10)
    state = second.state_dict()
    assert all(torch.equal(p, state[n]) for n, p in first.state_dict().items())
    assert not torch.equal(first.lm_head.weight, third.lm_head.weight)


def test_parameter_names_are_the_published_ones():
    names = {n for n, _ in build(tiny(), 0).named_parameters()}
    for name in (
        "lm_head.weight",
        "model.language_model.embed_tokens.weight",
        "model.language_model.norm.weight",
        "model.language_model.layers.0.self_attn.q_norm.weight",
        "model.language_model.layers.0.mlp.gate.weight",
        "model.language_model.layers.0.mlp.experts.gate_up_proj",
        "model.language_model.layers.1.mlp.down_proj.weight",
        "model.visual.patch_embed.proj.weight",
        "model.visual.pos_embed.weight",
        "model.visual.blocks.1.attn.qkv.bias",
        "model.visual.merger.linear_fc1.weight",
        "model.visual.deepstack_merger_list.1.norm.weight",
        "model.audio_tower.conv2d3.weight",
        "model.audio_tower.layers.0.self_attn_layer_norm.weight",
        "model.audio_tower.proj2.bias",
    ):
        assert name in names


def test_active_parameters_leave_out_idle_experts_and_towers():
    model = build(tiny(), 0)
    total, active = count_parameters(model)
    experts = 2 * 4 * (48 * 32 + 32 * 24)
    towers = sum(p.numel() for n, p in model.named_parameters() if "visual" in n or "audio" in n)
    assert total - active == experts // 2 + towers


def test_configuration_survives_json_and_names_what_is_wrong():
    config = tiny()
    assert from_dict(type(config), to_dict(config), "x") == config
    run = {"name": "n", "steps": 3, "batch_sequences": 2}
    assert from_dict(TrainConfig, run | {"optimizer": {"learning_rate": 1}}, "c").optimizer.learning_rate == 1.0
    with pytest.raises(RecipeError, match=r"c: 'stpes' is not a setting; did you mean 'steps'\?"):
        from_dict(TrainConfig, run | {"stpes": 3}, "c")
    with pytest.raises(RecipeError, match=r"c\.steps: expected int, got 'ten'"):
        from_dict(TrainConfig, run | {"steps": "ten"}, "c")
    with pytest.raises(RecipeError, match="c: 'steps' is missing"):
        from_dict(TrainConfig, {"name": "n", "batch_sequences": 2}, "c")
    with pytest.raises(RecipeError, match=r"c\.optimizer: 'lr' is not a setting"):
        from_dict(TrainConfig, run | {"optimizer": {"lr": 1.0}}, "c")


def test_a_batch_moves_whole(tmp_path):
    (sequence,) = sequences(tmp_path, [sequence_row(DOCUMENTS, 160)])
    moved: Batch = collate([sequence]).to(torch.device("meta"))
    tensors = [moved.tokens, moved.positions, moved.targets, moved.images.patches, moved.images.rows, moved.audios.mel]
    assert {t.device.type for t in tensors} == {"meta"}
