"""ablate.html: one self-contained page, in the style of a dataset's report. No scripts, no network."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import pipeline.report
from jobs.ablation.result import verdict
from pipeline.report import display

_ASSETS = Path(__file__).with_name("assets")
_STYLE = Path(pipeline.report.__file__).with_name("assets") / "report.css"
_WIDTH, _HEIGHT = 1000.0, 22.0
#: the outermost interval ends this share of the width before the border
_MARGIN = 0.04


def render(found: dict[str, Any]) -> str:
    """The page of an experiment (see jobs.ablation.result)."""
    style = _STYLE.read_text(encoding="utf-8") + (_ASSETS / "ablate.css").read_text(encoding="utf-8")
    return _template().render(r=found, css=Markup(style), sections=_sections(found))


@cache
def _template() -> jinja2.Template:
    environment = display.environment(_ASSETS)
    environment.filters |= {"signed": _signed, "range": _range}
    return environment.get_template("ablate.html")


def _sections(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What is compared with one arm: over all documents, then by group, each table on one scale."""
    made = []
    for against in dict.fromkeys(comparison["against"] for comparison in found["comparisons"]):
        chosen = [comparison for comparison in found["comparisons"] if comparison["against"] == against]
        whole = [(comparison["arm"], comparison["groups"][0]) for comparison in chosen]
        tables = [{"title": "All held-out documents", "rows": _rows(whole)}]
        for comparison in chosen:
            parts = [(f"{group['kind']} {group['name']}", group) for group in comparison["groups"][1:]]
            if len(parts) > 1:
                tables.append({"title": f"{comparison['arm']}, by modality and language", "rows": _rows(parts)})
        made.append({"against": against, "tables": tables})
    return made


def _rows(groups: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    reach = max(abs(value) for _, group in groups for value in _ends(group)) or 1.0
    return [
        {"name": name, "group": group, "plot": interval_plot(group, reach, name), "verdict": verdict(group)}
        for name, group in groups
    ]


def _ends(group: dict[str, Any]) -> list[float]:
    ranges = [found for found in (group["over_seeds"], group["over_both"]) if found is not None]
    return [group["mean"], *group["by_seed"], *(found[end] for found in ranges for end in ("low", "high"))]


def interval_plot(group: dict[str, Any], reach: float, name: str) -> Markup:
    """A difference on a scale from -`reach` to `reach`: a thin line over seeds (Student's t), a thick one over seeds
    and documents (bootstrap), a tick for every seed, a box for the mean; 0 is a vertical line."""

    def x(value: float) -> float:
        return _WIDTH / 2 * (1 + (1 - 2 * _MARGIN) * value / reach)

    middle = _HEIGHT / 2
    pieces = [Markup('<line class="zero" x1="{0:.1f}" x2="{0:.1f}" y1="0" y2="{1:.0f}"/>').format(x(0.0), _HEIGHT)]
    style = verdict(group).replace(" ", "-")
    for key, kind in (("over_seeds", "seeds"), ("over_both", "both")):
        found = group[key]
        if found is not None:
            line = '<line class="interval {} {}" x1="{:.1f}" x2="{:.1f}" y1="{:.0f}" y2="{:.0f}"/>'
            pieces.append(Markup(line).format(kind, style, x(found["low"]), x(found["high"]), middle, middle))
    for value in group["by_seed"]:
        tick = '<line class="seed" x1="{0:.1f}" x2="{0:.1f}" y1="{1:.0f}" y2="{2:.0f}"/>'
        pieces.append(Markup(tick).format(x(value), middle - 5, middle + 5))
    mean = '<rect class="mean {}" x="{:.1f}" width="8" y="{:.0f}" height="12"/>'
    pieces.append(Markup(mean).format(style, x(group["mean"]) - 4, middle - 6))
    box = (
        '<svg class="difference" viewBox="0 0 {:.0f} {:.0f}" preserveAspectRatio="none" role="img">'
        "<title>{}: {}</title>{}</svg>"
    )
    return Markup(box).format(_WIDTH, _HEIGHT, name, _signed(group["mean"]), Markup("").join(pieces))


def _signed(value: float) -> str:
    return f"{value:+.4f}"


def _range(found: dict[str, float] | None) -> str:
    return "–" if found is None else f"{found['low']:+.4f} to {found['high']:+.4f}"
