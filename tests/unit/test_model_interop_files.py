"""Checkpoint files that are torn, do not fit, or mean harm: an error that names them, never a traceback or a pickle."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.interop import load_model, newest_checkpoint
from schemas.errors import SluiceError
from tests.unit.test_model_interop import CONFIG, WEIGHTS, edit, same, saved

INDEX = "model.safetensors.index.json"


def test_weights_that_do_not_fit_are_named(tmp_path):
    saved(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    gate = "model.language_model.layers.0.mlp.gate.weight"
    for changed, problem in (
        ({n: t for n, t in tensors.items() if n != gate}, f"{gate} is missing"),
        (tensors | {"model.extra": torch.ones(1)}, "model.extra is not part of the model"),
        (tensors | {gate: tensors[gate][:3].clone()}, r"gate.weight is \[3, 32\], expected \[4, 32\]"),
        (tensors | {gate: tensors[gate].int()}, "is of type I32; weights are read as F64"),
    ):
        save_file(changed, tmp_path / WEIGHTS)
        with pytest.raises(SluiceError, match=problem):
            load_model(tmp_path)
    save_file(tensors | {"model.language_model.rotary_emb.inv_freq": torch.ones(8)}, tmp_path / WEIGHTS)
    load_model(tmp_path)
    edit(tmp_path, lambda raw: raw.update(tie_word_embeddings=True))
    with pytest.raises(SluiceError, match=r"lm_head\.weight differs from the embedding, though tie_word_embeddings"):
        load_model(tmp_path)
    embedding = tensors["model.language_model.embed_tokens.weight"]
    save_file(tensors | {"lm_head.weight": embedding.clone()}, tmp_path / WEIGHTS)
    assert torch.equal(load_model(tmp_path).lm_head.weight, embedding)


def test_torn_files_are_told(tmp_path):
    saved(tmp_path)
    whole = (tmp_path / WEIGHTS).read_bytes()
    for torn in (b"", whole[:5], whole[:100], whole[:-1], b"\xff" * 8 + whole[8:]):
        (tmp_path / WEIGHTS).write_bytes(torn)
        with pytest.raises(SluiceError, match="the checkpoint is torn"):
            load_model(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(whole)
    for torn in ("", "{", "[]", '{"a": 1, "a": 2}', "[" * 100_000, "\ud800"):
        (tmp_path / CONFIG).write_bytes(torn.encode("utf-8", "surrogatepass"))
        with pytest.raises(SluiceError, match=r"cannot be read|must hold a JSON object"):
            load_model(tmp_path)
    shutil.rmtree(tmp_path)
    with pytest.raises(SluiceError, match="is not a model"):
        load_model(tmp_path)
    with pytest.raises(SluiceError, match="holds no checkpoint"):
        newest_checkpoint(tmp_path)


def test_pickles_are_never_opened(tmp_path):
    saved(tmp_path)
    (tmp_path / WEIGHTS).rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(SluiceError, match=r"pytorch_model.bin, a pickle, .*convert it to safetensors"):
        load_model(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    with pytest.raises(SluiceError, match="holds no weights"):
        load_model(tmp_path)


@pytest.fixture
def sharded(tmp_path):
    saved(tmp_path / "m", max_shard_bytes=60_000)
    return tmp_path / "m"


@pytest.mark.parametrize("name", ["../m/x.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "x\0.safetensors"])
def test_an_index_names_files_of_its_folder_only(sharded, name):
    edit(sharded, lambda raw: raw["weight_map"].update({"lm_head.weight": name}), INDEX)
    with pytest.raises(SluiceError, match=r"lie in its folder itself|no safetensors file"):
        load_model(sharded)


def test_an_index_and_its_files_must_agree(sharded):
    one, other, *_ = sorted(p.name for p in sharded.glob("*.safetensors"))
    table = json.loads((sharded / INDEX).read_text())["weight_map"]
    moved = next(n for n, file in table.items() if file == one)
    edit(sharded, lambda raw: raw["weight_map"].update({moved: other}), INDEX)
    with pytest.raises(SluiceError, match="do not name the same tensors"):
        load_model(sharded)
    edit(sharded, lambda raw: raw["weight_map"].update({moved: one, "again": "copy.safetensors"}), INDEX)
    shutil.copy(sharded / one, sharded / "copy.safetensors")
    with pytest.raises(SluiceError, match=r"is in another file too|do not name the same tensors"):
        load_model(sharded)
    edit(sharded, lambda raw: raw["weight_map"].update({"again": "pytorch_model.bin"}), INDEX)
    with pytest.raises(SluiceError, match="no safetensors file; convert it"):
        load_model(sharded)
    edit(sharded, lambda raw: raw.update(weight_map=[]), INDEX)
    with pytest.raises(SluiceError, match="has no weight_map"):
        load_model(sharded)
    (sharded / one).unlink()
    edit(sharded, lambda raw: raw.update(weight_map=table), INDEX)
    with pytest.raises(SluiceError, match=rf"{one} is missing"):
        load_model(sharded)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "sluice.safetensors", "preprocessor_config.json", "tokenizer.json"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    saved(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(SluiceError, match=f"{name} is not a file"):
        load_model(tmp_path)


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    model = saved(tmp_path / "m")
    (tmp_path / "m" / WEIGHTS).rename(tmp_path / "elsewhere.safetensors")
    os.symlink(tmp_path / "elsewhere.safetensors", tmp_path / "m" / WEIGHTS)
    with pytest.raises(SluiceError, match="is a link that leads out of the checkpoint's folder"):
        load_model(tmp_path / "m")
    # but the hub's own cache is made of such links
    cache = tmp_path / "models--x"
    (cache / "blobs").mkdir(parents=True)
    (cache / "snapshots").mkdir()
    (tmp_path / "m").rename(cache / "snapshots" / "abc")
    (tmp_path / "elsewhere.safetensors").rename(cache / "blobs" / "123")
    (cache / "snapshots" / "abc" / WEIGHTS).unlink()
    os.symlink("../../blobs/123", cache / "snapshots" / "abc" / WEIGHTS)
    assert same(model, load_model(cache / "snapshots" / "abc"))
