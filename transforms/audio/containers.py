"""Whether an audio file ends where its container says it should.

libsndfile decodes what is there and calls a shorter recording whole: a WAV cut in half opens as a WAV of half the
length. A clip without its second half no longer matches its transcript, so the promise in the header is checked here.
"""

from __future__ import annotations

#: data sizes that streaming writers (ffmpeg to a pipe, SoX, browsers) leave because they cannot seek back
_UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0x7FFFFFFF - 36, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0x80000000, 0x7FFFF000)


def missing_bytes(data: bytes, mime: str) -> int:
    """How many bytes the container promises beyond the end of `data`; 0 when it is whole or makes no promise.

    WAV: the data chunk's size. Ogg (RFC 3533 §6): the last page's segment table. MP3: the byte count of the Xing/Info
    header. FLAC promises samples rather than bytes; the caller compares those.
    """
    if mime == "audio/wav":
        return _wav_missing(data)
    if mime in ("audio/ogg", "audio/opus"):
        return _ogg_missing(data)
    if mime == "audio/mpeg":
        return _mp3_missing(data)
    return 0


def _wav_missing(data: bytes) -> int:
    if data[:4] == b"RF64":
        return 0  # sizes are in ds64, and libsndfile checks them
    order = "big" if data[:4] == b"RIFX" else "little"
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], order)  # type: ignore[arg-type]
        if data[at : at + 4] == b"data":
            return 0 if size in _UNKNOWN_SIZES else max(0, at + 8 + size - len(data))
        at += 8 + size + size % 2  # chunks are padded to even offsets
    return 0


def _ogg_missing(data: bytes) -> int:
    at = data.rfind(b"OggS")
    segments_at = at + 27
    if segments_at > len(data):
        return segments_at - len(data)
    num_segments = data[at + 26]
    table = data[segments_at : segments_at + num_segments]
    if len(table) < num_segments:
        return num_segments - len(table)
    end = segments_at + num_segments + sum(table)
    tail = data[end:]
    if tail and b"OggS".startswith(tail):  # cut inside the next page's mark
        return 27 - len(tail)
    return max(0, end - len(data))


def _mp3_missing(data: bytes) -> int:
    start = 0
    if data[:3] == b"ID3" and len(data) >= 10:
        # ID3v2.4 §3.1: a size of four 7-bit bytes, not counting the 10-byte header
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    head = data[start : start + 200]
    tag_at = max(head.find(b"Xing"), head.find(b"Info"))
    if tag_at < 0:
        return 0
    flags = int.from_bytes(head[tag_at + 4 : tag_at + 8], "big")
    if not flags & 2:  # no byte count
        return 0
    count_at = tag_at + (12 if flags & 1 else 8)  # after the frame count, if there is one
    field = head[count_at : count_at + 4]
    return max(0, start + int.from_bytes(field, "big") - len(data)) if len(field) == 4 else 0
