"""Opening encoded audio so that it can be read once, from start to its real end, whatever its header says."""

from __future__ import annotations

import io

import soundfile

#: Rates outside of this are damaged or malicious headers: telephony starts at 8 kHz, studios end at 384 kHz.
CREDIBLE_RATE_HZ = (1_000, 768_000)
#: samples x channels decoded at a time: 1 MB as float32
BLOCK_VALUES = 1 << 18


class Stream(soundfile.SoundFile):
    """Encoded bytes, read once from start to end; raises soundfile.LibsndfileError where they cannot be opened.

    A seekable SoundFile never reads beyond the length its header states, and seeks after every block, which fails
    on streams that do not know their length.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(_Bytes(data))

    def seekable(self) -> bool:
        return False


class _Bytes(io.BytesIO):
    """Bytes to decode. A seek to nowhere, which damaged headers ask for, leaves the position where it is.

    libsndfile sees that and reports an error; an exception could not pass through its callback, and would be printed.
    """

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()
