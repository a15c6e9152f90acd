"""Pictures with detail, as photographs have it, for tests that compare them."""

from __future__ import annotations

import numpy as np
from PIL import Image


def photo(seed: int, size: tuple[int, int] = (480, 360)) -> Image.Image:
    """A picture with detail at all scales, in colour, as photographs have it: no two seeds look alike."""
    rng = np.random.default_rng(seed)
    planes = []
    for _ in range(3):
        plane = np.zeros((size[1], size[0]))
        for cells in (3, 6, 12, 24, 48):
            noise = Image.fromarray(rng.uniform(0, 255, (cells, cells)).astype(np.uint8))
            plane += np.asarray(noise.resize(size, Image.Resampling.BICUBIC), float) / cells**0.5
        planes.append((plane - plane.min()) * 255 / np.ptp(plane))
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))
