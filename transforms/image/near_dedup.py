"""Near-duplicate pictures: perceptual hashes propose, the pixels dispose."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from transforms.base import Params
from transforms.dedup.base import Dedup, Keys
from transforms.dedup.covering import MAX_RADIUS, covering_keys
from transforms.dedup.shingles import mix
from transforms.image.decode import DecodeParams, quiet_pillow
from transforms.image.phash import WINDOWS, low_frequencies, mirrored, phash, squares, strong_terms
from transforms.image.pixels import load_small, size_shown
from transforms.kernels.pictures import COLOUR_SIDE, SIDE, likeness
from transforms.parts import Parts
from transforms.registry import register

#: bytes of evidence: luminance, then two planes of colour
_EVIDENCE_BYTES = SIDE * SIDE + 2 * COLOUR_SIDE * COLOUR_SIDE


class Verify(Params):
    """How a proposed pair is checked."""

    #: pairs of a lower similarity are not duplicates: three quarters of the windows of the one picture must be like the
    #: other's by at least this much (transforms.kernels.pictures)
    pixels: float = Field(default=0.85, ge=0, le=1)


class ImageNearDedupParams(Params):
    """Parameters of image.near_dedup."""

    #: bits of 64 in which the hashes of two views may differ: all such pairs are found. A view has
    #: 2^(radius + 1) - 1 keys of 32 bits
    radius: int = Field(default=4, ge=0, le=MAX_RADIUS)
    #: all: parts of a picture are hashed besides the whole of it, so that crops, frames and banners are found; whole:
    #: an eleventh of the keys, for re-encoded and resized pictures
    views: Literal["all", "whole"] = "all"
    #: a picture and its mirror image are duplicates
    mirrored: bool = False
    #: views with fewer terms of the 63 low frequencies that have an amplitude of `min_term_levels` have no key: what
    #: shows next to nothing (a blank scan, a gradient) has the hash of all the others that do not
    min_terms: int = Field(default=32, ge=0, le=63)
    #: of 256 levels of luminance
    min_term_levels: float = Field(default=0.5, ge=0)
    #: null: candidates are duplicates, connected components keep one picture
    verify: Verify | None = Verify()
    #: which of two duplicates stays: the first in canonical order, or the one with more pixels
    keep: Literal["first", "largest"] = "first"
    #: pictures beyond these limits have no key, as in image.decode
    limits: DecodeParams = DecodeParams()


@register("image.near_dedup", version=1)
class ImageNearDedup(Dedup[ImageNearDedupParams]):
    """Near-duplicate pictures by the Hamming distance of perceptual hashes, removed only when the pixels agree.

    The hash is the 64-bit pHash of imagehash, of the first frame as shown. Pictures become candidates when any of their
    views' hashes are within `radius` of each other, without exception (transforms.dedup.covering). A candidate is
    removed only when its pixels are like those of a picture that is kept. Pictures that show next to nothing have no
    key; equal bytes are for `media.exact_dedup`. The document lives on without its duplicate picture.
    """

    Params = ImageNearDedupParams
    of_parts = True
    measure = "pixels"

    @property
    def proof(self) -> bool:
        return False

    @property
    def min_similarity(self) -> float | None:
        return self.params.verify.pixels if self.params.verify else None

    def setup(self) -> None:
        quiet_pillow()

    def keys(self, batch: pa.RecordBatch) -> Keys:
        parts = Parts.of(batch, "image")
        found: list[tuple[np.ndarray, np.ndarray]] = []
        rank = np.ones(len(parts), np.uint64)
        for at, data in enumerate(parts.field("data")):
            content = data.as_py()
            found.append(self._keys_of(content))
            if self.params.keep == "largest" and len(found[-1][0]):
                rank[at] = np.uint64(2**63 - size_shown(content, self.params.limits))
        counts = [len(bands) for bands, _ in found]
        owner = np.repeat(np.arange(len(parts)), counts)
        band = np.concatenate([np.empty(0, np.uint16), *(bands for bands, _ in found)])
        held = np.concatenate([np.empty(0, np.uint64), *(held for _, held in found)])
        with np.errstate(over="ignore"):
            key = np.stack([held, mix(held ^ mix(band.astype(np.uint64)))], axis=1)
        return Keys(parts.row[owner].astype(np.uint32), parts.index[owner].astype(np.int32), band, key, rank[owner])

    def _keys_of(self, data: bytes) -> tuple[np.ndarray, np.ndarray]:
        """(bands uint16, masked hashes uint64) of one picture, each once."""
        image = load_small(data, self.params.limits, "L")
        if image is None:
            return np.empty(0, np.uint16), np.empty(0, np.uint64)
        terms = low_frequencies(squares(image, views=self.params.views == "all"))
        telling = strong_terms(terms, self.params.min_term_levels) >= self.params.min_terms
        group = np.maximum(np.arange(len(terms)) - WINDOWS + 1, 0)  # windows are compared with each other
        hashes, groups = phash(terms)[telling], group[telling]
        if self.params.mirrored:
            windows = telling & (group == 0)
            hashes = np.concatenate([hashes, phash(mirrored(terms[windows]))])
            groups = np.concatenate([groups, np.zeros(windows.sum(), groups.dtype)])
        held = covering_keys(hashes, self.params.radius)
        width = held.shape[1]
        bands = groups[:, None] * width + np.arange(width)[None, :]
        both = np.unique(np.stack([bands.ravel().astype(np.uint64), held.ravel()], axis=1), axis=0)
        return both[:, 0].astype(np.uint16), both[:, 1]

    def evidence(self, batch: pa.RecordBatch, part: np.ndarray) -> pa.LargeBinaryArray:
        media = batch.column("media").to_pylist()
        return pa.array(
            [self._thumbnail(held, at) for held, at in zip(media, part.tolist(), strict=True)], pa.large_binary()
        )

    def _thumbnail(self, media: list[dict[str, object]], index: int) -> bytes:
        data = next(part["data"] for part in media if part["index"] == index)
        assert isinstance(data, bytes)
        image = load_small(data, self.params.limits, "YCbCr")
        if image is None:
            return bytes(_EVIDENCE_BYTES)
        shade, *colours = image.split()
        planes = [shade.resize((SIDE, SIDE), Image.Resampling.LANCZOS)]
        planes += [colour.resize((COLOUR_SIDE, COLOUR_SIDE), Image.Resampling.BOX) for colour in colours]
        return b"".join(plane.tobytes() for plane in planes)

    def similarity(self, evidence: pa.LargeBinaryArray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        thumbnails = np.frombuffer(b"".join(evidence.to_pylist()), np.uint8).reshape(len(evidence), _EVIDENCE_BYTES)
        similarity: np.ndarray = likeness(thumbnails, first, second, self.params.mirrored)
        return similarity
