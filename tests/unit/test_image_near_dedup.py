"""image.near_dedup: what is a duplicate picture, what is another one, and what has no key."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from schemas.errors import RecipeError
from schemas.sample import SENTINEL, sample_batch
from tests.fixtures import MEDIA_FIXTURES, encoded, media_fixture
from tests.pictures import photo
from transforms.image.decode import DecodeParams
from transforms.image.near_dedup import ImageNearDedup
from transforms.image.pixels import load_small
from transforms.media import media_part
from transforms.registry import build

WORDS = [
    "river",
    "mountain",
    "library",
    "engine",
    "garden",
    "harbour",
    "letter",
    "window",
    "winter",
    "market",
    "holds",
    "follows",
    "quiet",
    "narrow",
]


def slide(seed: int) -> Image.Image:
    """A slide of one template: the same bars and logo, other words."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (640, 480), (250, 250, 250))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 640, 20), fill=(40, 60, 140))
    draw.ellipse((560, 390, 620, 450), fill=(200, 60, 40))
    draw.text((50, 40), " ".join(rng.choice(WORDS, 3)).title(), fill="navy", font=ImageFont.load_default(size=34))
    for line in range(int(rng.integers(3, 7))):
        text = "• " + " ".join(rng.choice(WORDS, rng.integers(2, 7)))
        draw.text((70, 120 + line * 50), text, fill="black", font=ImageFont.load_default(size=22))
    return image


def chart(seed: int) -> Image.Image:
    """A curve between the same axes."""
    heights = np.random.default_rng(seed).uniform(60, 300, 8)
    image = Image.new("RGB", (480, 360), "white")
    draw = ImageDraw.Draw(image)
    draw.line((50, 20, 50, 320, 460, 320), fill="black", width=2)
    for tick in range(6):
        draw.text((20, 310 - tick * 55), str(tick * 20), fill="black", font=ImageFont.load_default(size=14))
        draw.line((50, 320 - tick * 55, 460, 320 - tick * 55), fill="lightgrey")
    draw.line([(60 + at * 55, height) for at, height in enumerate(heights)], fill="steelblue", width=4)
    return image


def page(seed: int) -> Image.Image:
    """A scanned page of text."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (420, 600), 245)
    draw = ImageDraw.Draw(image)
    for line in range(25):
        draw.text(
            (40, 40 + line * 20), " ".join(rng.choice(WORDS, 7))[:48], fill=20, font=ImageFont.load_default(size=13)
        )
    return image


def book(seed: int) -> Image.Image:
    """A scanned page of a book: 28 lines from margin to margin, at the same places on every page."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (600, 850), 245)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=15)
    for line in range(28):
        draw.text((60, 60 + line * 26), " ".join(rng.choice(WORDS, 10)), fill=20, font=font)
    image.paste(245, (530, 0, 600, 850))
    return image


def screen(seed: int) -> Image.Image:
    """A program's window: the same menus, four lines of other text."""
    image = Image.new("RGB", (640, 480), "#eee")
    draw = ImageDraw.Draw(image)
    for rng, left, lines, words in ((np.random.default_rng(99), 10, 14, 2), (np.random.default_rng(seed), 190, 4, 6)):
        for line in range(lines):
            text = " ".join(rng.choice(WORDS, words))
            draw.text((left, 30 + line * 30), text, fill="black", font=ImageFont.load_default(size=17))
    draw.line((170, 0, 170, 480), fill="black", width=2)
    return image


def disc(colour: str) -> Image.Image:
    image = photo(5).filter(ImageFilter.GaussianBlur(2)).convert("L").convert("RGB")
    ImageDraw.Draw(image).ellipse((120, 60, 360, 300), fill=colour)
    return image


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    return encoded(image.convert("RGB"), "JPEG", quality=quality)


def step(**params: object) -> ImageNearDedup:
    made = build("image.near_dedup", params)
    made.setup()
    return made


def batch_of(*files: bytes):
    rows = [
        {"id": str(at), "source": str(at), "text": SENTINEL, "media": [media_part(0, file, "image")]}
        for at, file in enumerate(files)
    ]
    return sample_batch(rows)


def keys_of(made: ImageNearDedup, *files: bytes) -> list[set[tuple[int, ...]]]:
    keys = made.keys(batch_of(*files))
    found: list[set[tuple[int, ...]]] = [set() for _ in files]
    for row, band, key in zip(keys.row.tolist(), keys.band.tolist(), keys.key.tolist(), strict=True):
        found[row].add((band, *key))
    return found


def similarity(made: ImageNearDedup, one: bytes, other: bytes) -> float:
    evidence = made.evidence(batch_of(one, other), np.zeros(2, np.int32))
    return float(made.similarity(evidence, np.array([0]), np.array([1]))[0])


def duplicates(made: ImageNearDedup, one: bytes, other: bytes) -> bool:
    first, second = keys_of(made, one, other)
    least = made.min_similarity
    assert least is not None
    return bool(first & second) and similarity(made, one, other) >= least


def banner(image: Image.Image) -> Image.Image:
    image = image.copy()
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, int(image.height * 0.88), image.width, image.height), fill="black")
    draw.text((20, image.height * 0.9), "example.org", fill="white", font=ImageFont.load_default(size=24))
    return image


def framed(image: Image.Image) -> Image.Image:
    out = Image.new("RGB", (image.width + 60, image.height + 60), "black")
    out.paste(image, (30, 30))
    return out


def cropped(image: Image.Image, share: float) -> Image.Image:
    across, down = round(image.width * share / 2), round(image.height * share / 2)
    return image.crop((across, down, image.width - across, image.height - down))


ATTACKS = {
    "quality 10": lambda image: jpeg(image, 10),
    "half the size": lambda image: jpeg(image.resize((240, 180))),
    "a quarter of the size": lambda image: jpeg(image.resize((120, 90))),
    "png": lambda image: encoded(image, "PNG"),
    "webp": lambda image: encoded(image, "WEBP", quality=60),
    "crop 5 %": lambda image: jpeg(cropped(image, 0.05)),
    "crop 10 %": lambda image: jpeg(cropped(image, 0.1)),
    "crop 20 %": lambda image: jpeg(cropped(image, 0.2)),
    "cut at the bottom": lambda image: jpeg(image.crop((0, 0, image.width, round(image.height * 0.9)))),
    "frame": lambda image: jpeg(framed(image)),
    "banner": lambda image: jpeg(banner(image)),
    "brighter": lambda image: jpeg(ImageEnhance.Brightness(image).enhance(1.2)),
    "less contrast": lambda image: jpeg(ImageEnhance.Contrast(image).enhance(0.7)),
    "grey": lambda image: encoded(image.convert("L"), "JPEG"),
    "turned by a degree": lambda image: jpeg(image.rotate(1, Image.Resampling.BICUBIC)),
}


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_a_changed_copy_is_a_duplicate(attack: str) -> None:
    made = step()
    for seed in range(3):
        image = photo(seed)
        assert duplicates(made, jpeg(image), ATTACKS[attack](image)), seed


@pytest.mark.parametrize("attack", ["quality 10", "half the size", "webp", "brighter", "less contrast"])
@pytest.mark.parametrize("draw", [book, screen])
def test_a_page_of_text_is_like_its_copies(draw, attack: str) -> None:
    made, image = step(), draw(1).convert("RGB")
    assert similarity(made, jpeg(image), ATTACKS[attack](image)) >= made.min_similarity


@pytest.mark.parametrize("draw", [photo, slide, chart, page, book, screen])
def test_other_pictures_of_a_kind_are_no_duplicates(draw) -> None:
    made = step()
    files = [jpeg(draw(seed)) for seed in range(6)]
    evidence = made.evidence(batch_of(*files), np.zeros(len(files), np.int32))
    first, second = np.triu_indices(len(files), 1)
    found = made.similarity(evidence, first, second)
    assert found.max() < made.min_similarity, found


def test_another_colour_is_another_picture_and_none_is_not() -> None:
    made = step()
    red, green = jpeg(disc("#c83232")), jpeg(disc("#206e20"))
    assert similarity(made, red, green) < 0.5
    assert similarity(made, red, encoded(disc("#c83232").convert("L"), "JPEG")) > 0.9


def test_a_mirror_image_is_a_duplicate_only_when_asked_for() -> None:
    image = photo(1)
    other = jpeg(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert not duplicates(step(), jpeg(image), other)
    assert duplicates(step(mirrored=True), jpeg(image), other)


def test_views_cost_keys_and_can_be_left_out() -> None:
    image = photo(2)
    (whole, small), (all_of_it,) = (
        keys_of(step(views="whole"), jpeg(image), jpeg(image.resize((200, 150)))),
        keys_of(step(), jpeg(image)),
    )
    assert len(whole) == 31 < len(all_of_it) <= 11 * 31
    assert whole & small and whole <= all_of_it


def flat_pictures() -> dict[str, Image.Image]:
    y, x = np.mgrid[:256, :256]
    noise = np.random.default_rng(3).normal(0, 3, (300, 200))
    logo = Image.new("L", (300, 300), 255)
    ImageDraw.Draw(logo).rectangle((75, 75, 225, 225), fill=40)
    return {
        "white": Image.new("L", (200, 300), 255),
        "gradient": Image.fromarray(x.astype(np.uint8)),
        "diagonal": Image.fromarray(((x + y) // 2).astype(np.uint8)),
        "checkerboard": Image.fromarray(((x // 32 + y // 32) % 2 * 255).astype(np.uint8)),
        "blank scan": Image.fromarray(np.clip(245 + noise, 0, 255).astype(np.uint8)),
        "solid logo": logo,
    }


@pytest.mark.parametrize("name", list(flat_pictures()))
def test_what_shows_next_to_nothing_has_no_key(name: str) -> None:
    data = encoded(flat_pictures()[name], "PNG")
    assert keys_of(step(views="whole"), data) == [set()]
    assert len(keys_of(step(views="whole", min_terms=0), data)[0]) == 31


@pytest.mark.parametrize("name", [name for name in MEDIA_FIXTURES if name not in ("png_wide",)])
def test_no_file_makes_it_raise(name: str) -> None:
    made = step(min_terms=0)
    data = media_fixture(name)
    assert (keys_of(made, data) != [set()]) == (load_small(data, DecodeParams(), "L") is not None)
    assert len(made.evidence(batch_of(data), np.zeros(1, np.int32))) == 1


@pytest.mark.parametrize(
    "name", ["png_bomb", "png_large_claim", "jpeg_truncated", "png_corrupt", "text_as_jpg", "empty_file", "svg"]
)
def test_what_cannot_be_decoded_has_no_key(name: str) -> None:
    assert keys_of(step(min_terms=0), media_fixture(name)) == [set()]


@pytest.mark.parametrize("size", [(100_000, 2), (2, 100_000), (30_000, 400)])
def test_a_long_picture_is_reduced_on_its_long_side(size: tuple[int, int]) -> None:
    """Pillow's resize takes a hundred bytes a pixel of the longer side, times as many views."""
    small = load_small(encoded(Image.new("L", size, 200), "PNG"), DecodeParams(), "L")
    assert small is not None and max(small.size) <= 6144 and min(small.size) >= min(*size, 192)
    assert np.asarray(small).min() == 200


def test_a_palette_is_reduced_as_true_colours_are() -> None:
    image = photo(3, (1600, 1400)).quantize(64)
    clear = image.copy()
    clear.info["transparency"] = 5
    for palette in (image, clear):
        true = palette.convert("RGBA") if "transparency" in palette.info else palette.convert("RGB")
        true = Image.alpha_composite(Image.new("RGBA", true.size, "white"), true.convert("RGBA")).convert("RGB")
        made = [load_small(encoded(one, "PNG"), DecodeParams(), "YCbCr") for one in (palette, true)]
        assert made[0] is not None and made[1] is not None and made[0].size == made[1].size == (229, 200)
        assert np.abs(np.asarray(made[0], int) - np.asarray(made[1], int)).max() <= 2


def test_pictures_are_compared_as_they_are_shown() -> None:
    image = photo(7)
    turned = Image.Exif()
    turned[0x0112] = 3
    upside_down = encoded(image.rotate(180), "JPEG", quality=90, exif=turned)
    clear = image.convert("RGBA")
    clear.putalpha(Image.fromarray(np.where(np.mgrid[:360, :480][0] < 120, 0, 255).astype(np.uint8)))
    on_white = image.copy()
    on_white.paste("white", (0, 0, 480, 120))
    deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    made = step()
    assert duplicates(made, jpeg(image), upside_down)
    assert duplicates(made, encoded(clear, "PNG"), jpeg(on_white))
    assert not duplicates(made, encoded(clear, "PNG"), jpeg(photo(8)))
    assert duplicates(made, encoded(deep, "PNG"), encoded(image.convert("L"), "PNG"))


def test_the_largest_or_the_first_is_kept() -> None:
    small, large = jpeg(photo(1).resize((240, 180))), jpeg(photo(1))
    for keep, order in (("first", [0, 0]), ("largest", [1, 0])):
        keys = step(keep=keep).keys(batch_of(small, large))
        rank = [int(keys.rank[keys.row == row][0]) for row in (0, 1)]
        assert min(rank) >= 1
        assert [int(value > min(rank)) for value in rank] == order


def test_keys_are_spread_and_name_their_parts() -> None:
    two = [media_part(at, jpeg(photo(seed)), "image") for at, seed in ((1, 3), (4, 4))]
    row = {"id": "a", "source": "a", "text": SENTINEL * 2, "media": two}
    keys = step().keys(sample_batch([row]))
    assert set(keys.part.tolist()) == {1, 4}
    ones = [int(low).bit_count() for low in keys.key[:, 1]]
    assert 28 < np.mean(ones) < 36


def test_parameters_are_checked() -> None:
    for wrong in ({"radius": 7}, {"verify": {"pixels": 2}}, {"keep": "longest"}, {"views": "some"}):
        with pytest.raises(RecipeError):
            build("image.near_dedup", wrong)
    assert step(verify=None).min_similarity is None


def test_evidence_of_another_part_of_a_row() -> None:
    files = [jpeg(photo(3)), jpeg(photo(4))]
    row = {"id": "a", "source": "a", "text": SENTINEL * 2, "media": [media_part(k, f) for k, f in enumerate(files)]}
    batch = sample_batch([row]).take([0, 0])
    made = step()
    evidence = made.evidence(batch, np.array([1, 0], np.int32))
    assert evidence.to_pylist() == made.evidence(batch_of(*files[::-1]), np.zeros(2, np.int32)).to_pylist()
