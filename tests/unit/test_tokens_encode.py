"""tokens.encode: the layout of documents, sizes measured before or now, verdicts, batch borders."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.errors import RecipeError
from schemas.recipe import ImageTokens
from schemas.reject import REJECT_COLUMNS, rejected_schema
from schemas.sample import SENTINEL, part_field, sample_batch
from tests.fixtures import encoded, media_fixture, picture, sound_file, tone
from transforms.base import append_columns
from transforms.media import media_part
from transforms.registry import build
from transforms.tokens.documents import documents_of
from transforms.tokens.media import mel_frames
from transforms.tokens.sizes import AudioTokens, PartSizes, Size

EOS, VISION_START, VISION_END, IMAGE_PAD = 256, 259, 260, 261
AUDIO_START, AUDIO_END, AUDIO_PAD = 263, 264, 265

BAD_IMAGE = ("text_as_jpg", "image")
SMALL = {"sequence_length": 200, "image": {"min_pixels": 1024, "max_pixels": 65536}}


def encoder(**params):
    made = build("tokens.encode", SMALL | params)
    made.setup()
    return made


@pytest.fixture(scope="module")
def encode():
    return encoder()


def row(name: str, text: str, *parts):
    """A row; parts are fixture names, (name, kind) or bytes."""
    media = []
    for index, part in enumerate(parts):
        data, kind = part if isinstance(part, tuple) else (part, None)
        media.append(media_part(index, media_fixture(data) if isinstance(data, str) else data, kind))
    return {"id": name, "source": f"s#{name}", "text": text, "media": media}


def kept_ids(outcome) -> dict[str, list[int]]:
    return dict(zip(outcome.kept["id"].to_pylist(), outcome.kept["tokens.input_ids"].to_pylist(), strict=True))


def rejections(outcome) -> list[tuple]:
    names = ("id", "reject.part", "reject.reason", "reject.detail")
    return list(zip(*(outcome.rejected[name].to_pylist() for name in names), strict=True))


def test_text_then_the_end_mark(encode):
    batch = sample_batch([row("a", "hi"), row("b", "é!")])
    outcome = encode.apply(batch)
    assert kept_ids(outcome) == {"a": [104, 105, EOS], "b": [195, 169, 33, EOS]}
    assert outcome.kept["tokens.count"].to_pylist() == [3, 4]
    assert outcome.kept.schema.equals(encode.output_schema(batch.schema))
    assert outcome.rejected.schema.equals(rejected_schema(outcome.kept.schema))


def test_without_the_end_mark():
    outcome = encoder(eos=False).apply(sample_batch([row("a", "hi"), row("b", f"x{SENTINEL}", "png")]))
    assert kept_ids(outcome) == {"a": [104, 105], "b": [120, VISION_START, *[IMAGE_PAD] * 54, VISION_END]}


def test_media_stand_where_their_sentinels_stood(encode):
    # 320 x 240 px shrinks to 12 x 18 patches, 54 placeholders; a second of sound is 100 frames, 13 placeholders
    text = f"{SENTINEL}a{SENTINEL}{SENTINEL}b"
    outcome = encode.apply(sample_batch([row("0", "zz"), row("m", text, "wav", "png", "wav")]))
    sound = [AUDIO_START, *[AUDIO_PAD] * 13, AUDIO_END]
    image = [VISION_START, *[IMAGE_PAD] * 54, VISION_END]
    assert kept_ids(outcome)["m"] == [*sound, 97, *image, *sound, 98, EOS]
    clip = {"length": 13, "kind": "audio", "grid_thw": None, "frames": 100}
    assert outcome.kept["tokens.media"].to_pylist()[1] == [
        clip | {"offset": 1},
        {"offset": 17, "length": 54, "kind": "image", "grid_thw": [1, 12, 18], "frames": None},
        clip | {"offset": 73},
    ]


def test_only_media_is_a_document(encode):
    outcome = encode.apply(sample_batch([row("m", SENTINEL, "wav")]))
    assert kept_ids(outcome) == {"m": [AUDIO_START, *[AUDIO_PAD] * 13, AUDIO_END, EOS]}


def test_a_control_token_in_text_is_text(encode):
    text = f"<|image_pad|>{SENTINEL}<|endoftext|>"
    ids = kept_ids(encode.apply(sample_batch([row("m", text, "png")])))["m"]
    assert ids == [*b"<|image_pad|>", VISION_START, *[IMAGE_PAD] * 54, VISION_END, *b"<|endoftext|>", EOS]


def test_sizes_measured_before_are_believed(encode):
    batch = sample_batch([row("m", f"{SENTINEL}{SENTINEL}", ("text_as_jpg", "image"), ("text_as_wav", "audio"))])
    columns = {"image.width_px": [[64, None]], "image.height_px": [[32, None]], "audio.duration_s": [[None, 0.08]]}
    types = {"image.width_px": pa.int32(), "image.height_px": pa.int32(), "audio.duration_s": pa.float64()}
    batch = append_columns(batch, [(part_field(name, types[name]), values) for name, values in columns.items()])
    places = encode.apply(batch).kept["tokens.media"].to_pylist()[0]
    assert [(p["length"], p["grid_thw"], p["frames"]) for p in places] == [(2, [1, 2, 4], None), (1, None, 8)]


@given(st.integers(1, 40_000), st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000]))
@example(16_080, 8_000)  # 2.01 s x 16 kHz is a little less than 32160 in binary
def test_a_measured_duration_and_the_clip_itself_give_the_same_frames(samples, rate):
    sizes = PartSizes(ImageTokens(), AudioTokens(), 4096)
    found = sizes._audio(pa.scalar(b""), samples / rate)
    assert (found.frames if isinstance(found, Size) else 0) == mel_frames(samples, rate)


def test_a_bad_part_leaves_and_its_document_stays(encode):
    text = f"a{SENTINEL}b{SENTINEL}c"
    outcome = encode.apply(sample_batch([row("m", text, BAD_IMAGE, "wav"), row("t", "t")]))
    assert outcome.kept["text"].to_pylist() == [f"ab{SENTINEL}c", "t"]
    assert kept_ids(outcome)["m"] == [97, 98, AUDIO_START, *[AUDIO_PAD] * 13, AUDIO_END, 99, EOS]
    assert [place["offset"] for place in outcome.kept["tokens.media"].to_pylist()[0]] == [3]
    [(name, part, reason, detail)] = rejections(outcome)
    assert (name, part, reason) == ("m", 0, "unreadable_image") and "starts with" in detail
    assert outcome.rejected["tokens.input_ids"].to_pylist() == [None]


def test_a_row_that_loses_everything_is_rejected_whole_as_it_came(encode):
    rows = [row("a", f"a{SENTINEL}", BAD_IMAGE), row("m", f" {SENTINEL}\n", BAD_IMAGE), row("blank", " \t\n")]
    outcome = encode.apply(sample_batch(rows))
    found = rejections(outcome)
    assert [entry[:3] for entry in found] == [
        ("a", 0, "unreadable_image"),
        ("m", None, "no_tokens"),
        ("blank", None, "no_tokens"),
    ]
    assert [entry[3] for entry in found[1:]] == ["part 0 was unreadable_image", None]
    assert outcome.rejected["text"].to_pylist()[1] == f" {SENTINEL}\n"
    assert len(outcome.rejected["media"].to_pylist()[1]) == 1
    assert outcome.kept["id"].to_pylist() == ["a"]


def test_a_part_must_fit_one_sequence_with_its_marks_and_the_end_mark():
    batch = sample_batch([row("m", f"x{SENTINEL}", "png")])  # 54 placeholders
    assert rejections(encoder(sequence_length=57).apply(batch)) == []
    found = rejections(encoder(sequence_length=56).apply(batch))
    assert found == [("m", 0, "too_large_for_sequence", "54 placeholders, room for 53")]


def test_long_documents_are_cut_later_or_rejected_now():
    batch = sample_batch([row("short", "x" * 199), row("long", "x" * 200)])
    outcome = encoder(long_documents="reject").apply(batch)
    assert rejections(outcome) == [("long", None, "too_long_for_sequence", "201 tokens, at most 200 allowed")]
    assert outcome.rejected["tokens.count"].to_pylist() == [201]
    [short, long] = documents_of(encoder().apply(batch).kept)
    assert (short.pieces(200), long.pieces(200)) == ([(0, 200)], [(0, 200), (200, 201)])


def test_clips_too_short_and_too_long():
    rows = [
        row("click", f"x{SENTINEL}", sound_file(tone(0.009), 16_000, "WAV")),
        row("frame", f"x{SENTINEL}", sound_file(tone(0.01), 16_000, "WAV")),
        row("second", f"x{SENTINEL}", sound_file(tone(1.0), 16_000, "WAV")),
        row("more", f"x{SENTINEL}", sound_file(tone(1.01), 16_000, "WAV")),
    ]
    found = rejections(encoder(audio={"max_duration_s": 1.0}).apply(sample_batch(rows)))
    assert [entry[::2] for entry in found] == [("click", "audio_too_short"), ("more", "audio_too_long")]


def test_an_extreme_aspect(encode):
    found = rejections(encode.apply(sample_batch([row("m", f"x{SENTINEL}", encoded(picture(402, 2), "PNG"))])))
    assert [entry[:3] for entry in found] == [("m", 0, "extreme_aspect")]


def test_an_empty_batch(encode):
    outcome = encode.apply(sample_batch([]))
    assert (outcome.kept.num_rows, outcome.rejected.num_rows) == (0, 0)
    assert outcome.kept.schema.equals(encode.output_schema(sample_batch([]).schema))


def test_encoding_twice_gives_the_same(encode):
    first = encode.apply(sample_batch([row("m", f"x{SENTINEL}y", "png"), row("n", f"{SENTINEL}y", BAD_IMAGE)]))
    again = encode.apply(first.kept)
    assert again.kept.equals(first.kept)


def test_pickles_before_and_after_setup(encode):
    batch = sample_batch([row("m", f"x{SENTINEL}y", "png")])
    fresh = pickle.loads(pickle.dumps(build("tokens.encode", SMALL)))  # noqa: S301 - our own bytes
    fresh.setup()
    assert fresh.apply(batch).kept.equals(encode.apply(batch).kept)
    assert pickle.loads(pickle.dumps(encode)).apply(batch).kept.equals(encode.apply(batch).kept)  # noqa: S301 - our own bytes


PIECE = st.sampled_from(["", " ", "a", "word ", "é", "漢", "<|image_pad|>", "\n"])
PART = st.sampled_from(["wav", "png", "png_1x1", BAD_IMAGE, ("text_as_wav", "audio")])


@st.composite
def documents(draw):
    parts = draw(st.lists(PART, max_size=3))
    pieces = draw(st.lists(PIECE, min_size=len(parts) + 1, max_size=len(parts) + 1))
    return SENTINEL.join(pieces), parts


@given(st.lists(documents(), max_size=5), st.data())
def test_batch_borders_change_nothing_and_every_placeholder_is_accounted_for(encode, found, data):
    batch = sample_batch([row(str(k), text, *parts) for k, (text, parts) in enumerate(found)])
    whole = encode.apply(batch)
    border = data.draw(st.integers(0, batch.num_rows))
    halves = [encode.apply(batch.slice(0, border)), encode.apply(batch.slice(border))]
    for side in ("kept", "rejected"):
        joined = pa.Table.from_batches([getattr(half, side) for half in halves])
        assert joined.to_pylist() == getattr(whole, side).to_pylist()
    assert whole.kept.num_rows + whole.rejected["reject.part"].null_count == batch.num_rows
    for ids, places, count in zip(
        *(whole.kept[f"tokens.{name}"].to_pylist() for name in ("input_ids", "media", "count")), strict=True
    ):
        assert count == len(ids) and ids[-1] == EOS
        for place in places:
            stop = place["offset"] + place["length"]
            image = place["kind"] == "image"
            assert ids[place["offset"] : stop] == [IMAGE_PAD if image else AUDIO_PAD] * place["length"]
            assert (ids[place["offset"] - 1], ids[stop]) == (
                (VISION_START, VISION_END) if image else (AUDIO_START, AUDIO_END)
            )
            if image:
                t, h, w = place["grid_thw"]
                assert t * h * w == 4 * place["length"]
        assert sum(place["length"] for place in places) == sum(token in (IMAGE_PAD, AUDIO_PAD) for token in ids)


def test_params_that_make_no_sense_are_errors():
    for params, says in [
        ({"image": {"min_pixels": 1023}}, "one placeholder's area"),
        ({"image": {"min_pixels": 5000, "max_pixels": 4000}}, "min_pixels"),
        ({"sequence_length": 3}, "sequence_length"),
        ({"tokeniser": "x"}, "did you mean 'tokenizer'"),
    ]:
        with pytest.raises(RecipeError, match=says):
            build("tokens.encode", params)


def test_rejected_rows_carry_the_reject_columns_last(encode):
    outcome = encode.apply(sample_batch([row("m", f"a{SENTINEL}", BAD_IMAGE), row("b", "")]))
    assert tuple(outcome.rejected.schema.names[-4:]) == REJECT_COLUMNS
    assert outcome.rejected.schema.equals(rejected_schema(outcome.kept.schema))
    assert set(outcome.rejected["reject.reason"].to_pylist()) <= encode.reasons
