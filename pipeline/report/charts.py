"""Charts as inline SVG: no scripts, no fonts, no network; colours come from the page's CSS, so dark mode is free.

Bars and plots stretch with their box (preserveAspectRatio none); text stays in HTML, where it wraps, scales and can
be selected. Every chart carries a <title> that says what it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from pipeline.report.display import compact

_WIDTH = 1000.0
_PLOT_WIDTH, _PLOT_HEIGHT = 400.0, 110.0


def bar(segments: Sequence[tuple[float, str, str]], title: str) -> Markup:
    """A horizontal bar of (share of the full width in [0, 1], css class, title) segments, left to right."""
    pieces, at = [], 0.0
    for share, style, name in segments:
        width = share * _WIDTH
        if width > 0:
            # A hairline for what is there but too small to see: never draw something as nothing.
            shown = max(width, 1.5)
            rect = '<rect class="{}" x="{:.1f}" width="{:.1f}" height="10"><title>{}</title></rect>'
            pieces.append(Markup(rect).format(style, min(at, _WIDTH - shown), shown, name))
        at += width
    box = '<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img"><title>{}</title>{}</svg>'
    return Markup(box).format(title, Markup("").join(pieces))


def histogram(distribution: dict[str, Any], title: str) -> Markup:
    """Kept and rejected rows of one quantity over the same bins, each as a share of its own rows, so that their
    shapes can be compared however few of one there are. Dashed lines: where a step cuts."""
    edges = np.array(distribution["edges"])
    heights = {name: _shares(distribution[name]["bins"]) for name in ("rejected", "kept")}
    top = max(float(h.max(initial=0.0)) for h in heights.values()) or 1.0
    pieces = [_area(h / top, name) for name, h in heights.items() if h.any()]
    for cut in distribution["cuts"]:
        x = _position(cut, edges, distribution["log"])
        if 0 <= x <= _PLOT_WIDTH:
            line = '<line class="cut" x1="{:.1f}" x2="{:.1f}" y1="0" y2="{:.0f}"><title>cut at {}</title></line>'
            pieces.append(Markup(line).format(x, x, _PLOT_HEIGHT, compact(cut)))
    box = (
        '<svg class="plot" viewBox="0 0 {:.0f} {:.0f}" preserveAspectRatio="none" role="img"><title>{}</title>'
        '<line class="axis" x1="0" x2="{:.0f}" y1="{:.1f}" y2="{:.1f}"/>{}</svg>'
    )
    floor = _PLOT_HEIGHT - 0.5
    return Markup(box).format(_PLOT_WIDTH, _PLOT_HEIGHT, title, _PLOT_WIDTH, floor, floor, Markup("").join(pieces))


def ticks(distribution: dict[str, Any]) -> list[str]:
    """Labels for the plot's left end, middle and right end."""
    edges = distribution["edges"]
    middle = edges[len(edges) // 2] if len(edges) % 2 else (edges[len(edges) // 2 - 1] + edges[len(edges) // 2]) / 2
    return [compact(edges[0]), compact(middle), compact(edges[-1])]


def _shares(counts: Sequence[int]) -> np.ndarray:
    array = np.array(counts, float)
    return array / array.sum() if array.sum() else array


def _area(heights: np.ndarray, style: str) -> Markup:
    """A stepped area: one flat top a bin."""
    step = _PLOT_WIDTH / len(heights)
    path = [f"M0 {_PLOT_HEIGHT:.0f}"]
    for number, height in enumerate(heights.tolist()):
        path.append(f"V{_PLOT_HEIGHT - height * (_PLOT_HEIGHT - 4):.1f}H{(number + 1) * step:.1f}")
    path.append(f"V{_PLOT_HEIGHT:.0f}Z")
    return Markup('<path class="area {}" d="{}"/>').format(style, "".join(path))


def _position(value: float, edges: np.ndarray, log: bool) -> float:
    low, high = float(edges[0]), float(edges[-1])
    if log:
        if value <= 0:
            return -1.0
        low, high, value = float(np.log(low)), float(np.log(high)), float(np.log(value))
    return (value - low) / (high - low) * _PLOT_WIDTH
