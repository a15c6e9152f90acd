"""Videos as prompts take them: the frames of an animation, or a folder of pictures, and how fast they were shot."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from model.data.images import open_image
from schemas.errors import SluiceError

#: of a folder of frames, as the published processors take it where nothing is known
FPS = 24.0
#: all frames are decoded at once: 768 MB as RGB
MAX_PIXELS = 1 << 28
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class Video:
    """Decoded frames in order, all RGB, and how many there are a second."""

    frames: tuple[Image.Image, ...]
    fps: float


def read_video(path: Path, fps: float | None = None) -> Video:
    """A folder of pictures, in the order of their names, or a file with an animation.

    `fps` None: `FPS` for a folder, what an animation says itself. Raises SluiceError when it cannot be read.
    """
    try:
        if not path.is_dir():
            return animation(path.read_bytes(), fps)
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in _PICTURES and file.is_file())
        frames: list[Image.Image] = []
        for file in files:
            frames.append(open_image(file.read_bytes()))
            _check_size(frames)
    except OSError as error:
        raise SluiceError(f"{path} cannot be read: {error.strerror}") from error
    if not frames:
        raise SluiceError(f"{path} holds no frames: name them in order, as 0001.png, 0002.png")
    return Video(tuple(frames), FPS if fps is None else fps)


def animation(data: bytes, fps: float | None = None) -> Video:
    """The frames of an animated GIF, WebP or PNG; `fps` None is what its durations come to.

    Raises SluiceError when it cannot be decoded, or does not say how long it lasts.
    """
    frames: list[Image.Image] = []
    milliseconds = 0.0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=("GIF", "WEBP", "PNG")) as image:
                for i in range(getattr(image, "n_frames", 1)):
                    image.seek(i)
                    frames.append(image.convert("RGB"))
                    milliseconds += float(image.info.get("duration", 0))
                    _check_size(frames)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SluiceError(f"the video is too large to decode safely ({error})") from error
    except SluiceError:
        raise
    except (UnidentifiedImageError, OSError, ValueError, TypeError, SyntaxError, EOFError) as error:
        raise SluiceError(
            f"the video cannot be decoded ({error}); give an animated GIF or WebP, or a folder of its frames"
        ) from error
    if fps is None and not milliseconds > 0:
        raise SluiceError("the video does not say how long its frames last; give the frame rate, --fps")
    return Video(tuple(frames), fps if fps is not None else len(frames) * 1000 / milliseconds)


def _check_size(frames: list[Image.Image]) -> None:
    width, height = frames[-1].size
    if width * height * len(frames) > MAX_PIXELS:
        raise SluiceError(f"the video has more than {MAX_PIXELS:,} pixels; give fewer frames, or smaller ones")
