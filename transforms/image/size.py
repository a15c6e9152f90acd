"""Images too small to show anything, or too large to be photographs."""

from __future__ import annotations

from pydantic import Field

from transforms.base import PartParams
from transforms.probe import MeasuredPartFilter
from transforms.registry import register


class SizeParams(PartParams):
    """Bounds on the sides, in pixels as shown (after the EXIF orientation).

    min_side_px: of the shorter side; 200 is the basic filter of DataComp (Gadre et al. 2023, appendix C).
    max_side_px: of the longer side; None for no bound. OBELICS (Laurençon et al. 2023, §3.3) keeps 150 to 20000.
    """

    min_side_px: int = Field(default=200, ge=0)
    max_side_px: int | None = Field(default=None, gt=0)


@register("image.size", version=1)
class Size(MeasuredPartFilter[SizeParams]):
    """Rejects image parts by the length of their sides, as measured by image.decode."""

    Params = SizeParams
    kind = "image"
    reasons = frozenset({"too_small", "too_large", "not_measured"})
    needs = ("image.width_px", "image.height_px")
    made_by = "image.decode"

    def judge_measured(self, width: int, height: int) -> tuple[str, str] | None:
        limits = self.params
        if min(width, height) < limits.min_side_px:
            return "too_small", f"{width} x {height} px, sides of {limits.min_side_px} or more wanted"
        if limits.max_side_px is not None and max(width, height) > limits.max_side_px:
            return "too_large", f"{width} x {height} px, sides of {limits.max_side_px} or less wanted"
        return None
