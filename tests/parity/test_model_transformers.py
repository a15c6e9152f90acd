"""The model against transformers, live: both compute the same small checkpoint, which each side has read from disk.

Tolerances are those of float32 sums taken in another order: logits of deviation 1 differ by some 4e-6.
"""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from model.data.audio import decode_audio
from model.data.collate import collate
from model.data.tokenizer import Prompts, load_tokenizer
from model.infer.generate import Sampling, generate
from model.interop import Checkpoint, load_model, save_checkpoint_files
from model.net.vlm import build
from schemas.chat_template import TEMPLATE_NAME, chat_template
from tests import model_reference as ours
from tests.model_data import byte_tokenizer, square, tiny, tone

transformers = pytest.importorskip("transformers", reason="transformers is not installed (a development extra)")
from tests import model_transformers as theirs  # noqa: E402

FAMILIES = ("vl", "omni")
#: bfloat16 keeps 8 bits: one rounding differently moves a choice of experts, so the errors themselves vary by so much
BFLOAT16_MARGIN = 1.15


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module", params=FAMILIES)
def both(request, folder):
    """The family, transformers' model, what it gives for the family's documents, and what ours gives."""
    family = request.param
    model = theirs.small_model(family, folder / family)
    documents = ours.documents(family)
    expected = theirs.reference(model, documents)
    packed = ours.batch(documents, expected["positions"])
    return family, model, expected, ours.outputs(load_model(folder / family), packed)


def test_logits_of_a_left_padded_batch_are_those_of_the_pack(both):
    _, _, expected, found = both
    assert expected["logits"].std() > 0.5
    torch.testing.assert_close(found["logits"], expected["logits"], atol=2e-5, rtol=0)


def test_losses(both):
    _, _, expected, found = both
    for name in ("loss", "balance"):
        torch.testing.assert_close(found[name], expected[name], atol=2e-6, rtol=0)


def test_the_gradient_of_every_parameter(both):
    _, _, expected, found = both
    names = {name for name in expected if name.startswith("grad.")}
    assert names == {name for name in found if name.startswith("grad.")} and len(names) > 110
    largest = max(expected[name].abs().max() for name in names)
    for name in sorted(names):
        own = expected[name].abs().max()
        # keys shifted all alike choose the same values: this gradient is truly zero, what is left is rounding
        assert own > 1e-4 * largest or name.endswith("k_proj.bias"), f"{name} is not tested: its gradient vanishes"
        difference = (found[name] - expected[name]).abs().max()
        assert difference <= max(2e-5 * own, 1e-6 * largest), name


def test_greedy_tokens(both, folder):
    family, _, expected, _ = both
    written = ours.greedy(load_model(folder / family), ours.documents(family), expected["positions"], theirs.STEPS)
    assert written.tolist() == expected["greedy"].tolist()


def test_bfloat16_is_as_near_to_float32_as_theirs(both, folder):
    family, _, expected, _ = both
    documents = ours.documents(family)
    rounded = theirs.open_with_transformers(folder / family, dtype=torch.bfloat16)
    error = theirs.bfloat16_error(rounded, documents, expected["logits"])
    with torch.no_grad():
        logits = load_model(folder / family, torch.bfloat16).logits(ours.batch(documents, expected["positions"]))
    assert ours.typical_error(logits, expected["logits"]) <= BFLOAT16_MARGIN * error


def test_what_they_write_loads_bit_for_bit(both, tmp_path):
    family, model, *_ = both
    model.save_pretrained(tmp_path / "saved")
    checkpoint = Checkpoint(tmp_path / "saved")
    assert checkpoint.layout == {"vl": "hf5", "omni": "hub-omni"}[family]
    state = ours.state(ours.config(family))
    assert checkpoint.config.text == ours.config(family).text and set(checkpoint) == set(state)
    assert all(torch.equal(checkpoint[name], tensor) for name, tensor in state.items())


def test_a_clip_shorter_than_a_chunk_is_heard_as_if_alone(folder):
    # transformers fills a clip's last chunk up to the longest chunk of its batch, and biases make the filling audible:
    # next to longer clips it would give this clip's last token another value. Ours is always what the clip alone gives
    model = theirs.open_with_transformers(_checkpoint("omni", folder))
    short = ours.documents("short")
    expected = theirs.reference(model, short)
    everyone = [*short, *ours.documents("omni")]
    positions = theirs.positions(model, theirs.padded(everyone, is_vl=False))
    with torch.no_grad():
        logits = load_model(folder / "omni").logits(ours.batch(everyone, positions))
    torch.testing.assert_close(logits[: len(short[0].ids)], expected["logits"], atol=2e-5, rtol=0)


def _checkpoint(family, folder):
    if not (folder / family).exists():
        (folder / family).mkdir()
        save_checkpoint_files(ours.model(family), folder / family)
    return folder / family


def test_published_layouts_read_by_both(folder, tmp_path):
    """Experts transposed and in shards; the thinker within a whole Qwen3-Omni, one tensor an expert."""
    transposed, whole = tmp_path / "vl", tmp_path / "omni"
    transposed.mkdir()
    save_checkpoint_files(ours.model("vl"), transposed, layout="hub-vl", max_shard_bytes=500_000)
    assert len(list(transposed.glob("*.safetensors"))) > 2
    (transposed / "config.json").write_text(json.dumps(ours.VL))
    shutil.copytree(_checkpoint("omni", folder), whole)
    tensors = load_file(whole / "model.safetensors")
    # save_pretrained of a thinker writes these names too, only without the prefix
    (tmp_path / "thinker").mkdir()
    save_file(tensors, tmp_path / "thinker" / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "thinker" / "config.json").write_text(json.dumps(ours.OMNI))
    named = {f"thinker.{name}": tensor for name, tensor in tensors.items()}
    save_file(named | {"talker.x": torch.ones(1), "code2wav.y": torch.ones(1)}, whole / "model.safetensors")
    outer = {"model_type": "qwen3_omni_moe", "thinker_config": ours.OMNI, "talker_config": {}, "im_end_token_id": 9}
    (whole / "config.json").write_text(json.dumps(outer))
    for family, place, layout in (("vl", transposed, "hub-vl"), ("omni", whole, "hub-omni")):
        checkpoint, state = Checkpoint(place), ours.state(ours.config(family))
        assert checkpoint.layout == layout
        assert all(torch.equal(checkpoint[name], tensor) for name, tensor in state.items())
    assert Checkpoint(whole).config.special.im_end == 9
    for family, place in (("vl", transposed), ("omni", tmp_path / "thinker")):
        opened = theirs.open_with_transformers(place)
        stored = dict(opened.named_parameters())
        names = theirs.names(opened.config.model_type)
        assert all(torch.equal(stored[names[n]], t) for n, t in ours.state(ours.config(family)).items())


@pytest.mark.parametrize("variant", FAMILIES)
def test_a_checkpoint_of_ours_opens_and_writes_the_same(variant, tmp_path):
    """Model, tokenizer, image processor and feature extractor opened by transformers; tied embeddings, hidden = I."""
    # the balancing bias, still zero, lies in a side file, which must not disturb them
    config = tiny(tie_word_embeddings=True, moe_intermediate_size=32, router_bias_update_rate=0.01)
    if variant == "vl":
        config = type(config)(**(vars(config) | {"audio": None}))
    model = build(config, 5).eval()
    with torch.no_grad():  # far from its initial state: the routes and tokens differ from prompt to prompt
        for i, p in enumerate(model.parameters()):
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(i)), alpha=0.15)
    (tmp_path / "tokenizer").mkdir()
    byte_tokenizer().save(str(tmp_path / "tokenizer" / "tokenizer.json"))
    (tmp_path / "tokenizer" / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    (tmp_path / "tokenizer" / TEMPLATE_NAME).write_text(chat_template("instruct"))
    place = tmp_path / "checkpoint"
    place.mkdir()
    save_checkpoint_files(model, place, tmp_path / "tokenizer")
    assert load_model(place).config == config
    opened = theirs.open_with_transformers(place)
    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert asked == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    builder = Prompts(load_tokenizer(place), config.special, config.image)
    cases = [("plain words", [], []), ("seen", [square("red"), square("blue", 96, 64)], [])]
    if variant == "omni":
        cases += [("heard", [], [tone(300, 0.4)]), ("both", [square("green")], [tone(500, 0.7)])]
    prompts = [builder.build(*case) for case in cases]
    written = list(generate(model, prompts, Sampling(max_new_tokens=12)))
    assert len({tuple(w) for w in written}) == len(cases)
    for (text, images, clips), prompt, expected in zip(cases, prompts, written, strict=True):
        spelled = tokenizer.encode(("\n" if images or clips else "") + text, add_special_tokens=False)
        assert prompt.input_ids.tolist()[-len(spelled) :] == spelled
        inputs = _processed(place, prompt, images, clips, config)
        found = opened.generate(**inputs, max_new_tokens=12)[0, len(prompt.input_ids) :].tolist()
        end = config.special.end_of_text
        assert (found[: found.index(end)] if end in found else found) == expected


def _processed(place, prompt, images, clips, config):
    """A prompt as transformers' own processors make it, from the encoded files."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    ids = torch.from_numpy(prompt.input_ids.astype(np.int64))[None]
    found = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    batch = collate([prompt])
    if config.audio is None:
        found["mm_token_type_ids"] = (ids == config.special.image_pad).int()
    if images:
        processor = Qwen2VLImageProcessorPil.from_pretrained(place)
        made = processor([Image.open(io.BytesIO(data)) for data in images], return_tensors="pt")
        assert torch.equal(made["pixel_values"], batch.images.patches)
        found |= dict(made)
    if clips:
        extractor = transformers.AutoFeatureExtractor.from_pretrained(place)
        samples = [decode_audio(data) for data in clips]
        options = {"truncation": False, "padding": "longest", "return_attention_mask": True, "return_tensors": "pt"}
        made = extractor(samples, sampling_rate=16_000, **options)
        torch.testing.assert_close(made["input_features"][0], batch.audios.mel, atol=1e-5, rtol=0)
        found |= {"input_features": made["input_features"], "feature_attention_mask": made["attention_mask"]}
    return found
