"""Decoding audio under limits, and measuring it in the same pass."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pyarrow as pa
import soundfile
from pydantic import Field

from transforms.audio.containers import missing_bytes
from transforms.audio.levels import FRAME_S, Levels
from transforms.audio.stream import BLOCK_VALUES, CREDIBLE_RATE_HZ, Stream
from transforms.base import PartParams
from transforms.media import sniff_mime
from transforms.probe import Fault, PartProbe
from transforms.registry import register

Format = Literal["WAV", "FLAC", "OGG", "OPUS", "MP3", "AIFF"]

#: Only these reach libsndfile, which would also open some twenty formats that nobody tests any more.
_FORMATS: dict[str, Format] = {
    "audio/wav": "WAV",
    "audio/flac": "FLAC",
    "audio/ogg": "OGG",
    "audio/opus": "OPUS",
    "audio/mpeg": "MP3",
    "audio/aiff": "AIFF",
}

_UNKNOWN_SAMPLES = 2**62  # a FLAC stream that does not state its length reads as SF_COUNT_MAX, just above

_UNSUPPORTED = (4, 18)  # libsndfile's SF_ERR_UNSUPPORTED_ENCODING and SFE_UNIMPLEMENTED


class DecodeParams(PartParams):
    """Limits of `audio.decode`, and the one threshold of its measures.

    formats: what may be opened.
    max_duration_s: decoding stops there; a bound on work, not on taste (audio.duration has that).
    max_samples: of all channels together; bounds the work where rate and channels are hostile. The default is an
        hour of 48 kHz stereo.
    max_bytes: of the encoded file.
    silence_below_dbfs: a 20 ms frame whose RMS lies below this is silent (for `audio.silence_ratio`).
    """

    formats: tuple[Format, ...] = ("WAV", "FLAC", "OGG", "OPUS", "MP3")
    max_duration_s: float = Field(default=3600.0, gt=0)
    max_samples: int = Field(default=3600 * 48_000 * 2, gt=0)
    max_bytes: int = Field(default=256 * 2**20, gt=0)
    silence_below_dbfs: float = Field(default=-50.0, le=0)


@register("audio.decode", version=1)
class Decode(PartProbe[DecodeParams]):
    """Decodes every audio part to its end with libsndfile, and rejects the parts that do not decode completely.

    Adds part columns: `audio.sample_rate_hz`, `audio.channels`, `audio.duration_s` (decoded samples / rate, whatever
    the header says), `audio.format`, and, over all channels together, `audio.rms_dbfs`, `audio.peak_dbfs` (0 is full
    scale, -180 digital silence), `audio.silence_ratio` (share of 20 ms frames below `silence_below_dbfs`) and
    `audio.clipped_ratio` (share of samples at full scale). Memory is bounded by a block of 1 MB, however long the file.
    """

    Params = DecodeParams
    kind = "audio"
    reasons = frozenset(
        {
            "empty",
            "not_audio",
            "unsupported_format",
            "too_many_bytes",
            "too_long",
            "too_many_samples",
            "no_samples",
            "non_finite",
            "truncated",
            "corrupt",
        }
    )
    fields: ClassVar[tuple[tuple[str, pa.DataType], ...]] = (
        ("audio.sample_rate_hz", pa.int32()),
        ("audio.channels", pa.int32()),
        ("audio.duration_s", pa.float64()),
        ("audio.format", pa.string()),
        ("audio.rms_dbfs", pa.float64()),
        ("audio.peak_dbfs", pa.float64()),
        ("audio.silence_ratio", pa.float64()),
        ("audio.clipped_ratio", pa.float64()),
    )

    def probe(self, data: bytes) -> tuple[Any, ...] | Fault:
        limits = self.params
        if not data:
            return Fault("empty", "0 bytes")
        if len(data) > limits.max_bytes:
            return Fault("too_many_bytes", f"{len(data)} bytes, at most {limits.max_bytes} allowed")
        mime = sniff_mime(data)
        if mime is None or not mime.startswith("audio/"):
            return Fault("not_audio", f"{mime or 'no known signature'}, starts with {data[:12]!r}")
        audio_format = _FORMATS.get(mime)
        if audio_format is None or audio_format not in limits.formats:
            return Fault("unsupported_format", f"{mime}; allowed are {', '.join(limits.formats)}")
        missing = missing_bytes(data, mime)
        if missing:
            return Fault("truncated", f"{missing} bytes are missing after the {len(data)} there are")
        try:
            return self._decode(data, audio_format)
        except soundfile.LibsndfileError as error:
            return Fault("unsupported_format" if error.code in _UNSUPPORTED else "corrupt", error.error_string)

    def _decode(self, data: bytes, audio_format: Format) -> tuple[Any, ...] | Fault:
        limits = self.params
        with Stream(data) as sound:
            rate, channels = sound.samplerate, sound.channels
            if not CREDIBLE_RATE_HZ[0] <= rate <= CREDIBLE_RATE_HZ[1]:
                return Fault("corrupt", f"the header claims a sample rate of {rate} Hz")
            frame_samples = max(1, round(rate * FRAME_S))
            block_samples = frame_samples * max(1, BLOCK_VALUES // (frame_samples * channels))
            levels = Levels(frame_samples, limits.silence_below_dbfs)
            decoded = 0
            while len(block := sound.read(block_samples, dtype="float32", always_2d=True)):
                decoded += len(block)
                if decoded > limits.max_duration_s * rate:
                    return Fault("too_long", f"more than {limits.max_duration_s:g} s")
                if decoded * channels > limits.max_samples:
                    return Fault("too_many_samples", f"more than {limits.max_samples} samples in {channels} channels")
                if not levels.add(block):
                    return Fault("non_finite", f"NaN or infinity in the block before {decoded / rate:.3f} s")
            if not decoded:
                return Fault("no_samples", "a header without audio")
            if audio_format == "FLAC" and _UNKNOWN_SAMPLES > sound.frames > decoded:
                return Fault("truncated", f"{decoded} of {sound.frames} samples")
        return (
            rate,
            channels,
            decoded / rate,
            audio_format,
            levels.rms_dbfs,
            levels.peak_dbfs,
            levels.silence_ratio,
            levels.clipped_ratio,
        )
