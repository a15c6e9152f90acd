"""Generation: the cache gives what the plain forward gives, whatever it is batched with; sampling is seeded."""

import pytest
import torch

from model.batch import Batch
from model.data.collate import collate
from model.data.tokenizer import Prompts, TextCodec
from model.infer.cache import KvCache
from model.infer.generate import TextGenerator, generate
from model.infer.sampling import Sampling, choose, penalise, streams
from model.net.vlm import build
from schemas.errors import SluiceError
from tests.model_data import IDS, IMAGE, byte_tokenizer, special, square, tiny, tone


@pytest.fixture(scope="module")
def model():
    return build(tiny(), 11).eval()


@pytest.fixture(scope="module")
def prompts():
    builder = Prompts(TextCodec(byte_tokenizer().to_str()), special(), IMAGE)
    return [
        builder.build("a text of some length"),
        builder.build("", [square("red")]),
        builder.build("b"),
        builder.build("sounds", [square("blue", 96, 64)], [tone(400, 0.5)]),
    ]


def plainly(model, sequence, steps):
    """Greedy continuation with the whole sequence computed anew for each token."""
    batch = collate([sequence])
    tokens, positions = batch.tokens, batch.positions
    new = []
    for _ in range(steps):
        grown = Batch(tokens, positions, (len(tokens),), batch.images, batch.audios)
        with torch.no_grad():
            token = model.logits(grown, last_only=True).argmax(-1)
        if int(token) == IDS["<|endoftext|>"]:
            break
        new.append(int(token))
        tokens = torch.cat([tokens, token])
        positions = torch.cat([positions, (positions.max() + 1).expand(3, 1)], 1)
    return new


def test_cached_generation_is_the_plain_one(model, prompts):
    cached = list(generate(model, prompts, Sampling(max_new_tokens=20)))
    assert cached == [plainly(model, p, 20) for p in prompts]
    assert len({tuple(c) for c in cached}) == 4


def test_a_prompt_is_continued_alike_in_any_company(model, prompts):
    together = list(generate(model, prompts, Sampling(max_new_tokens=12)))
    alone = [next(generate(model, [p], Sampling(max_new_tokens=12))) for p in prompts]
    assert together == alone
    assert list(generate(model, prompts[::-1], Sampling(max_new_tokens=12))) == together[::-1]


def test_cached_logits_equal_plain_ones_in_any_chunks(model, prompts):
    whole = collate([prompts[0], prompts[2]])
    with torch.no_grad():
        expected = model.logits(whole)
        cache = KvCache(model.config.text, 2)
        first, second = whole.lengths
        pieces = [(5, 1), (1, 0), (7, 0), (first - 13, second - 1)]
        at, got = [0, first], [[], []]
        for new in pieces:
            rows = torch.cat([torch.arange(a, a + n) for a, n in zip(at, new, strict=True)])
            cache.begin(new)
            batch = Batch(whole.tokens[rows], whole.positions[:, rows], new)
            logits = model.logits(batch, cache.layers)
            cache.commit()
            for i, part in enumerate(logits.split(list(new))):
                got[i].append(part)
            at = [a + n for a, n in zip(at, new, strict=True)]
    torch.testing.assert_close(torch.cat([*got[0], *got[1]]), expected, atol=1e-5, rtol=1e-4)


def test_sequences_that_end_leave_the_others_alone(prompts):
    config = tiny()
    model = build(config, 11).eval()
    everyone = list(generate(model, prompts, Sampling(max_new_tokens=15)))
    # make the token that one prompt writes first the end of text: it stops at once, the rest go on as before
    ending = everyone[1][0]
    changed = type(config.special)(**(vars(config.special) | {"end_of_text": ending}))
    model.config = type(config)(**(vars(config) | {"special": changed}))
    stopped = list(generate(model, prompts, Sampling(max_new_tokens=15)))
    expected = [tokens[: tokens.index(ending)] if ending in tokens else tokens for tokens in everyone]
    assert stopped == expected and stopped[1] == []


def test_sampling_is_seeded_and_cold_sampling_is_greedy(model, prompts):
    def sample(**options):
        return list(generate(model, prompts, Sampling(max_new_tokens=10, **options)))

    assert sample(temperature=1.5, seed=1) == sample(temperature=1.5, seed=1) != sample(temperature=1.5, seed=2)
    assert sample(temperature=1.0, top_p=1e-6, seed=3) == sample()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"top_p": 0.4}, {0}),
        ({"top_p": 0.5}, {0}),
        ({"top_p": 0.6}, {0, 1}),
        ({"top_p": 0.85}, {0, 1, 2}),
        ({}, {0, 1, 2, 3}),
        ({"top_k": 2}, {0, 1}),
        ({"top_k": 9}, {0, 1, 2, 3}),
        ({"top_k": 2, "top_p": 0.62}, {0}),
        ({"min_p": 0.25}, {0, 1, 2}),
        ({"min_p": 0.35}, {0, 1}),
        ({"min_p": 1.0}, {0}),
    ],
)
def test_restrictions_leave_the_likeliest_tokens(options, expected):
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()[:, [2, 0, 3, 1]]
    sampling = Sampling(temperature=1.0, **options)
    generators = streams(sampling, 1)
    drawn = [int(choose(logits, sampling, generators)) for _ in range(200)]
    assert {[2, 0, 3, 1][token] for token in drawn} == expected


def test_tokens_are_drawn_as_often_as_they_are_likely():
    likely = torch.tensor([0.5, 0.3, 0.15, 0.05])
    sampling = Sampling(temperature=2.0)
    generators = streams(sampling, 4000)
    drawn = choose((2 * likely.log()).expand(4000, -1), sampling, generators)
    torch.testing.assert_close(drawn.bincount(minlength=4) / 4000, likely, atol=0.02, rtol=0)


def test_a_stream_does_not_depend_on_how_many_there_are(model, prompts):
    sampling = Sampling(max_new_tokens=6, temperature=1.5, seed=4)
    everyone = list(generate(model, prompts, sampling))
    assert next(generate(model, prompts[:1], sampling)) == everyone[0]
    assert list(generate(model, [prompts[0], *prompts[:1] * 3], sampling))[1] != everyone[0]


def test_repetition_is_penalised_as_published(model, prompts):
    logits = torch.tensor([[2.0, -2.0, 1.0, -1.0]])
    seen = torch.tensor([[True, True, False, False]])
    assert penalise(logits, seen, 2.0).tolist() == [[1.0, -4.0, 1.0, -1.0]]
    # so strong a penalty that no token comes twice, nor one of the prompt
    for prompt, tokens in zip(
        prompts, generate(model, prompts, Sampling(max_new_tokens=15, repetition_penalty=1e9)), strict=True
    ):
        assert len(set(tokens)) == len(tokens) and not set(tokens) & set(prompt.input_ids.tolist())


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1.0},
        {"temperature": float("inf")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"max_new_tokens": 0},
        {"min_p": 2.0},
        {"top_k": -1},
        {"seed": -1},
        {"seed": 1 << 60},
        {"repetition_penalty": float("inf")},
    ],
)
def test_impossible_sampling_is_an_error(options):
    with pytest.raises(SluiceError, match="sampling needs"):
        Sampling(**options)


@pytest.mark.parametrize("temperature", [1e-8, 1e-42])
def test_the_coldest_sampling_is_greedy(temperature):
    logits = torch.tensor([[3.0, 40.0, -7.0]])
    sampling = Sampling(temperature=temperature, seed=(1 << 40) - 1)
    assert choose(logits, sampling, streams(sampling, 1)).tolist() == [1]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_model_that_computes_no_numbers_is_an_error(temperature, broken):
    logits = torch.tensor([[3.0, 4.0], [1.0, broken]])
    sampling = Sampling(temperature=temperature)
    with pytest.raises(SluiceError, match="not finite numbers"):
        choose(logits, sampling, streams(sampling, 2))


def test_a_prefill_makes_no_mask(model):
    cache = KvCache(model.config.text, 1)
    cache.begin([1 << 20])  # its square would not fit
    assert not cache.visible


def test_the_generator_writes_text(model):
    builder = Prompts(TextCodec(byte_tokenizer().to_str()), special(), IMAGE)
    writer = TextGenerator(model, builder)
    expected = plainly(model, builder.build("", [square("red")]), 8)
    text = writer("", [square("red")], sampling=Sampling(max_new_tokens=8))
    assert text == builder.codec.decode(expected)
    assert writer.caption([square("red")] * 2, 8) == [text.strip()] * 2


def test_media_a_tokenizer_cannot_place_is_an_error(model):
    ids = type(special())(end_of_text=256)
    builder = Prompts(TextCodec(byte_tokenizer().to_str()), ids, IMAGE)
    with pytest.raises(SluiceError, match="no placeholder for images"):
        builder.build("x", [square("red")])
    with pytest.raises(SluiceError, match="no placeholder for audio"):
        builder.build("x", [], [tone(300, 0.3)])
