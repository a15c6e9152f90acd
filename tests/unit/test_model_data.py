"""Reading shards: the order, the split, positions, targets, and what images and audio become."""

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model.config import ImageConfig
from model.data.audio import decode_audio, log_mel, mel_filters
from model.data.collate import IGNORE, collate
from model.data.dataset import TokenShards, dataset_info
from model.data.images import grid_for, open_image, patchify, smart_resize
from model.data.permutation import Permutation
from model.data.positions import VisionSpan, document_positions
from model.data.shards import HoldoutSplit, SequenceReader
from model.data.tokenizer import Prompts, TextCodec, load_tokenizer
from schemas.errors import SchemaError, SluiceError
from tests.model_data import (
    IDS,
    IMAGE,
    audio_document,
    byte_tokenizer,
    image_document,
    mixed_rows,
    sequence_row,
    special,
    square,
    text_document,
    tone,
    write_dataset,
    write_shard,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset") / "d", mixed_rows(20), 160)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 700), st.text(max_size=8))
def test_a_permutation_visits_each_item_once(size, key):
    order = Permutation(size, key)
    assert sorted(order[i] for i in range(size)) == list(range(size))


def test_permutations_differ_by_key_and_mix():
    first, second = ([Permutation(1000, key)[i] for i in range(1000)] for key in "ab")
    assert first != second
    fixed = sum(i == x for i, x in enumerate(first))
    assert fixed < 10
    # neighbours end up far apart: the mean distance of a random order is a third of the size
    assert 280 < np.abs(np.diff(first)).mean() < 390


def test_rows_come_back_as_they_were_written(tmp_path):
    rows = mixed_rows(7)
    write_shard(tmp_path / "a.arrow", rows[:4], 160)
    write_shard(tmp_path / "b.arrow", rows[4:], 160)
    shards = TokenShards((tmp_path / "a.arrow", tmp_path / "b.arrow"))
    assert len(shards) == 7
    for row, sequence in zip(rows, (shards[i] for i in range(7)), strict=True):
        assert sequence.input_ids.tolist() == row["input_ids"][: sum(row["document_lengths"])]
        assert list(sequence.document_lengths) == row["document_lengths"]
        assert [{"start": s, "length": n} for s, n in sequence.loss_runs] == row["loss_runs"]
        assert [p.data for p in sequence.images] == [p["data"] for p in row["images"]]
        assert [p.frames for p in sequence.audios] == [p["frames"] for p in row["audios"]]
    assert shards.holds_media().tolist() == [bool(row["images"]) for row in rows]
    with pytest.raises(IndexError):
        shards[7]


def test_every_state_of_the_reader_restores_the_rest(dataset):
    shards = TokenShards(dataset_info(dataset).shards)
    split = HoldoutSplit(len(shards), 0.2)

    def reader():
        return SequenceReader(shards, split, seed=5, media_repeats=2)

    def ids(source, count):
        return [next(source).input_ids.tolist() for _ in range(count)]

    whole, states = reader(), []
    seen = []
    for _ in range(40):
        states.append(whole.state_dict())
        seen += ids(whole, 1)
    for at, state in enumerate(states):
        again = reader()
        again.load_state_dict(state)
        assert ids(again, 3) == (seen + ids(_after(reader(), 40), 3))[at : at + 3]


def _after(source, count):
    for _ in range(count):
        next(source)
    return source


def test_an_epoch_holds_each_text_once_and_media_as_often_as_asked(dataset):
    shards = TokenShards(dataset_info(dataset).shards)
    split = HoldoutSplit(len(shards), 0.2)
    reader = SequenceReader(shards, split, seed=5, media_repeats=3)
    seen = [tuple(next(reader).input_ids.tolist()) for _ in range(len(reader))]
    assert (reader.epoch, reader.index) == (0, len(reader))
    for i in range(split.training):
        row = shards[split.training_row(i)]
        assert seen.count(tuple(row.input_ids.tolist())) == 1
        if row.images or row.audios:
            assert seen.count(tuple(row.media_documents().input_ids.tolist())) == 2
    next(reader)
    assert (reader.epoch, reader.index) == (1, 1)
    second = [tuple(next(reader).input_ids.tolist()) for _ in range(len(reader) - 1)]
    assert seen[1:] != second


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.floats(0, 0.99))
def test_the_split_is_a_partition(rows, ratio):
    split = HoldoutSplit(rows, ratio)
    held = [split.held_out_row(i) for i in range(split.held_out)]
    training = [split.training_row(i) for i in range(split.training)]
    assert sorted(held + training) == list(range(rows)) and training
    assert bool(held) == (ratio > 0 and rows > 1)


def test_a_reader_refuses_a_place_in_other_data(dataset):
    shards = TokenShards(dataset_info(dataset).shards)
    state = SequenceReader(shards, HoldoutSplit(len(shards), 0.2), seed=5).state_dict()
    with pytest.raises(SluiceError, match="give the data it was made with"):
        SequenceReader(shards, HoldoutSplit(len(shards), 0.5), seed=5).load_state_dict(state)


def test_a_folder_without_a_manifest_is_not_a_dataset(tmp_path):
    with pytest.raises(SchemaError, match="not a finished dataset"):
        dataset_info(tmp_path)


def one_batch(tmp_path, documents, length=200):
    write_shard(tmp_path / "a.arrow", [sequence_row(documents, length)], length)
    return collate([TokenShards((tmp_path / "a.arrow",))[0]])


def test_a_dataset_that_forgot_rows_is_another_one(tmp_path):
    write_dataset(tmp_path, mixed_rows(4), 160)
    assert dataset_info(tmp_path).fingerprint == "f"
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"forgotten": 2}))
    assert dataset_info(tmp_path).fingerprint == "f-2"
    del manifest["forgotten"]  # written before there was such a thing
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert dataset_info(tmp_path).fingerprint == "f"


def test_targets_stay_in_their_document_and_skip_placeholders(tmp_path):
    documents = [text_document("ab"), image_document(square("red"), "x"), text_document("c")]
    batch = one_batch(tmp_path, documents)
    end, start, stop, pad = (IDS[f"<|{n}|>"] for n in ("endoftext", "vision_start", "vision_end", "image_pad"))
    a, b, newline, x, c = (byte_tokenizer().encode(t).ids[0] for t in ("a", "b", "\n", "x", "c"))
    assert batch.tokens.tolist() == [a, b, end, start, pad, pad, pad, pad, stop, newline, x, end, c, end]
    skip = [IGNORE] * 4
    assert batch.targets.tolist() == [b, end, IGNORE, *skip, stop, newline, x, end, IGNORE, end, IGNORE]
    assert batch.lengths == (3, 9, 2)


def test_media_documents_are_what_they_would_be_without_the_text(tmp_path):
    text, other = text_document("some words"), text_document("more")
    media = [
        image_document(square("red"), "x"),
        audio_document(tone(300, 0.3), 30, "y"),
        image_document(square("blue", 96, 64), "z"),
    ]
    mixed = [text, media[0], other, text, media[1], media[2], other]
    write_shard(tmp_path / "a.arrow", [sequence_row(mixed, 200), sequence_row(media, 200)], 200)
    shards = TokenShards((tmp_path / "a.arrow",))
    got, expected = shards[0].media_documents(), shards[1]
    assert got.input_ids.tolist() == expected.input_ids.tolist()
    assert replace(got, input_ids=None) == replace(expected, input_ids=None)


def test_positions_restart_in_each_document_and_spread_over_an_image(tmp_path):
    documents = [text_document("ab"), image_document(square("red", 96, 64), "x")]
    batch = one_batch(tmp_path, documents)
    time, height, width = batch.positions.tolist()
    assert time == [0, 1, 2, 0, *[1] * 6, 4, 5, 6, 7]
    assert height == [0, 1, 2, 0, 1, 1, 1, 2, 2, 2, 4, 5, 6, 7]
    assert width == [0, 1, 2, 0, 1, 2, 3, 1, 2, 3, 4, 5, 6, 7]


def test_an_image_that_does_not_fit_its_document_is_an_error():
    with pytest.raises(SchemaError, match="do not fit a document of 5 tokens"):
        document_positions(5, [VisionSpan(2, (1, 4, 4))])


def test_media_rows_point_at_the_placeholders_of_the_whole_batch(tmp_path):
    row = sequence_row(
        [text_document("ab"), image_document(square("red"), "x"), audio_document(tone(300, 0.3), 30, "y")], 160
    )
    write_shard(tmp_path / "a.arrow", [row, row], 160)
    shards = TokenShards((tmp_path / "a.arrow",))
    batch = collate([shards[0], shards[1]])
    for rows, token in ((batch.images.rows, "<|image_pad|>"), (batch.audios.rows, "<|audio_pad|>")):
        assert rows.tolist() == (batch.tokens == IDS[token]).nonzero().flatten().tolist()
    assert batch.images.grids == ((1, 4, 4), (1, 4, 4)) and batch.images.patches.shape == (32, 1536)
    assert batch.audios.frames == (30, 30) and batch.audios.mel.shape == (128, 60)


def test_prompts_are_the_beginning_of_training_documents(tmp_path):
    prompts = Prompts(TextCodec(byte_tokenizer().to_str()), special(), IMAGE)
    data = square("red", 96, 64)
    document = image_document(data, "a red square")
    built = prompts.build("a red", [data])
    assert built.input_ids.tolist() == document["ids"][: len(built.input_ids)]
    assert [(p.offset, list(p.grid)) for p in built.images] == [(1, [1, 4, 6])]
    clip = tone(300, 0.4)
    heard = prompts.build("", audios=[clip])
    assert heard.input_ids.tolist() == audio_document(clip, 40, "")["ids"][: len(heard.input_ids)]
    with pytest.raises(SluiceError, match="nothing to continue"):
        prompts.build("")


def test_a_control_token_in_a_prompt_is_text():
    codec = TextCodec(byte_tokenizer().to_str())
    assert codec.encode("<|endoftext|>") == [byte_tokenizer().encode(c).ids[0] for c in "<|endoftext|>"]
    assert codec.decode(codec.encode("naïve <|endoftext|> 日本")) == "naïve <|endoftext|> 日本"


def test_a_missing_or_torn_tokenizer_is_a_clear_error(tmp_path):
    with pytest.raises(SluiceError, match="cannot be read"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {')
    with pytest.raises(SluiceError, match="cannot be read"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("size", "bounds", "expected"),
    [
        ((64, 64), (1024, 9216), (64, 64)),
        ((48, 80), (1024, 9216), (64, 64)),  # 1.5 and 2.5 round to even
        ((10, 10), (4096, 65536), (64, 64)),
        ((10, 1000), (1024, 9216), (32, 320)),  # the narrow side rounds to nothing, then the area must grow
        ((1000, 500), (1024, 9216), (128, 64)),
        ((480, 640), (65536, 16777216), (480, 640)),
    ],
)
def test_smart_resize(size, bounds, expected):
    assert smart_resize(*size, ImageConfig(min_pixels=bounds[0], max_pixels=bounds[1])) == expected


def test_patches_hold_their_pixels_in_order():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    assert grid_for(image, IMAGE) == (1, 4, 6)
    patches = patchify(image, (1, 4, 6)).reshape(24, 3, 2, 16, 16)
    # the sixth patch is the second of the second merge block: row 0, column 3
    expected = pixels[:16, 48:64].transpose(2, 0, 1).astype(np.float32) / 255 * 2 - 1
    for frame in range(2):
        np.testing.assert_allclose(patches[5, :, frame], expected, atol=1e-6)
    # the last block's last patch is the bottom right one
    np.testing.assert_allclose(patches[-1, :, 0], pixels[48:, 80:].transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)


def test_what_is_no_image_or_too_large_a_one_is_a_clear_error(monkeypatch):
    with pytest.raises(SluiceError, match="cannot be decoded"):
        open_image(b"no image")
    with pytest.raises(SluiceError, match="cannot be decoded"):
        open_image(square("red")[:100])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(SluiceError, match="too large"):
        open_image(square("red"))
    with pytest.raises(SluiceError, match="too narrow"):
        smart_resize(1, 201, IMAGE)


def test_a_palette_image_with_transparency_becomes_rgb():
    stream = io.BytesIO()
    Image.new("P", (40, 40)).save(stream, "PNG", transparency=0)
    assert open_image(stream.getvalue()).mode == "RGB"


def test_a_tone_lands_in_its_band():
    mel = log_mel(decode_audio(tone(1000, 1.0, rate=44_100)), 100)
    assert mel.shape == (128, 100)
    band = int(mel.mean(1).argmax())
    centre = mel_filters()[band].argmax() * 8000 / 200
    assert abs(float(centre) - 1000) <= 40


def test_log_mel_by_hand():
    samples = np.random.default_rng(1).normal(0, 0.1, 1600).astype(np.float32)
    mel = log_mel(samples, 10)
    padded = np.pad(samples.astype(np.float64), 200, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * math.pi * np.arange(400) / 400)
    power = np.stack([np.abs(np.fft.rfft(padded[160 * t : 160 * t + 400] * window)) ** 2 for t in range(10)], 1)
    logs = np.log10(np.maximum(mel_filters().double().numpy() @ power, 1e-10))
    expected = (np.maximum(logs, logs.max() - 8) + 4) / 4
    np.testing.assert_allclose(mel.numpy(), expected, atol=1e-4)


def test_short_and_long_clips_are_fitted_to_their_frames():
    samples = decode_audio(tone(500, 0.5))
    assert log_mel(samples, 20).shape == (128, 20)
    assert log_mel(samples, 80).shape == (128, 80)
    assert log_mel(samples[:30], 1).shape == (128, 1)
    assert torch.isfinite(log_mel(np.zeros(1600, np.float32), 10)).all()


def test_what_is_no_audio_is_a_clear_error():
    with pytest.raises(SluiceError, match="cannot be decoded"):
        decode_audio(b"no audio")
    with pytest.raises(SluiceError, match="no samples"):
        decode_audio(tone(300, 0.0))
