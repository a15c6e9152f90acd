"""Scenes of one to three shapes, and the small grammar that says exactly what is in them.

    caption  = "There is " list "." | list capitalised "." (two phrasings of the same facts)
    one      = object ON
    two      = object RELATION object ON
    row      = object ", " object " and " object (" in a row from left to right" | " in a column from top to bottom") ON
    object   = "a " size colour shape          ON = " on a " background " background"

`caption` writes it, `parse_caption` reads it back: parse_caption(caption(scene, ...)) == scene.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any, Literal

from jobs.sample.draws import digest

Layout = Literal["single", "row", "column"]

SIZES = ("small", "large")
COLOURS = {
    "red": (214, 39, 40),
    "orange": (255, 140, 0),
    "yellow": (250, 214, 20),
    "green": (34, 150, 60),
    "cyan": (40, 205, 215),
    "blue": (35, 80, 220),
    "purple": (125, 50, 170),
    "pink": (250, 130, 190),
}
SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross")
BACKGROUNDS = {"white": (255, 255, 255), "grey": (128, 128, 128), "black": (0, 0, 0)}

#: one scene in this many is never in the training part, wherever its objects stand in the picture
HELD_OUT_EVERY = 8

_OBJECT = rf"an? ({'|'.join(SIZES)}) ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})"
_RELATIONS = {
    "to the left of": ("row", False),
    "to the right of": ("row", True),
    "above": ("column", False),
    "below": ("column", True),
}
_WAY = {"row": " in a row from left to right", "column": " in a column from top to bottom"}
_CAPTION = re.compile(
    rf"(?:There (?:is|are) )?{_OBJECT}(?: ({'|'.join(_RELATIONS)}) {_OBJECT}|, {_OBJECT} and {_OBJECT}"
    rf"({'|'.join(_WAY.values())}))? on a ({'|'.join(BACKGROUNDS)}) background\.",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Thing:
    """One shape with its looks."""

    size: str
    colour: str
    shape: str

    def __str__(self) -> str:
        return f"a {self.size} {self.colour} {self.shape}"


@dataclass(frozen=True, slots=True)
class Scene:
    """Things from left to right (`row`) or top to bottom (`column`), or one thing (`single`), on a background."""

    layout: Layout
    things: tuple[Thing, ...]
    background: str

    @property
    def key(self) -> str:
        """One name for one scene, whatever its caption."""
        return f"{self.layout}: {', '.join(map(str, self.things))}; {self.background}"

    @property
    def is_held_out(self) -> bool:
        """Whether it belongs to the evaluation part; the same for every seed."""
        return digest(0, "held out scene", self.key) % HELD_OUT_EVERY == 0

    def as_json(self) -> dict[str, Any]:
        """The scene's facts, for the sample's metadata."""
        things = [{"size": t.size, "colour": t.colour, "shape": t.shape} for t in self.things]
        return {"layout": self.layout, "things": things, "background": self.background}


def draw_scene(rng: random.Random, held_out: bool) -> Scene:
    """A scene of the wanted part: a quarter of one thing, half of two, a quarter of three."""
    while True:
        count = rng.choice((1, 2, 2, 3))
        things = tuple(Thing(rng.choice(SIZES), rng.choice(list(COLOURS)), rng.choice(SHAPES)) for _ in range(count))
        layout: Layout = "single" if count == 1 else rng.choice(("row", "column"))
        scene = Scene(layout, things, rng.choice(list(BACKGROUNDS)))
        if len(set(things)) == count and scene.is_held_out == held_out:
            return scene


def caption(scene: Scene, rng: random.Random) -> str:
    """An exact caption in one of the grammar's phrasings."""
    things = scene.things
    if len(things) == 1:
        said = f"{things[0]}"
    elif len(things) == 2:
        relation = rng.choice([name for name, (layout, _) in _RELATIONS.items() if layout == scene.layout])
        first, second = reversed(things) if _RELATIONS[relation][1] else things
        said = f"{first} {relation} {second}"
    else:
        said = f"{things[0]}, {things[1]} and {things[2]}{_WAY[scene.layout]}"
    said += f" on a {scene.background} background."
    if rng.random() < 0.5:
        return said[0].upper() + said[1:]
    return f"There {'are' if len(things) == 3 else 'is'} {said}"


def parse_caption(text: str) -> Scene:
    """The scene a caption describes; raises ValueError for text outside the grammar."""
    match = _CAPTION.fullmatch(text)
    if match is None:
        raise ValueError(f"not a caption of a scene: {text!r}")
    found = [group and group.lower() for group in match.groups()]
    first = Thing(*found[0:3])
    if found[3]:
        layout, is_reversed = _RELATIONS[found[3]]
        pair = (first, Thing(*found[4:7]))
        return Scene(layout, pair[::-1] if is_reversed else pair, found[-1])  # type: ignore[arg-type]
    if found[7]:
        way = next(name for name, words in _WAY.items() if words == found[13])
        return Scene(way, (first, Thing(*found[7:10]), Thing(*found[10:13])), found[-1])  # type: ignore[arg-type]
    return Scene("single", (first,), found[-1])
