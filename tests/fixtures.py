"""Small media files, generated rather than stored: `media_fixture(name)` gives the same bytes in every run.

Names say what is in the file; `MEDIA_FIXTURES` lists them. A name ending in `_as_jpg` or `_as_wav` is for a file whose
extension lies. The makers they are built with (`picture`, `encoded`, `tone`, …) serve tests that need one of their own.
"""

from __future__ import annotations

from functools import cache

from tests import audio_fixtures, image_fixtures
from tests.audio_fixtures import pcm, sound_file, tone, wav_file
from tests.image_fixtures import encoded, picture, png_file, scene

__all__ = [
    "MEDIA_FIXTURES",
    "encoded",
    "media_fixture",
    "pcm",
    "picture",
    "png_file",
    "scene",
    "sound_file",
    "tone",
    "wav_file",
]

_BUILDERS = image_fixtures.BUILDERS | audio_fixtures.BUILDERS

MEDIA_FIXTURES = tuple(_BUILDERS)


@cache
def media_fixture(name: str) -> bytes:
    """The bytes of a fixture; KeyError names the ones there are."""
    if name not in _BUILDERS:
        raise KeyError(f"no media fixture {name!r}; there are {', '.join(_BUILDERS)}")
    return _BUILDERS[name]()
