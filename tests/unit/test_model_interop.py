"""Checkpoints: every layout there and back, and the configurations of both families and ages."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.config import YarnConfig, to_dict
from model.data.dataset import TOKEN_NAMES
from model.interop import Checkpoint, load_model, save_checkpoint_files
from model.interop.config_json import from_hub, to_hub
from model.interop.layouts import pieces
from model.net.vlm import build
from schemas.errors import SluiceError
from tests import model_reference as reference
from tests.model_data import byte_tokenizer, special, tiny

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def vl(**text):
    return replace(tiny(**text), audio=None)


def saved(folder, config=None, **options):
    """A fresh model, written into a new folder."""
    model = build(config or vl(), 4)
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint_files(model, folder, **options)
    return model


def edit(folder, change, name=CONFIG):
    raw = json.loads((folder / name).read_text())
    change(raw)
    (folder / name).write_text(json.dumps(raw))


def same(one, other):
    state = other.state_dict()
    return one.state_dict().keys() == state.keys() and all(
        torch.equal(t, state[n]) for n, t in one.state_dict().items()
    )


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("layout", ["hf5", "hub-vl", "hub-omni"])
def test_every_layout_there_and_back(tmp_path, layout, tied):
    config = tiny(tie_word_embeddings=tied) if layout == "hub-omni" else vl(tie_word_embeddings=tied)
    model = saved(tmp_path / "one", config, layout=layout)
    saved(tmp_path / "many", config, layout=layout, max_shard_bytes=30_000)
    assert len(list((tmp_path / "many").glob("model-*-of-*.safetensors"))) > 3
    for folder in (tmp_path / "one", tmp_path / "many"):
        again = load_model(folder)
        assert Checkpoint(folder).layout == layout and again.config == config and same(model, again)
        assert (again.lm_head.weight is again.model.language_model.embed_tokens.weight) == tied
        assert all(p.requires_grad and p.is_leaf for p in again.parameters())
    assert ("lm_head.weight" in load_file(tmp_path / "one" / WEIGHTS)) == (not tied)
    assert load_model(tmp_path / "one", torch.bfloat16).lm_head.weight.dtype == torch.bfloat16


def test_the_thinker_in_memory_names_are_read_too(tmp_path):
    model = saved(tmp_path, tiny(), layout="hf5")
    names = set(load_file(tmp_path / WEIGHTS))
    assert "model.visual.merger.ln_q.weight" in names and "model.visual.merger_list.0.mlp.0.weight" in names
    assert Checkpoint(tmp_path).layout == "hf5" and same(model, load_model(tmp_path))


def test_the_same_model_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        saved(tmp_path / name, tiny())
    assert {p.name for p in (tmp_path / "a").iterdir()} == {p.name for p in (tmp_path / "b").iterdir()}
    assert all(p.read_bytes() == (tmp_path / "b" / p.name).read_bytes() for p in (tmp_path / "a").iterdir())


def test_a_trained_model_does_not_write_into_its_checkpoint(tmp_path):
    saved(tmp_path)
    before = (tmp_path / WEIGHTS).read_bytes()
    with torch.no_grad():
        for p in load_model(tmp_path).parameters():
            p.zero_()
    assert (tmp_path / WEIGHTS).read_bytes() == before


@pytest.mark.parametrize("width", [32, 16])  # hidden_size is 32: it equals I, or 2I
def test_experts_that_look_alike_transposed_are_told_by_the_other_matrix(tmp_path, width):
    config = vl(moe_intermediate_size=width)
    model = saved(tmp_path / "hf5", config)
    assert Checkpoint(tmp_path / "hf5").layout == "hf5" and same(model, load_model(tmp_path / "hf5"))
    with pytest.raises(SluiceError, match="transformers would read them wrongly; use hf5"):
        saved(tmp_path / "hub", config, layout="hub-vl")
    # as others may have written it
    tensors = load_file(tmp_path / "hf5" / WEIGHTS)
    turned = {n: t.mT.contiguous() if ".experts." in n else t for n, t in tensors.items()}
    save_file(turned, tmp_path / "hf5" / WEIGHTS)
    assert Checkpoint(tmp_path / "hf5").layout == "hub-vl" and same(model, load_model(tmp_path / "hf5"))
    name = next(n for n in tensors if n.endswith("down_proj" if width == 16 else "gate_up_proj"))
    save_file(turned | {name: tensors[name]}, tmp_path / "hf5" / WEIGHTS)
    with pytest.raises(SluiceError, match="neither of layout hf5 nor of hub-vl"):
        load_model(tmp_path / "hf5")


def test_layouts_belong_to_a_family(tmp_path):
    with pytest.raises(SluiceError, match="has an audio tower, so layout hub-vl does not fit; use hub-omni"):
        saved(tmp_path, tiny(), layout="hub-vl")
    with pytest.raises(SluiceError, match="has no audio tower, so layout hub-omni does not fit; use hf5"):
        saved(tmp_path, layout="hub-omni")


def test_pieces_of_an_expert():
    shape = (4, 48, 32)
    name = "model.language_model.layers.0.mlp.experts.gate_up_proj"
    parts = pieces(name, shape, tiny(), "hub-omni", "thinker.")
    assert [p.name for p in parts[2:4]] == [
        "thinker.model.layers.0.mlp.experts.1.gate_proj.weight",
        "thinker.model.layers.0.mlp.experts.1.up_proj.weight",
    ]
    whole = torch.arange(4 * 48 * 32).view(shape)
    assert torch.equal(parts[3].of(whole), whole[1, 24:])


def test_configurations_survive_the_published_form():
    yarn = YarnConfig(factor=4.0, original_max_position_embeddings=1024, attention_factor=1.2)
    sliding = ("full_attention", "sliding_attention", "full_attention")
    for config in (
        tiny(),
        vl(rope_scaling=yarn),
        vl(layer_types=sliding, sliding_window=8, router_z_loss_coef=0.1, norm_topk_prob=False),
        tiny(norm_topk_prob=False, router_bias_update_rate=0.01, decoder_sparse_step=2, mlp_only_layers=()),
        vl(num_experts=0, num_experts_per_tok=0, moe_intermediate_size=0, mlp_only_layers=()),
        replace(vl(), vision=None),
    ):
        raw = json.loads(json.dumps(to_hub(config, "float32")))
        assert from_hub(raw, "c") == config
    # nothing of what the published form says is said again: editing it there is enough
    assert set(to_hub(vl(), "float32")["sluice"]) <= {"special", "image"}
    assert "text" not in to_hub(tiny(rope_scaling=yarn), "float32").get("sluice", {})


def test_old_and_new_published_forms_mean_the_same():
    old = from_hub(reference.VL, "old")
    new = json.loads(json.dumps(reference.VL))
    text = new["text_config"]
    text["rope_parameters"] = text.pop("rope_scaling") | {"rope_theta": text.pop("rope_theta")}
    text["num_local_experts"] = text.pop("num_experts")
    assert from_hub(new, "new") == old
    assert (old.text.rope_theta, old.text.mrope_section, old.text.num_experts) == (10_000.0, (6, 5, 5), 6)
    omni = from_hub({"model_type": "qwen3_omni_moe", "thinker_config": reference.OMNI, "im_end_token_id": 5}, "whole")
    assert replace(omni, special=replace(omni.special, im_end=-1)) == from_hub(reference.OMNI, "thinker")
    published = json.loads(json.dumps(reference.VL))
    published["text_config"]["rope_theta"] = 5_000_000  # a whole number in the hub's files
    assert from_hub(published, "p").text.rope_theta == 5_000_000.0
    scaled = json.loads(json.dumps(reference.VL))
    scaled["text_config"]["rope_scaling"] = {"type": "yarn", "factor": 2, "mrope_section": [6, 5, 5]}
    assert from_hub(scaled, "y").text.rope_scaling == YarnConfig(factor=2.0, original_max_position_embeddings=4096)


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        ("model_type", "llama", "model_type 'llama' is not read"),
        ("quantization_config", {"quant_method": "fp8"}, "the weights are quantised"),
        ("text_config", None, "text_config is missing"),
        ("text_config.hidden_act", "gelu", "text_config.hidden_act is 'gelu', which this model cannot honour"),
        ("text_config.attention_bias", True, "attention_bias is True"),
        ("text_config.use_sliding_window", True, "use_sliding_window is True"),
        ("text_config.layer_types", ["linear_attention"], "layer_types is"),
        ("text_config.shared_expert_intermediate_size", 64, "shared_expert_intermediate_size is 64"),
        ("text_config.num_local_experts", 7, "num_experts is"),
        ("text_config.rope_scaling.rope_type", "llama3", "rope_type is 'llama3'"),
        ("text_config.rope_scaling.mrope_interleaved", False, "mrope_interleaved is False"),
        ("text_config.rope_scaling.mrope_section", [6, 5, 4], "mrope_section"),
        ("text_config.num_hidden_layers", 10**9, "no model has more than 1024"),
        ("text_config.hidden_size", 10**400, "no model has more than"),
        ("text_config.hidden_size", "48", "expected int, got '48'"),
        ("text_config.num_attention_heads", 0, "must be above 0"),
        ("text_config.rms_norm_eps", float("nan"), "which is no number"),
        ("vision_config.patch_size", 14, "images are cut into 16 px"),
        ("vision_config.hidden_act", "gelu", "vision_config.hidden_act is 'gelu'"),
        ("vision_config.rope_parameters", {"rope_theta": 5}, "vision_config.rope_parameters is"),
        ("vision_config.out_hidden_size", 47, "out_hidden_size must be"),
        ("sluice", 3, "sluice is 3"),
    ],
)
def test_what_cannot_be_honoured_is_named(place, value, problem):
    raw = json.loads(json.dumps(reference.VL))
    *groups, last = place.split(".")
    inner = raw
    for group in groups:
        inner = inner[group]
    inner[last] = value
    with pytest.raises(SluiceError, match=problem) as caught:
        from_hub(raw, "here/config.json")
    assert "here/config.json" in str(caught.value)


def test_ids_come_from_the_tokenizer_where_the_published_form_has_none(tmp_path):
    (tmp_path / "tokenizer").mkdir()
    byte_tokenizer().save(str(tmp_path / "tokenizer" / "tokenizer.json"))
    saved(tmp_path / "m", tokenizer=tmp_path / "tokenizer")
    assert json.loads((tmp_path / "m" / "generation_config.json").read_text())["eos_token_id"] == [256]
    edit(tmp_path / "m", lambda raw: raw.pop("sluice"))
    edit(tmp_path / "m", lambda raw: raw["text_config"].pop("eos_token_id"))
    assert load_model(tmp_path / "m").config.special == special()
    assert set(TOKEN_NAMES) == set(to_dict(special()))
    edit(tmp_path / "m", lambda raw: raw.update(patch_size=14), "preprocessor_config.json")
    with pytest.raises(SluiceError, match="patch_size is 14; this model's preprocessing has 16"):
        load_model(tmp_path / "m")


def test_the_balancing_bias_lies_beside_the_weights(tmp_path):
    model = build(tiny(router_bias_update_rate=0.01), 4)
    for name, buffer in model.named_buffers():
        buffer.copy_(torch.arange(len(buffer)))
        assert name.endswith("mlp.gate.bias")
    save_checkpoint_files(model, tmp_path)
    assert set(load_file(tmp_path / "sluice.safetensors")) == {n for n, _ in model.named_buffers()}
    assert same(model, load_model(tmp_path))
    (tmp_path / "sluice.safetensors").unlink()
    assert not any(b.any() for b in load_model(tmp_path).buffers())
    save_file({"other": torch.ones(1)}, tmp_path / "sluice.safetensors")
    with pytest.raises(SluiceError, match=r"does not fit config.json: it holds other"):
        load_model(tmp_path)
