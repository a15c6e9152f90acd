"""Pictures and sounds become the numbers that transformers' processors make of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from model.config import ImageConfig
from model.data.audio import log_mel
from model.data.images import grid_for, open_image, patchify, smart_resize
from schemas.errors import SluiceError
from schemas.shard import audio_tokens

transformers = pytest.importorskip("transformers", reason="transformers is not installed (a development extra)")
pillow = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")

BOUNDS = ImageConfig(min_pixels=64 * 64, max_pixels=160 * 160)


def test_pictures_are_prepared_as_their_pillow_processor_does():
    processor = pillow.Qwen2VLImageProcessorPil(
        patch_size=16,
        merge_size=2,
        size={"shortest_edge": BOUNDS.min_pixels, "longest_edge": BOUNDS.max_pixels},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    rng = np.random.default_rng(3)
    modes = ("RGB", "L", "RGBA", "P", "LA", "CMYK", "1")
    for i in range(21):
        width, height = (int(x) for x in 2 ** rng.uniform(3, 9, 2))
        pixels = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).convert(modes[i % len(modes)])
        stream = io.BytesIO()
        pixels.save(stream, "TIFF" if pixels.mode == "CMYK" else "PNG")
        image = open_image(stream.getvalue())
        expected = processor(Image.open(stream), return_tensors="np")
        grid = grid_for(image, BOUNDS)
        assert expected["image_grid_thw"].tolist() == [list(grid)]
        assert np.array_equal(patchify(image, grid), expected["pixel_values"]), (pixels.mode, width, height)


def test_sizes_are_theirs():
    # 16, 48, 80 … lie half-way between multiples of 32, where Python rounds to the even one
    for height in (*range(16, 600, 16), 1000, 1001, 4097):
        for width in (*range(16, 600, 32), 31, 33, 999, 12_345):
            if max(height, width) > 200 * min(height, width):
                with pytest.raises(SluiceError, match="too narrow"):
                    smart_resize(height, width, BOUNDS)
                continue
            for chosen in (BOUNDS, ImageConfig(), ImageConfig(min_pixels=3136, max_pixels=12845056)):
                expected = pillow.smart_resize(height, width, 32, chosen.min_pixels, chosen.max_pixels)
                assert smart_resize(height, width, chosen) == expected


def test_mel_features_are_whispers():
    extractor = transformers.WhisperFeatureExtractor(feature_size=128)
    rng = np.random.default_rng(0)
    # theirs needs more than half a window, 200 samples; what is left after the last whole 160 is heard, but no frame
    for samples in (201, 319, 320, 321, 399, 400, 1599, 1600, 4001, 16_159, 48_000):
        sound = (rng.standard_normal(samples) * rng.uniform(0.001, 0.5)).astype(np.float32)
        options = {"sampling_rate": 16_000, "truncation": False, "padding": "longest", "return_tensors": "pt"}
        expected = extractor(sound, return_attention_mask=True, **options)
        frames = int(expected["attention_mask"].sum())
        assert frames == samples // 160
        torch.testing.assert_close(log_mel(sound, frames), expected["input_features"][0], atol=2e-5, rtol=0)


def test_a_clip_in_a_batch_differs_from_theirs_in_its_last_frame_alone():
    # theirs fills the clips of a batch up to the longest, so a window past a clip's end meets silence instead of the
    # clip mirrored, and a part of a frame counts as one; ours gives a clip the same features in any company
    extractor = transformers.WhisperFeatureExtractor(feature_size=128)
    rng = np.random.default_rng(1)
    sounds = [(rng.standard_normal(n) * 0.1).astype(np.float32) for n in (1600, 1700, 8000)]
    options = {"sampling_rate": 16_000, "truncation": False, "padding": "longest", "return_tensors": "pt"}
    made = extractor(sounds, return_attention_mask=True, **options)
    assert made["attention_mask"].sum(-1).tolist() == [10, 11, 50]
    for sound, expected in zip(sounds, made["input_features"], strict=True):
        frames = len(sound) // 160
        # the last window is 200 samples on either side of the last frame's start
        same = frames if len(sound) in (1700, 8000) else frames - 1
        found = log_mel(sound, frames)
        torch.testing.assert_close(found[:, :same], expected[:, :same], atol=2e-5, rtol=0)
        assert same == frames or (found[:, same] - expected[:, same]).abs().max() > 1e-3


def test_audio_lengths_are_the_towers():
    from transformers.models.qwen3_omni_moe.processing_qwen3_omni_moe import _get_feat_extract_output_lengths

    frames = torch.arange(1, 3001)
    assert [audio_tokens(n) for n in frames.tolist()] == _get_feat_extract_output_lengths(frames).tolist()
