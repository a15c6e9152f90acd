"""Decoded media, kept in memory while there is room: a run of many epochs sees the same pictures again and again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from model.data.audio import decode_audio, log_mel
from model.data.dataset import AudioPart, ImagePart
from model.data.images import fit, open_image, patchify

T = TypeVar("T", np.ndarray, torch.Tensor)


class MediaCache:
    """Preprocessed images and clips by their encoded bytes; the least recently used go first. Safe to share by threads.

    Images are kept as fitted 8-bit pixels, an eighth of their patches; cutting those is cheap.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._lock = threading.Lock()

    def image(self, part: ImagePart) -> np.ndarray:
        """Patches [h*w, 3*2*16*16] of an encoded image; raises SluiceError when it cannot be decoded."""
        pixels = self._get((part.data, part.grid), lambda: np.asarray(fit(open_image(part.data), part.grid)))
        return patchify(Image.fromarray(pixels), part.grid)

    def audio(self, part: AudioPart) -> torch.Tensor:
        """Log-mel features [128, frames] of an encoded clip; raises SluiceError when it cannot be decoded."""
        return self._get((part.data, part.frames), lambda: log_mel(decode_audio(part.data), part.frames))

    def _get(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += made.nbytes + len(key[0])
            while self._bytes > self._max_bytes:
                (data, _), dropped = self._kept.popitem(last=False)
                self._bytes -= dropped.nbytes + len(data)
        return made
