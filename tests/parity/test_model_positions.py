"""Positions, rotary frequencies, windows of audio and published sizes, against transformers."""

from __future__ import annotations

import json
import random
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import tokenizers
import torch
from PIL import Image

from model.config import ImageConfig, SpecialIds, YarnConfig, preset
from model.data.collate import collate
from model.data.dataset import special_ids
from model.data.frames import Video
from model.data.positions import VisionSpan, document_positions, image_tokens, woven
from model.data.tokenizer import Prompts, TextCodec
from model.data.video import VideoConfig, sample_frames, video_item
from model.net.audio import AudioTower
from model.net.rope import frequencies, mrope_table
from model.net.vlm import VisionLanguageModel
from schemas.control_tokens import QWEN
from schemas.shard import audio_tokens
from tests.model_data import tiny
from transforms.tokens.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers", reason="transformers is not installed (a development extra)")

TEXT, PICTURE, VIDEO, AUDIO, VISION_START, VISION_END, AUDIO_START, AUDIO_END = 1, 2, 3, 4, 5, 6, 7, 8
PER_SECOND = 13
DECODER = {
    "vocab_size": 16,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "intermediate_size": 8,
    "num_experts": 2,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 8,
}
TOWER = {"depth": 1, "hidden_size": 8, "num_heads": 1, "intermediate_size": 8, "out_hidden_size": 8}
CLIPS = {"encoder_layers": 1, "d_model": 8, "encoder_attention_heads": 1, "encoder_ffn_dim": 8, "output_dim": 8}


@pytest.fixture(scope="module")
def vl():
    config = transformers.Qwen3VLMoeConfig(text_config=DECODER, vision_config=TOWER | {"deepstack_visual_indexes": [0]})
    with torch.device("meta"):
        return transformers.Qwen3VLMoeModel(config)


@pytest.fixture(scope="module")
def omni():
    from transformers.models.qwen3_omni_moe import Qwen3OmniMoeThinkerConfig

    config = Qwen3OmniMoeThinkerConfig(
        text_config=DECODER,
        vision_config=TOWER | {"deepstack_visual_indexes": [0]},
        audio_config=CLIPS | {"downsample_hidden_size": 4},
        image_token_id=PICTURE,
        video_token_id=VIDEO,
        audio_token_id=AUDIO,
        audio_start_token_id=AUDIO_START,
        position_id_per_seconds=PER_SECOND,
    )
    config.vision_start_token_id = VISION_START
    with torch.device("meta"):
        return transformers.Qwen3OmniMoeThinkerForConditionalGeneration(config)


class Layout:
    """A document of random parts: its ids, its items for us, its grids and clips for transformers."""

    def __init__(self, seed: int, kinds: str) -> None:
        self._random = random.Random(seed)
        self.ids: list[int] = []
        self.spans: list[VisionSpan] = []
        self.images: list[tuple[int, int, int]] = []
        self.videos: list[tuple[int, int, int]] = []
        self.seconds: list[float] = []
        self.frames: list[int] = []
        for _ in range(self._random.randint(2, 7)):
            getattr(self, self._random.choice(kinds.split()))()
        self.text()

    def text(self) -> None:
        self.ids += [TEXT] * self._random.randint(1, 9)

    def _grid(self, t: int) -> tuple[int, int, int]:
        return t, 2 * self._random.randint(1, 5), 2 * self._random.randint(1, 5)

    def image(self) -> None:
        self.images.append(self._grid(1))
        self._place(PICTURE, self.images[-1])

    def _place(self, token: int, grid: tuple[int, int, int]) -> None:
        self.ids.append(VISION_START)
        self.spans.append(VisionSpan(len(self.ids), grid))
        self.ids += [token] * image_tokens(grid) + [VISION_END]

    def vl_video(self) -> None:
        """Each temporal patch after its timestamp."""
        self.videos.append(self._grid(self._random.randint(1, 4)))
        for _ in range(self.videos[-1][0]):
            self.text()
            self._place(VIDEO, (1, *self.videos[-1][1:]))

    def audio(self) -> None:
        self.frames.append(self._random.choice([30, 100, 137, 250]))
        self.ids += [AUDIO_START, *[AUDIO] * audio_tokens(self.frames[-1]), AUDIO_END]

    def omni_video(self) -> None:
        self._video(sound=False)

    def sound_video(self) -> None:
        self._video(sound=True)

    def _video(self, *, sound: bool) -> None:
        grid = self._grid(self._random.randint(1, 5))
        self.videos.append(grid)
        self.seconds.append(2 / self._random.choice([0.5, 1.0, 1.5, 2.0, 3.0, 24.0]))
        self.ids += [VISION_START, AUDIO_START] if sound else [VISION_START]
        if sound:
            self.frames.append(self._random.choice([30, 137, 250, 400]))
        woven_in = audio_tokens(self.frames[-1]) if sound else 0
        span = VisionSpan(len(self.ids), grid, self.seconds[-1], PER_SECOND, woven_in)
        self.spans.append(span)
        self.ids += [VIDEO if is_video else AUDIO for is_video in woven(span)]
        self.ids += [AUDIO_END, VISION_END] if sound else [VISION_END]

    def positions(self) -> np.ndarray:
        return document_positions(len(self.ids), self.spans)


def padded(layouts: list[Layout]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask [documents, longest], padded on the left."""
    longest = max(len(layout.ids) for layout in layouts) + 2
    rows = [[0] * (longest - len(layout.ids)) + layout.ids for layout in layouts]
    ids = torch.tensor(rows)
    return ids, (ids != 0).long()


def joined(layouts: list[Layout], name: str) -> torch.Tensor | None:
    values = [value for layout in layouts for value in getattr(layout, name)]
    return torch.tensor(values) if values else None


def assert_equal(layouts, mask, theirs, deltas):
    for row, layout in enumerate(layouts):
        ours = layout.positions()
        expected = theirs[:, row][:, mask[row].bool()].numpy()
        assert np.array_equal(ours, expected), row
        assert ours.max() + 1 - ours.shape[1] == float(deltas[row])


@pytest.mark.parametrize("seed", range(12))
def test_vl_positions_equal_transformers(vl, seed):
    layouts = [Layout(3 * seed + i, "text image vl_video") for i in range(3)]
    ids, mask = padded(layouts)
    types = (ids == PICTURE).int() + 2 * (ids == VIDEO).int()
    images, videos = joined(layouts, "images"), joined(layouts, "videos")
    theirs, deltas = vl.get_rope_index(ids, types, images, videos, mask)
    assert all(layout.positions().dtype == np.int64 for layout in layouts)
    assert_equal(layouts, mask, theirs, deltas)


@pytest.mark.parametrize("seed", range(24))
def test_omni_positions_equal_transformers(omni, seed):
    """Text, images, audio and videos; every other layout has its videos' sound woven in."""
    sound = bool(seed % 2)
    kinds = "text image audio sound_video" if sound else "text image audio omni_video"
    layouts = [Layout(1000 + 3 * seed + i, kinds) for i in range(3)]
    ids, mask = padded(layouts)
    frames, seconds = joined(layouts, "frames"), joined(layouts, "seconds")
    theirs, deltas = omni.get_rope_index(
        ids, joined(layouts, "images"), joined(layouts, "videos"), mask, sound, frames, seconds
    )
    assert_equal(layouts, mask, theirs, deltas)


def test_layouts_hold_what_they_are_meant_to_test():
    """Fractional times, several items a document, sound that outlasts its video and the other way round."""
    layouts = [Layout(1000 + i, "text image audio sound_video") for i in range(72) if (i // 3) % 2]
    assert {layout.positions().dtype for layout in layouts} == {np.dtype(np.int64), np.dtype(np.float32)}
    last = [woven(span)[-1] for layout in layouts for span in layout.spans if span.audio_tokens]
    assert set(last) == {True, False} and max(len(layout.spans) for layout in layouts) > 3


@pytest.mark.parametrize("seconds", [2 / fps for fps in (0.5, 1.0, 2.0, 3.0, 24.0)])
def test_sound_is_woven_in_as_the_processor_does(seconds):
    from transformers.models.qwen3_omni_moe.processing_qwen3_omni_moe import Qwen3OmniMoeProcessor

    span = VisionSpan(0, (4, 4, 6), seconds, PER_SECOND, 40)
    names = SimpleNamespace(
        video_processor=SimpleNamespace(merge_size=2),
        video_token="v",
        audio_token="a",
        audio_bos_token="",
        audio_eos_token="",
    )
    video = {"video_grid_thw": np.array([span.grid]), "video_second_per_grid": [seconds]}
    theirs = Qwen3OmniMoeProcessor.replace_video_with_audio_token(
        names, video, 0, {"num_audio_tokens": [40]}, 0, position_id_per_seconds=float(PER_SECOND)
    )
    assert "".join("v" if is_video else "a" for is_video in woven(span)) == theirs


@pytest.mark.parametrize(("total", "fps"), [(48, 24.0), (5, 1.0), (121, 29.97), (9, 3.0)])
def test_times_of_temporal_patches_equal_the_processor(total, fps):
    from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

    indices = sample_frames(total, fps, VideoConfig())
    theirs = Qwen3VLProcessor._calculate_timestamps(None, list(indices), fps)
    *_, times = video_item([Image.new("RGB", (32, 32))] * total, fps)
    assert list(times) == theirs


@pytest.mark.parametrize("before", ["", "see:", "see: <"])
def test_a_prompt_with_a_video_is_what_the_processors_make_of_it(before, vl, omni):
    from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

    plain = json.loads(Tokenizer.load("bytes").json)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    plain["added_tokens"] = [{"id": 256 + at, "content": name} | flags for at, name in enumerate(QWEN)]
    codec = TextCodec(json.dumps(plain))
    special = special_ids(codec.controls, "the tokenizer")
    video = Video(tuple(Image.new("RGB", (64, 32), (40 * i, 0, 0)) for i in range(5)), 2.0)
    parts = [{"type": "text", "text": before}, {"type": "video", "video": video}, {"type": "text", "text": "what?"}]
    messages = [{"role": "user", "content": parts}]
    spoken = f"<|im_start|>user\n{before}%swhat?<|im_end|>\n<|im_start|>assistant\n"
    indices = sample_frames(5, 2.0, VideoConfig())
    _, grid, _ = video_item(video.frames, video.fps)
    names = SimpleNamespace(
        video_processor=SimpleNamespace(merge_size=2, temporal_patch_size=2),
        vision_start_token="<|vision_start|>",
        vision_end_token="<|vision_end|>",
        video_token="<|video_pad|>",
        _calculate_timestamps=partial(Qwen3VLProcessor._calculate_timestamps, None),
    )
    metadata = SimpleNamespace(fps=2.0, frames_indices=list(indices))
    inputs = {"video_grid_thw": np.array([grid]), "video_metadata": [metadata]}
    marked = Qwen3VLProcessor.replace_video_token(names, inputs, 0)
    alone = f"<|vision_start|>{'<|video_pad|>' * image_tokens(grid)}<|vision_end|>"
    whole = tokenizers.Tokenizer.from_str(json.dumps(plain))
    for per_second, text in ((None, marked), (PER_SECOND, alone)):
        prompt = Prompts(codec, special, ImageConfig(), per_second).chat(messages)
        assert prompt.input_ids.tolist() == whole.encode(spoken % text, add_special_tokens=False).ids
        ids = torch.from_numpy(prompt.input_ids.astype(np.int64))[None]
        is_video, mask, shape = ids == special.video_pad, torch.ones_like(ids), torch.tensor([grid])
        if per_second is None:
            theirs, _ = vl.get_rope_index(ids, 2 * is_video.int(), None, shape, mask)
        else:
            known = ids.masked_fill(is_video, VIDEO).masked_fill(ids == special.vision_start, VISION_START)
            seconds = torch.tensor([1.0])
            theirs, _ = omni.get_rope_index(known, None, shape, mask, False, None, seconds)
        assert torch.equal(collate([prompt]).positions.float(), theirs[:, 0].float())


YARN = [
    {"factor": 4.0, "original_max_position_embeddings": 32_768},
    {"factor": 2.5, "original_max_position_embeddings": 8192, "beta_fast": 24.0, "beta_slow": 2.0},
    {"factor": 8.0, "original_max_position_embeddings": 4096, "truncate": False},
    {"factor": 16.0, "original_max_position_embeddings": 2048, "attention_factor": 1.25},
    {"factor": 1.0, "original_max_position_embeddings": 64},
    {"factor": 40.0, "original_max_position_embeddings": 7},
]


@pytest.mark.parametrize("yarn", YARN)
@pytest.mark.parametrize(("size", "theta"), [(128, 5_000_000.0), (64, 10_000.0)])
def test_yarn_equals_transformers(yarn, size, theta):
    section = [size // 2 - 2 * (size // 7), size // 7, size // 7]
    parameters = yarn | {"rope_type": "yarn", "rope_theta": theta, "mrope_section": section}
    config = transformers.Qwen3VLMoeConfig(
        text_config=DECODER | {"head_dim": size, "rope_parameters": parameters, "max_position_embeddings": 131_072}
    ).text_config
    theirs = transformers.models.qwen3_vl_moe.modeling_qwen3_vl_moe.Qwen3VLMoeTextRotaryEmbedding(config)
    ours, scaling = frequencies(size, theta, YarnConfig(**yarn))
    assert torch.equal(ours, theirs.inv_freq) and scaling == theirs.attention_scaling
    positions = torch.randint(0, 100_000, (3, 40), generator=torch.Generator().manual_seed(1))
    shape = tiny(head_dim=size, mrope_section=tuple(section), rope_theta=theta, rope_scaling=YarnConfig(**yarn)).text
    expected = theirs(torch.empty(0), positions[:, None])
    for a, b in zip(mrope_table(positions, shape, torch.float32), expected, strict=True):
        assert torch.equal(a, b[0])


@pytest.fixture(scope="module")
def towers():
    """Our audio tower and theirs with the same random weights, in float64."""
    from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeAudioEncoderConfig
    from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeAudioEncoder

    config = tiny().audio
    ours = AudioTower(config).double()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(0.0, 0.2, generator=generator)
    theirs = Qwen3OmniMoeAudioEncoder(Qwen3OmniMoeAudioEncoderConfig(**vars(config))).double().eval()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@torch.no_grad()
@pytest.mark.parametrize(
    "frames", [(1,), (35,), (99,), (100,), (137,), (1730,), (137, 250), (100, 830, 101), (60, 60, 60), (8, 8)]
)
def test_audio_windows_equal_transformers(towers, frames):
    """Any clip alone, clips of at least a chunk together, short ones of one length together."""
    ours, theirs = towers
    mel = torch.randn(128, sum(frames), dtype=torch.float64, generator=torch.Generator().manual_seed(sum(frames)))
    expected = theirs(mel, feature_lens=torch.tensor(frames)).last_hidden_state
    torch.testing.assert_close(ours(mel, frames), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ["qwen3_vl_30b_a3b", "qwen3_omni_30b_a3b_thinker"])
def test_published_shapes_have_the_parameters_of_transformers(name):
    config = preset(name, 151_669, SpecialIds(end_of_text=151_643), ImageConfig())
    plain = {k: v for k, v in vars(config.text).items() if k in (*DECODER, "tie_word_embeddings")}
    parts = {"text_config": plain, "vision_config": vars(config.vision)}
    with torch.device("meta"):
        ours = VisionLanguageModel(config)
        if config.audio is None:
            kind = transformers.Qwen3VLMoeForConditionalGeneration
            theirs = kind(transformers.Qwen3VLMoeConfig(**parts, tie_word_embeddings=False))
        else:
            from transformers.models.qwen3_omni_moe import Qwen3OmniMoeThinkerConfig

            kind = transformers.Qwen3OmniMoeThinkerForConditionalGeneration
            theirs = kind(Qwen3OmniMoeThinkerConfig(**parts, audio_config=vars(config.audio)))
    counts = [sorted(tuple(p.shape) for p in model.parameters()) for model in (ours, theirs)]
    assert counts[0] == counts[1]
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
