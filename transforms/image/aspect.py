"""Images so long and thin that they are rules, banners or strips."""

from __future__ import annotations

from pydantic import Field

from transforms.base import PartParams
from transforms.probe import MeasuredPartFilter
from transforms.registry import register


class AspectParams(PartParams):
    """max_aspect_ratio: longer side / shorter side, itself allowed.

    3.0 is the basic filter of DataComp (Gadre et al. 2023, appendix C); OBELICS (Laurençon et al. 2023, §3.3) uses 2.0.
    """

    max_aspect_ratio: float = Field(default=3.0, ge=1.0)


@register("image.aspect", version=1)
class Aspect(MeasuredPartFilter[AspectParams]):
    """Rejects image parts by their aspect ratio, from the sides image.decode measured."""

    Params = AspectParams
    kind = "image"
    reasons = frozenset({"too_elongated", "not_measured"})
    needs = ("image.width_px", "image.height_px")
    made_by = "image.decode"

    def judge_measured(self, width: int, height: int) -> tuple[str, str] | None:
        longer, shorter = max(width, height), min(width, height)
        # Compared as a product: exact at the bound, and safe for a side of zero.
        if longer > self.params.max_aspect_ratio * shorter:
            return "too_elongated", f"{width} x {height} px, ratio above {self.params.max_aspect_ratio:g}"
        return None
