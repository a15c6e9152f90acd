"""Drawing a scene: polygons at four times the size, averaged down, so that edges are smooth."""

from __future__ import annotations

import io
import math
import random

from PIL import Image, ImageDraw

from jobs.sample.scenes import BACKGROUNDS, COLOURS, Scene

SUPERSAMPLING = 4
SIDES_PX = (64, 80, 96)
#: half the extent of a thing, as a share of the picture's side: far enough apart to be told at a glance
RADII = {"small": (0.085, 0.095), "large": (0.14, 0.15)}
_MARGIN = 0.025
_LEAST_GAP = 0.02

Point = tuple[float, float]


def render(scene: Scene, rng: random.Random) -> Image.Image:
    """A square RGB picture of 64, 80 or 96 px; sizes vary a little within their class, and so do the places."""
    side = rng.choice(SIDES_PX)
    large = side * SUPERSAMPLING
    radii = [rng.uniform(*RADII[thing.size]) for thing in scene.things]
    image = Image.new("RGB", (large, large), BACKGROUNDS[scene.background])
    canvas = ImageDraw.Draw(image)
    for thing, radius, (x, y) in zip(scene.things, radii, _places(scene, radii, rng), strict=True):
        _draw(canvas, thing.shape, x * large, y * large, radius * large, COLOURS[thing.colour])
    return image.reduce(SUPERSAMPLING)


def encode(image: Image.Image, ending: str) -> bytes:
    """The picture as png, jpg (4:4:4, so that thin edges keep their colour) or lossless webp."""
    out = io.BytesIO()
    if ending == "jpg":
        image.save(out, "JPEG", quality=92, subsampling=0)
    elif ending == "webp":
        image.save(out, "WEBP", lossless=True, quality=50, method=2)
    else:
        image.save(out, "PNG")
    return out.getvalue()


def _places(scene: Scene, radii: list[float], rng: random.Random) -> list[Point]:
    """Centres in [0, 1]: along the layout's axis one after the other with random gaps, across it within reach."""
    low = _MARGIN
    if scene.layout == "single":
        radius = radii[0]
        return [(rng.uniform(low + radius, 1 - low - radius), rng.uniform(low + radius, 1 - low - radius))]
    free = 1 - 2 * low - 2 * sum(radii) - _LEAST_GAP * (len(radii) - 1)
    cuts = sorted(rng.uniform(0, free) for _ in radii)
    # Across the axis things deviate less than along it, so that "left of" never looks like "above".
    middle = rng.uniform(0.3, 0.7)
    places: list[Point] = []
    passed = low
    for radius, cut in zip(radii, cuts, strict=True):
        along = passed + cut + radius
        across = min(max(middle + rng.uniform(-0.06, 0.06), low + radius), 1 - low - radius)
        places.append((along, across) if scene.layout == "row" else (across, along))
        passed += 2 * radius + _LEAST_GAP
    return places


def _draw(
    canvas: ImageDraw.ImageDraw, shape: str, x: float, y: float, radius: float, colour: tuple[int, int, int]
) -> None:
    if shape == "circle":
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        return
    canvas.polygon([(x + radius * dx, y + radius * dy) for dx, dy in _OUTLINES[shape]], fill=colour)


def _star() -> list[Point]:
    points = []
    for corner in range(10):
        reach = 1.14 if corner % 2 == 0 else 0.47
        angle = math.pi * corner / 5 - math.pi / 2
        points.append((reach * math.cos(angle), reach * math.sin(angle)))
    return points


#: outlines in units of the radius, y downwards; squares and crosses are drawn a little smaller to look equally large
_OUTLINES: dict[str, list[Point]] = {
    "square": [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)],
    "triangle": [(0, -1), (1, 0.86), (-1, 0.86)],
    "diamond": [(0, -1.05), (0.8, 0), (0, 1.05), (-0.8, 0)],
    "star": _star(),
    "cross": [
        *((-0.32, -0.95), (0.32, -0.95), (0.32, -0.32), (0.95, -0.32), (0.95, 0.32), (0.32, 0.32)),
        *((0.32, 0.95), (-0.32, 0.95), (-0.32, 0.32), (-0.95, 0.32), (-0.95, -0.32), (-0.32, -0.32)),
    ],
}
