"""Scenes: the caption says exactly what is drawn, and the pixels say so too."""

import io
import random
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from jobs.sample.drawing import SIDES_PX, encode, render
from jobs.sample.scenes import (
    BACKGROUNDS,
    COLOURS,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    caption,
    draw_scene,
    parse_caption,
)


def test_captions_read_back_to_their_scene():
    rng = random.Random(3)
    phrasings = set()
    for number in range(600):
        scene = draw_scene(rng, held_out=number % 2 == 0)
        said = caption(scene, rng)
        assert parse_caption(said) == scene, said
        phrasings.add((scene.layout, len(scene.things), said.startswith("There")))
    assert len(phrasings) == 10


def test_captions_are_these():
    red, blue = Thing("large", "red", "circle"), Thing("small", "blue", "star")
    assert parse_caption("A large red circle on a white background.") == Scene("single", (red,), "white")
    above = Scene("column", (red, blue), "grey")
    assert parse_caption("There is a small blue star below a large red circle on a grey background.") == above
    assert parse_caption("A large red circle above a small blue star on a grey background.") == above
    row = Scene("row", (blue, red), "black")
    assert parse_caption("A large red circle to the right of a small blue star on a black background.") == row
    for wrong in ("A red circle.", "A large red circle on a white background", "", "A large red circle above."):
        with pytest.raises(ValueError, match="not a caption"):
            parse_caption(wrong)


def test_held_out_scenes_are_a_fair_part_and_never_drawn_for_training():
    rng = random.Random(8)
    everything = [
        Scene("single", (Thing(size, colour, shape),), background)
        for size in SIZES
        for colour in COLOURS
        for shape in SHAPES
        for background in BACKGROUNDS
    ]
    share = sum(scene.is_held_out for scene in everything) / len(everything)
    assert 0.08 < share < 0.18
    trained = {draw_scene(rng, held_out=False).key for _ in range(500)}
    assert not trained & {draw_scene(rng, held_out=True).key for _ in range(500)}


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_pixels_show_what_the_caption_says(ending):
    rng = random.Random(11)
    seen = 0
    while seen < 60:
        scene = draw_scene(rng, held_out=False)
        if len({thing.colour for thing in scene.things}) < len(scene.things):
            continue  # things are told apart by colour below
        seen += 1
        said = parse_caption(caption(scene, rng))
        image = np.asarray(Image.open(io.BytesIO(encode(render(scene, rng), ending))).convert("RGB")).astype(int)
        side = image.shape[0]
        assert image.shape == (side, side, 3)
        assert side in SIDES_PX
        assert np.abs(image[0, 0] - BACKGROUNDS[said.background]).max() < 12
        centres = []
        for thing in said.things:
            mask = _mask(image, thing.colour, said)
            assert mask.sum() >= 6
            ys, xs = np.nonzero(mask)
            centres.append((np.mean(xs), np.mean(ys)))
            extent = max(np.ptp(xs), np.ptp(ys)) + 3
            assert (extent / side > 0.195) == (thing.size == "large"), (thing, extent / side)
        if said.layout != "single":
            axis = 0 if said.layout == "row" else 1
            for before, after in pairwise(centres):
                gap = after[axis] - before[axis]
                assert gap > 0.1 * side
                assert gap > abs(after[1 - axis] - before[1 - axis])


def test_shapes_are_told_apart_by_their_pixels():
    """Each drawn shape is nearest to its own kind in how it fills the rows of its bounding box."""
    rng = random.Random(2)

    def profile(shape):
        scene = Scene("single", (Thing("large", "red", shape),), "white")
        mask = _mask(np.asarray(render(scene, rng)).astype(int), "red", scene)
        ys, xs = np.nonzero(mask)
        box = Image.fromarray(mask[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1].astype(np.uint8) * 255)
        return np.asarray(box.resize((12, 12), Image.Resampling.BOX)).astype(float)

    models = {shape: np.mean([profile(shape) for _ in range(8)], axis=0) for shape in SHAPES}
    for shape in SHAPES:
        for _ in range(10):
            seen = profile(shape)
            assert min(SHAPES, key=lambda name: np.abs(models[name] - seen).sum()) == shape


def _mask(image, colour, scene):
    """Pixels of a thing's colour whose four neighbours have it too: edges are blends, and may look like any colour."""
    named = {"background": BACKGROUNDS[scene.background]} | {t.colour: COLOURS[t.colour] for t in scene.things}
    names = list(named)
    distances = np.stack([np.abs(image - np.array(named[name])).sum(axis=-1) for name in names])
    near = (distances.argmin(axis=0) == names.index(colour)) & (distances.min(axis=0) < 60)
    near = np.pad(near, 1)
    around = near[1:-1, 1:-1] & near[:-2, 1:-1] & near[2:, 1:-1] & near[1:-1, :-2] & near[1:-1, 2:]
    return around
