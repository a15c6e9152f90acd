"""The image part of the corpus: scenes with exact captions, and pictures that should not get through."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from PIL import Image

from jobs.sample.archives import write_webdataset
from jobs.sample.drawing import encode, render
from jobs.sample.draws import draw, draw_noise
from jobs.sample.media import MediaSample, many, write_shuffled
from jobs.sample.scenes import caption, draw_scene
from jobs.sample.truth import Truth

FILES = 3
CLEAN = 3000
HELD_OUT = 200
DUPLICATES = 30
WRONG_PAIRS = 20
EACH_FAULT = 8
_ENDINGS = ("png", "png", "jpg", "webp")


def write_pictures(folder: Path, seed: int, scale: float, dataset: str = "images") -> list[Truth]:
    """Writes DIR/images/scenes-*.tar and DIR/heldout/scenes-000000.tar; returns the truth about the former."""
    (folder / dataset).mkdir()
    truths = write_shuffled(folder / dataset, "scene", FILES, list(plant(seed, scale)), "image", seed)
    held_out = (_scene(seed, "held out", number, held_out=True) for number in many(HELD_OUT, scale))
    samples = ((f"unseen-{number:05d}", picture.members()) for number, picture in enumerate(held_out))
    write_webdataset(folder / "heldout" / "scenes-000000.tar", samples)
    return truths


def plant(seed: int, scale: float) -> Iterator[MediaSample]:
    """All samples, originals before their copies."""
    clean = [_scene(seed, "scene", number, held_out=False) for number in many(CLEAN, scale)]
    yield from clean
    rng = draw(seed, "picture faults")
    for original in rng.sample(range(len(clean)), min(len(clean), len(many(DUPLICATES, scale)))):
        yield replace(clean[original], kind="exact_duplicate", expected="rejected", reason="duplicate", of=original)
    for number in many(WRONG_PAIRS, scale):
        shown = _scene(seed, "wrong pair", number, held_out=False)
        yield replace(
            shown,
            text=caption(draw_scene(rng, held_out=False), rng),
            meta=shown.meta | {"matched": False},
            kind="wrong_pair",
            expected="either",
            reason="alignment",
            note=f"shows: {shown.text}",
        )
    for number in many(EACH_FAULT, scale):
        yield from _faulty(seed, number, rng)


def _scene(seed: int, *names: object, held_out: bool) -> MediaSample:
    rng = draw(seed, *names)
    scene = draw_scene(rng, held_out)
    ending = rng.choice(_ENDINGS)
    meta: dict[str, object] = {"scene": scene.as_json(), "license": "CC0-1.0"}
    return MediaSample(ending, encode(render(scene, rng), ending), caption(scene, rng), meta)


def _faulty(seed: int, number: int, rng: random.Random) -> Iterator[MediaSample]:
    """One of every fault that decoding, size or aspect should find."""

    like = _scene(seed, "faulty", number, held_out=False)
    image = render(draw_scene(rng, held_out=False), rng)

    def bad(ending: str, data: bytes, kind: str, reason: str, note: str) -> MediaSample:
        return replace(like, ending=ending, data=data, kind=kind, expected="rejected", reason=reason, note=note)

    for ending in ("png", "jpg", "webp"):
        data = encode(image, ending)
        cut = data[: int(len(data) * rng.uniform(0.3, 0.6))]
        yield bad(ending, cut, "corrupt_image", "decode", f"{ending} cut after {len(cut)} of {len(data)} bytes")
    noise = draw_noise(seed, "garbage", number).bytes(900)
    yield bad("jpg", noise, "corrupt_image", "decode", "random bytes named .jpg")
    yield bad("jpg", b"<html><body>404 not found</body></html>\n", "corrupt_image", "decode", "text named .jpg")
    yield bad("png", b"", "corrupt_image", "decode", "an empty file")
    colour = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
    tiny = encode(Image.new("RGB", (8, 8), colour), "png")
    yield bad("png", tiny, "tiny_image", "size", "8 x 8 px")
    strip = encode(Image.new("RGB", (rng.randrange(400, 700), 40), colour), "png")
    yield bad("png", strip, "long_image", "aspect", "a strip 40 px high")
