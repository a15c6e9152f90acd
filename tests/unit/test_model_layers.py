"""Kinds of layers and of rotation that a configuration may ask for: dense, sliding windows, YaRN; and the presets."""

import math

import pytest
import torch

from model.batch import Batch
from model.config import (
    PRESETS,
    ImageConfig,
    ModelConfig,
    SpecialIds,
    TextConfig,
    YarnConfig,
    from_dict,
    preset,
    to_dict,
)
from model.data.tokenizer import Prompts, TextCodec
from model.infer.cache import KvCache
from model.infer.generate import Sampling, generate
from model.net.moe import DenseMlp
from model.net.rope import frequencies, mrope_table, yarn_ramp
from model.net.vlm import VisionLanguageModel, build, count_parameters
from schemas.errors import RecipeError
from tests.model_data import IMAGE, byte_tokenizer, special, tiny

SLIDING = {"sliding_window": 5, "layer_types": ("sliding_attention", "full_attention", "sliding_attention")}


def text_batch(*lengths: int) -> Batch:
    tokens = torch.randint(0, 256, (sum(lengths),), generator=torch.Generator().manual_seed(sum(lengths)))
    return Batch(tokens, torch.cat([torch.arange(n) for n in lengths]).expand(3, -1), lengths, targets=tokens.roll(-1))


@torch.no_grad()
def test_a_window_hides_what_lies_before_it():
    """With one layer, a token's output depends on the last five tokens and on no other."""
    model = build(
        tiny(num_hidden_layers=1, mlp_only_layers=(), sliding_window=5, layer_types=("sliding_attention",)), 4
    )
    batch = text_batch(12, 9)
    changed = batch.tokens.clone()
    changed[3] = (changed[3] + 1) % 256
    other = Batch(changed, batch.positions, batch.lengths)
    difference = (model.logits(batch) - model.logits(other)).abs().amax(-1)
    assert (difference > 1e-6).nonzero().flatten().tolist() == [3, 4, 5, 6, 7]


@torch.no_grad()
def test_a_window_as_long_as_the_document_is_no_window():
    full, windowed = build(tiny(), 4), build(tiny(**(SLIDING | {"sliding_window": 30})), 4)
    batch = text_batch(30, 17)
    torch.testing.assert_close(windowed.logits(batch), full.logits(batch), atol=1e-6, rtol=1e-5)
    narrow = build(tiny(**SLIDING), 4)
    assert float((narrow.logits(batch) - full.logits(batch)).abs().max()) > 1e-2


@torch.no_grad()
def test_the_cache_honours_windows_in_any_chunks():
    model = build(tiny(**SLIDING), 4).eval()
    whole = text_batch(21, 14)
    expected = model.logits(whole)
    cache, at, got = KvCache(model.config.text, 2), [0, 21], [[], []]
    for new in ((8, 2), (1, 7), (3, 1), (9, 4)):
        rows = torch.cat([torch.arange(a, a + n) for a, n in zip(at, new, strict=True)])
        cache.begin(new)
        logits = model.logits(Batch(whole.tokens[rows], whole.positions[:, rows], new), cache.layers)
        cache.commit()
        for i, part in enumerate(logits.split(list(new))):
            got[i].append(part)
        at = [a + n for a, n in zip(at, new, strict=True)]
    torch.testing.assert_close(torch.cat([*got[0], *got[1]]), expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_generation_with_windows_is_the_plain_one():
    model = build(tiny(**SLIDING), 11).eval()
    builder = Prompts(TextCodec(byte_tokenizer().to_str()), special(), IMAGE)
    prompts = [builder.build("a text of some length"), builder.build("another")]
    for prompt, cached in zip(prompts, generate(model, prompts, Sampling(max_new_tokens=12)), strict=True):
        ids = prompt.input_ids.tolist()
        for _ in range(12):
            tokens = torch.tensor(ids)
            batch = Batch(tokens, torch.arange(len(ids)).expand(3, -1), (len(ids),))
            ids.append(int(model.logits(batch, last_only=True).argmax()))
        assert cached == ids[-12:]


def test_a_dense_model_has_no_routing_to_report():
    config = tiny(num_experts=0, num_experts_per_tok=0, moe_intermediate_size=0, mlp_only_layers=())
    model = build(config, 2)
    assert all(isinstance(layer.mlp, DenseMlp) for layer in model.model.language_model.layers)
    losses = model(text_batch(12, 9))
    assert losses.load.shape == (0, 0)
    assert [float(x.detach()) for x in (losses.balance, losses.z)] == [0.0, 0.0]
    assert torch.equal(losses.total, losses.language)
    losses.total.backward()
    used = {n for n, p in model.named_parameters() if p.grad is not None and float(p.grad.abs().sum()) > 0}
    decoder = {n for n, _ in model.named_parameters() if "language_model" in n or "lm_head" in n}
    assert used == decoder
    total, active = count_parameters(model)
    assert total - active == sum(p.numel() for n, p in model.named_parameters() if "visual" in n or "audio" in n)


def test_which_layers_are_dense():
    def dense(**shape):
        model = build(tiny(num_hidden_layers=6, **shape), 0)
        return [i for i, layer in enumerate(model.model.language_model.layers) if isinstance(layer.mlp, DenseMlp)]

    assert dense(mlp_only_layers=()) == []
    assert dense(mlp_only_layers=(0, 4)) == [0, 4]
    assert dense(mlp_only_layers=(1,), decoder_sparse_step=2) == [0, 1, 2, 4]
    assert dense(mlp_only_layers=(), decoder_sparse_step=3) == [0, 1, 3, 4]


def test_yarn_keeps_fast_channels_and_interpolates_slow_ones():
    yarn = YarnConfig(factor=4.0, original_max_position_embeddings=32_768)
    ramp = yarn_ramp(128, 1_000_000.0, yarn)
    plain, _ = frequencies(128, 1_000_000.0)
    stretched, scaling = frequencies(128, 1_000_000.0, yarn)
    turns = 32_768 * plain / (2 * math.pi)
    assert bool((ramp[turns > 33] == 0).all()) and bool((ramp[turns < 0.8] == 1).all())
    assert bool((ramp.diff() >= 0).all()) and 0 < int((ramp * (1 - ramp) > 0).sum()) < 30
    torch.testing.assert_close(stretched / plain, 1 - ramp * 0.75)
    assert scaling == 0.1 * math.log(4) + 1


def test_yarn_of_factor_one_is_plain_rotation():
    positions = torch.randint(0, 40_000, (3, 50), generator=torch.Generator().manual_seed(0))
    yarn = YarnConfig(factor=1.0, original_max_position_embeddings=32_768)
    plain = mrope_table(positions, tiny().text, torch.float32)
    torch.testing.assert_close(mrope_table(positions, tiny(rope_scaling=yarn).text, torch.float32), plain)
    yarn = YarnConfig(factor=1.0, original_max_position_embeddings=32_768, attention_factor=1.5)
    scaled = mrope_table(positions, tiny(rope_scaling=yarn).text, torch.float32)
    torch.testing.assert_close(scaled, tuple(1.5 * x for x in plain))


def test_fractional_positions_turn_in_between():
    whole = torch.tensor([[4.0], [4.0], [4.0]])
    config = tiny(rope_theta=1e12).text  # one channel pair turns, the others stand all but still
    cos, sin = mrope_table(whole + 0.5, config, torch.float64)
    assert (float(cos[0, 0]), float(sin[0, 0])) == pytest.approx((math.cos(4.5), math.sin(4.5)))


CONTRADICTIONS = {
    "cannot share 3 key heads": {"num_key_value_heads": 3},
    "must be three numbers that add up to half of head_dim 16": {"mrope_section": (4, 4, 2)},
    "layer_types names 1 layers of 3": {"layer_types": ("full_attention",)},
    "need a sliding_window above 0": {"layer_types": ("sliding_attention",) * 3},
    "num_experts_per_tok is 5, of 4 experts": {"num_experts_per_tok": 5},
    "moe_intermediate_size must be above 0": {"moe_intermediate_size": 0},
    "dense layers need an intermediate_size": {"intermediate_size": 0},
    "hidden_size is 0": {"hidden_size": 0},
    "out_hidden_size must be the text's hidden_size, 64": {"hidden_size": 64},
}


@pytest.mark.parametrize("problem", CONTRADICTIONS)
def test_shapes_that_contradict_each_other_are_errors(problem):
    with pytest.raises(RecipeError, match=f"model configuration: .*{problem}"):
        tiny(**CONTRADICTIONS[problem])


@pytest.mark.parametrize(
    ("part", "changes", "problem"),
    [
        ("vision", {"num_heads": 3}, "no multiple of 4"),
        ("vision", {"num_position_embeddings": 15}, "must be a square"),
        ("vision", {"deepstack_visual_indexes": [2]}, "blocks that do not exist"),
        ("audio", {"d_model": 34}, "no multiple of 2"),
        ("audio", {"n_window_infer": 50}, "must be at least 100"),
        ("audio", {"n_window": 25}, "counted for chunks of 2 \\* 50"),
        ("text", {"rope_scaling": {"factor": -1.0, "original_max_position_embeddings": 8}}, "factor is -1.0"),
    ],
)
def test_a_bad_configuration_file_is_an_error(part, changes, problem):
    raw = to_dict(tiny())
    raw[part] |= changes
    with pytest.raises(RecipeError, match=problem):
        from_dict(ModelConfig, raw, "config.json")


def expected_parameters(config: ModelConfig) -> int:
    """Counted by formula, from the shapes in the papers and nothing of the network's code."""
    text, vision, audio = config.text, config.vision, config.audio
    d, experts = text.hidden_size, text.num_experts
    attention = 2 * d * text.head_dim * (text.num_attention_heads + text.num_key_value_heads) + 2 * text.head_dim
    mixture = experts * d + experts * 3 * d * text.moe_intermediate_size
    total = text.num_hidden_layers * (attention + mixture + 2 * d) + d
    total += text.vocab_size * d * (1 if text.tie_word_embeddings else 2)
    if vision:
        v, wide = vision.hidden_size, 4 * vision.hidden_size
        block = 4 * v * v + 4 * v + 2 * v * vision.intermediate_size + vision.intermediate_size + v + 4 * v
        merger = wide * wide + wide + wide * d + d
        levels = len(vision.deepstack_visual_indexes)
        total += vision.depth * block + (levels + 1) * merger + 2 * v + levels * 2 * wide
        total += 3 * 2 * 16 * 16 * v + v + vision.num_position_embeddings * v
    if audio:
        a, c, f = audio.d_model, audio.downsample_hidden_size, audio.encoder_ffn_dim
        total += audio.encoder_layers * (4 * a * a + 4 * a + 2 * a * f + f + a + 4 * a)
        total += 9 * c + c + 2 * (9 * c * c + c) + 16 * c * a + 2 * a + a * a + a + a * d + d
    return total


#: vocabulary, end of text, all parameters, active ones
PUBLISHED = {
    "nano": (8192, 0, 3_049_216, 1_495_104),
    "small": (32_768, 0, 145_753_152, 34_743_808),
    "qwen3_vl_30b_a3b": (151_669, 151_643, 31_070_754_032, 3_353_032_704),
    "qwen3_omni_30b_a3b_thinker": (151_676, 151_643, 31_719_205_488, 3_353_556_992),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_the_parameters_that_their_shapes_say(name):
    vocab_size, end, total, active = PUBLISHED[name]
    config = preset(name, vocab_size, SpecialIds(end_of_text=end), ImageConfig())
    with torch.device("meta"):
        model = VisionLanguageModel(config)
    assert count_parameters(model) == (total, active)
    assert expected_parameters(config) == total
    assert set(PUBLISHED) == set(PRESETS)


def test_published_shapes_take_any_tokenizer():
    ids = SpecialIds(end_of_text=7)
    assert preset("qwen3_vl_30b_a3b", 1000, ids, IMAGE).text.vocab_size == 1000
    qwen = SpecialIds(end_of_text=151_643)
    assert preset("qwen3_vl_30b_a3b", 151_669, qwen, IMAGE).text.vocab_size == 151_936
    assert preset("qwen3_omni_30b_a3b_thinker", 151_676, qwen, IMAGE).text.vocab_size == 152_064
    assert preset("qwen3_vl_30b_a3b", 160_000, qwen, IMAGE).text.vocab_size == 160_000


def test_windows_are_read_from_the_layer_types():
    config: TextConfig = tiny(**SLIDING).text
    assert [config.window(i) for i in range(3)] == [5, None, 5]
    assert tiny().text.window(0) is None
