"""Videos: which frames are looked at, how large, what becomes of them, and where they stand in a document."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from model.data.collate import collate, video_rows
from model.data.dataset import AudioPart, ImagePart, Sequence, VideoPart
from model.data.frames import animation, read_video
from model.data.images import patchify
from model.data.positions import VisionSpan, document_positions, woven
from model.data.video import VideoConfig, sample_frames, smart_resize, video_item
from model.net.vlm import build
from schemas.errors import SchemaError, SluiceError
from schemas.shard import audio_tokens
from tests.model_data import IDS, square, tiny, tone


def frames(count: int, width: int = 64, height: int = 96) -> list[Image.Image]:
    noise = np.random.default_rng(count)
    return [Image.fromarray(noise.integers(0, 256, (height, width, 3), dtype=np.uint8)) for _ in range(count)]


@pytest.mark.parametrize(
    ("total", "fps", "expected"),
    [
        (48, 24.0, [0, 16, 31, 47]),  # two seconds would be four frames: evenly, first and last included
        (120, 24.0, [0, 13, 26, 40, 53, 66, 79, 93, 106, 119]),
        (10, 24.0, [0, 3, 6, 9]),  # never fewer than four
        (3, 24.0, [0, 1, 2]),  # unless there are fewer
        (1, 30.0, [0]),
        (20, 1.0, list(range(20))),  # a slow video has no more than it has
    ],
)
def test_frames_are_sampled_evenly(total, fps, expected):
    assert sample_frames(total, fps, VideoConfig()) == expected


def test_sampling_is_bounded():
    assert len(sample_frames(100_000, 1.0, VideoConfig())) == 768
    assert len(sample_frames(100_000, 5e-324, VideoConfig())) == 768
    assert sample_frames(100, 1e300, VideoConfig()) == [0, 33, 66, 99]


@pytest.mark.parametrize(
    ("count", "height", "width"),
    [(4, 480, 640), (7, 480, 640), (768, 1080, 1920), (5, 33, 47), (2, 10, 300), (20, 2160, 3840), (4, 31, 31)],
)
def test_all_frames_share_the_pixel_bounds(count, height, width):
    config = VideoConfig(min_pixels=4096, max_pixels=4_000_000)
    h, w = smart_resize(count, height, width, config)
    assert h % 32 == w % 32 == 0
    even = round(count / 2) * 2
    # a video smaller than a patch is scaled up first; past the bound, sides shrink by the root of the excess
    grown = max(1.0, 32 / min(height, width))
    height, width = int(height * grown), int(width * grown)
    near = [round(x / 32) * 32 for x in (height, width)]
    if even * near[0] * near[1] <= config.max_pixels:
        assert [h, w] == near
    else:
        shrink = math.sqrt(config.max_pixels / (count * height * width))
        assert [h, w] == [max(32, math.floor(x * shrink / 32) * 32) for x in (height, width)]


def test_a_small_video_grows_to_the_lower_bound():
    assert smart_resize(2, 64, 64, VideoConfig(min_pixels=2 * 96 * 96)) == (96, 96)


def test_patches_hold_two_frames_each():
    shots = frames(5)
    patches, grid, times = video_item(shots, 1.0, VideoConfig(fps=1.0))
    assert (grid, patches.shape, patches.dtype) == ((3, 6, 4), (72, 1536), np.float32)
    assert times == (0.5, 2.5, 4.0)
    parts = patches.reshape(3, 24, 3, 2, 256)
    for i in range(6):
        alone = patchify(shots[min(i, 4)], (1, 6, 4)).reshape(24, 3, 2, 256)
        assert np.array_equal(parts[i // 2, :, :, i % 2], alone[:, :, 0])


def test_times_are_those_of_the_frames_looked_at():
    _, grid, times = video_item(frames(48, 32, 32), 24.0)
    assert grid == (2, 2, 2) and times == (8 / 24, 39 / 24)
    _, grid, times = video_item(frames(1, 32, 32), 24.0)
    assert grid[0] == 1 and times == (0.0,)


def test_impossible_videos_are_errors():
    with pytest.raises(SluiceError, match="got 0 frames"):
        video_item([], 24.0)
    for fps in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(SluiceError, match="a frame rate above 0"):
            video_item(frames(2, 32, 32), fps)
    with pytest.raises(SluiceError, match="must be of one size"):
        video_item([*frames(2, 32, 32), *frames(1, 64, 32)], 24.0)
    with pytest.raises(SluiceError, match="too narrow"):
        video_item([Image.new("RGB", (32 * 201, 32))] * 4, 24.0)


def vl_prompt(shots, fps=1.0):
    """A question about a video, as VL marks it: text stands for the timestamps."""
    patches, grid, _ = video_item(shots, fps, VideoConfig(fps=fps))
    pads = grid[1] * grid[2] // 4
    ids, offsets = [], []
    for _ in range(grid[0]):
        ids += [65, 66, IDS["<|vision_start|>"]]
        offsets.append(len(ids))
        ids += [IDS["<|image_pad|>"]] * pads + [IDS["<|vision_end|>"]]
    ids += [67, 68]
    video = VideoPart(tuple(offsets), grid, patches)
    return Sequence(np.array(ids, np.int32), (len(ids),), (), (), (), (video,))


def test_temporal_patches_of_a_vl_video_stand_between_their_timestamps():
    batch = collate([vl_prompt(frames(4, 64, 32))])
    assert batch.images.grids == ((2, 2, 4),) and batch.images.patches.shape == (16, 1536)
    assert batch.images.rows.tolist() == [3, 4, 9, 10]
    assert batch.positions.tolist() == [
        [0, 1, 2, 3, 3, 5, 6, 7, 8, 9, 9, 11, 12, 13],
        [0, 1, 2, 3, 3, 5, 6, 7, 8, 9, 9, 11, 12, 13],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
    ]


@torch.no_grad()
def test_a_vl_video_is_seen_as_its_temporal_patches_one_by_one():
    """The tower attends within a frame, so two items of t = 1 give what one of t = 2 does."""
    model = build(tiny(), 5)
    whole = vl_prompt(frames(4))
    video = whole.videos[0]
    parts = tuple(
        VideoPart((offset,), (1, *video.grid[1:]), patches)
        for offset, patches in zip(video.offsets, np.split(video.patches, 2), strict=True)
    )
    split = Sequence(whole.input_ids, whole.document_lengths, (), (), (), parts)
    torch.testing.assert_close(model.logits(collate([whole])), model.logits(collate([split])))
    blank = VideoPart(video.offsets, video.grid, video.patches * 0)
    other = Sequence(whole.input_ids, whole.document_lengths, (), (), (), (blank,))
    assert float((model.logits(collate([whole])) - model.logits(collate([other]))).abs().max()) > 1e-3


def test_an_omni_video_spreads_over_time():
    spans = [VisionSpan(2, (3, 2, 4), seconds_per_grid=0.5, position_id_per_seconds=13)]
    positions = document_positions(10, spans)
    assert positions.dtype == np.float32
    assert positions.tolist() == [
        [0, 1, 2, 2, 8.5, 8.5, 15, 15, 16, 17],
        [0, 1, 2, 2, 2, 2, 2, 2, 16, 17],
        [0, 1, 2, 3, 2, 3, 2, 3, 16, 17],
    ]
    whole = document_positions(10, [VisionSpan(2, (3, 2, 4), 1.0, 13)])
    assert whole.dtype == np.int64 and whole[0].tolist() == [0, 1, 2, 2, 15, 15, 28, 28, 29, 30]


def test_sound_is_woven_into_a_video_by_time():
    span = VisionSpan(2, (2, 2, 2), seconds_per_grid=0.25, position_id_per_seconds=8, audio_tokens=4)
    assert woven(span).tolist() == [True, False, False, True, False, False]
    assert document_positions(9, [span])[0].tolist() == [0, 1, 2, 2, 3, 4, 4, 5, 6]
    late = VisionSpan(0, (2, 2, 2), seconds_per_grid=1.0, position_id_per_seconds=8, audio_tokens=3)
    assert woven(late).tolist() == [True, False, False, False, True]
    assert document_positions(6, [late])[0].tolist() == [0, 0, 1, 2, 8, 9]


def test_a_video_with_sound_and_an_image_share_a_document():
    patches = np.zeros((16, 1536), np.float32)
    sound = AudioPart(8, 40, tone(300, 0.4))
    video = VideoPart((8,), (2, 2, 4), patches, seconds_per_grid=0.25, position_id_per_seconds=13, sound=sound)
    total = audio_tokens(40) + 4
    rows, sound_rows = video_rows(video)
    assert sorted([*rows, *sound_rows]) == list(range(8, 8 + total))
    assert rows.tolist() == [8, 9, 14, 15]
    picture = ImagePart(2, (1, 4, 4), square("red"))
    ids = np.full(20 + total, 65, np.int32)
    other = Sequence(np.array([1, 2, 3], np.int32), (3,), (), (), ())
    batch = collate([other, Sequence(ids, (len(ids),), (), (picture,), (), (video,))])
    assert batch.images.grids == ((1, 4, 4), (2, 2, 4)) and batch.audios.frames == (40,)
    assert batch.images.rows.tolist() == [5, 6, 7, 8, 11, 12, 17, 18]
    assert batch.audios.rows.tolist() == (sound_rows + 3).tolist()
    assert batch.positions.dtype == torch.float32
    assert batch.positions[0, :13].tolist() == [0, 1, 2, 0, 1, 2, 2, 2, 2, 4, 5, 6, 6]
    with torch.no_grad():
        assert bool(build(tiny(), 1).logits(batch).isfinite().all())


def test_placeholders_past_the_end_are_an_error():
    with pytest.raises(SchemaError, match=r"\[2, 6\), do not fit a document of 5 tokens"):
        document_positions(5, [VisionSpan(2, (1, 4, 4))])
    with pytest.raises(SchemaError, match="do not fit"):
        document_positions(50, [VisionSpan(2, (1, 4, 4)), VisionSpan(5, (1, 4, 4))])


def animated(count: int, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    first, *rest = frames(count)
    first.save(stream, kind, save_all=True, append_images=rest, **options)
    return stream.getvalue()


def test_videos_are_read_from_folders_and_animations(tmp_path):
    shots = frames(3)
    for i in (2, 0, 1):
        shots[i].save(tmp_path / f"{i:03}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    video = read_video(tmp_path)
    assert video.frames == tuple(shots) and video.fps == 24.0 and read_video(tmp_path, 5.0).fps == 5.0
    webp = animation(animated(4, "WEBP", duration=250, lossless=True))
    assert [frame.tobytes() for frame in webp.frames] == [frame.tobytes() for frame in frames(4)] and webp.fps == 4.0
    (tmp_path / "a.gif").write_bytes(animated(4, "GIF", duration=[100, 100, 100, 500]))
    assert len(read_video(tmp_path / "a.gif").frames) == 4 and read_video(tmp_path / "a.gif").fps == 5.0
    assert read_video(tmp_path / "a.gif", 2.0).fps == 2.0


def test_videos_that_cannot_be_read_say_why(tmp_path, monkeypatch):
    with pytest.raises(SluiceError, match="holds no frames"):
        read_video(tmp_path)
    with pytest.raises(SluiceError, match="cannot be read: No such file"):
        read_video(tmp_path / "gone")
    with pytest.raises(SluiceError, match="cannot be decoded"):
        animation(b"x")
    with pytest.raises(SluiceError, match="cannot be decoded"):
        animation(animated(4, "GIF", duration=100)[:3000])
    with pytest.raises(SluiceError, match="does not say how long"):
        animation(square("red"))
    monkeypatch.setattr("model.data.frames.MAX_PIXELS", 3 * 64 * 96)
    with pytest.raises(SluiceError, match="more than 18,432 pixels"):
        animation(animated(4, "GIF", duration=100))
