"""WebDataset: tar archives in which the members of one sample share a name up to its first dot, and stand together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

from fsspec.core import url_to_fs
from pydantic import Field

from pipeline.sources.base import InputFile, Source, SourceParams, Span
from pipeline.sources.batches import Batches, media_text, without_sentinels
from pipeline.sources.columns import is_text, key_of
from pipeline.sources.objects import Fault, dump_object, parse_object
from pipeline.sources.opening import Damage, chunks, compression_of, open_input
from pipeline.sources.registry import register
from pipeline.sources.tar import Bytes, SeekableBytes, TarReader
from transforms.base import Outcome
from transforms.media import kind_of, media_part, sniff_mime

MAX_MEMBERS = 10_000

_IMAGES = {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "dib", "tif", "tiff", "avif", "heic", "heif"}
_IMAGES |= {"jxl", "jp2", "j2k", "jpx", "ico", "cur", "icns", "ppm", "pgm", "pbm", "pnm", "pcx", "tga", "psd", "sgi"}
_AUDIOS = {"wav", "flac", "mp3", "ogg", "oga", "opus", "m4a", "aac", "aif", "aiff", "aifc", "au", "wma", "amr", "caf"}
_KINDS = dict.fromkeys(_IMAGES, "image") | dict.fromkeys(_AUDIOS, "audio")
_TEXTS = ("txt", "caption")  # the first one there is the sample's text
#: Endings that WebDataset gives other meanings: never looked into for a picture or a sound.
_NEVER_MEDIA = {"cls", "cls2", "index", "inx", "id", "count", "npy", "npz", "pyd", "pickle", "pkl", "pth", "pt", "ten"}
_NEVER_MEDIA |= {"mp", "msg", "cbor", "csv", "tsv"}


class WebDatasetParams(SourceParams):
    """Parameters of the webdataset source."""

    #: the field of a sample's json that is its text when it has no txt or caption; dots reach into nested objects
    caption_key: str | None = None
    #: what a sample must have, or be rejected (`no_text`, `no_image`, `no_audio`)
    require: tuple[Literal["text", "image", "audio"], ...] = ()
    #: a sample with a member larger than this is rejected as `too_long`
    max_member_bytes: int = Field(default=64 * 2**20, gt=0)
    #: and so is one whose members together are larger than this
    max_sample_bytes: int = Field(default=256 * 2**20, gt=0)


@register("webdataset", version=1)
class WebDataset(Source[WebDatasetParams]):
    """Reads tar archives of samples; an uncompressed local one is cut between samples.

    A sample's text is one sentinel per media member, in archive order, then a newline and the txt or caption (or
    `caption_key`); its json is `meta` (a `url` in it becomes the row's), with `__unread__` listing the endings of
    members that are neither. `id` is the key (the path up to the first dot of the base name), `source` the file's
    label, `#`, and the key; what is no sample of its own is `#@BYTE-OFFSET`, a repeated key `#KEY@BYTE-OFFSET`.

    The kind of a media member goes by its ending, else by its bytes; whether the bytes keep the promise is for
    image.decode and audio.decode to say. Nothing is extracted: member names are only names, and bad ones are rejected.
    A sample cut by the end of the archive is rejected; one that ends where the damage begins stands as it is, followed
    by a rejected row for the damage.
    """

    Params = WebDatasetParams
    suffixes = (".tar", ".tar.gz", ".tar.zst", ".tgz")
    reasons = frozenset(
        {"bad_member_name", "unsupported_member", "duplicate_key", "too_long", "no_content", "no_text", "no_image"}
        | {"no_audio", "invalid_utf8", "bad_json", "not_an_object", "truncated", "corrupt", "corrupt_compression"}
    )

    def plan(self, file: InputFile, target_bytes: int) -> list[Span]:
        # Looking for samples in a remote archive would download it all.
        local = getattr(url_to_fs(file.path)[0], "local_file", False)
        if file.size <= target_bytes or compression_of(file.path) or not local:
            return [Span(file)]
        cuts = [0]
        with open_input(file) as handle:
            for _, offset in _keys(handle, file):
                if offset - cuts[-1] >= target_bytes:
                    cuts.append(offset)
        return [Span(file, start, stop) for start, stop in zip(cuts, [*cuts[1:], None], strict=True)]

    def read(self, span: Span, batch_rows: int, batch_bytes: int) -> Iterator[Outcome]:
        rows = Batches(batch_rows, batch_bytes)
        label = span.file.label
        sample: _Sample | None = None
        is_taken = False  # whether the archive stands at a member of `sample`
        with open_input(span.file) as handle:
            # A key is a duplicate wherever in the file its first use is.
            seen = {key for key, _ in _keys(handle, span.file, span.start)} if span.start else set()
            tar = _archive(handle, span.file, span.start)
            try:
                for member in tar:
                    if span.stop is not None and member.offset >= span.stop:
                        break
                    key, ending = _split(member.name)
                    is_taken = key is not None and member.fault is None
                    if member.fault is not None:
                        source = f"{label}#@{member.offset}"
                        rows.reject(source, member.fault.reason, member.fault.detail, member.name)
                    elif key is not None:
                        if sample is None or key != sample.key or member.name in sample.names:
                            self._finish(sample, label, seen, rows)
                            sample = _Sample(key, member.offset)
                        sample.names.add(member.name)
                        self._take(sample, ending, member.size, tar)
                    if rows.full:
                        yield rows.take()
            except Damage as damage:
                if sample is not None and tar.in_member and is_taken and sample.fault is None:
                    sample.fault = Fault(damage.reason, damage.detail)
                else:
                    self._finish(sample, label, seen, rows)
                    sample = None
                    at = (
                        tar.data.position if tar.in_member else tar.offset
                    )  # a bad member has its own row at its offset
                    rows.reject(f"{label}#@{at}", damage.reason, damage.detail, damage.partial)
        self._finish(sample, label, seen, rows)
        if len(rows):
            yield rows.take()

    def _take(self, sample: _Sample, ending: str, size: int, tar: TarReader) -> None:
        """Adds the member the archive stands at to its sample."""
        if sample.fault is not None:
            return
        last = ending.rpartition(".")[2].lower()
        has_text = last in _TEXTS or last == "json"
        kind = _KINDS.get(last)
        most = self.params.max_row_bytes if has_text else self.params.max_member_bytes
        if not has_text and kind is None and (size > most or last in _NEVER_MEDIA):
            sample.unread.append(ending)
            return
        sample.size += size
        if size > most:
            sample.fault = Fault("too_long", f"member {ending!r} has {size} bytes; at most {most}")
        elif sample.size > self.params.max_sample_bytes:
            sample.fault = Fault("too_long", f"its members have more than {self.params.max_sample_bytes} bytes")
        elif len(sample.names) > MAX_MEMBERS:
            sample.fault = Fault("too_long", f"more than {MAX_MEMBERS} members")
        else:
            sample.add(ending, last, kind, tar.read(size))

    def _finish(self, sample: _Sample | None, label: str, seen: set[str], rows: Batches) -> None:
        """Turns a complete sample into a row."""
        if sample is None:
            return
        source = f"{label}#{sample.key}"
        if sample.key in seen:
            detail = f"the key {sample.key!r} stands earlier in the archive, too; a sample's members must be adjacent"
            rows.reject(f"{source}@{sample.offset}", "duplicate_key", detail, sample.excerpt())
            return
        seen.add(sample.key)
        row = sample.fault or self._row(sample)
        if isinstance(row, Fault):
            rows.reject(source, row.reason, row.detail, sample.excerpt(), row_id=sample.key)
        else:
            url, text, meta = row
            rows.keep(sample.key, source, url, text, dump_object(meta), sample.parts)

    def _row(self, sample: _Sample) -> tuple[str | None, str, dict[str, Any]] | Fault:
        meta = parse_object(sample.json) if sample.json is not None else {}
        if isinstance(meta, Fault):
            return Fault(meta.reason, f"in its json: {meta.detail}")
        text = None
        if sample.texts:
            words = sample.texts[min(sample.texts, key=_TEXTS.index)].removeprefix(b"\xef\xbb\xbf")
            try:
                text = words.decode("utf-8")
            except UnicodeDecodeError as error:
                return Fault("invalid_utf8", f"in its text, byte {error.start}: 0x{words[error.start]:02x}")
        elif (key := key_of(self.params.caption_key)) is not None:
            text = key.pop(meta, is_text)
        has = {part["kind"] for part in sample.parts} | ({"text"} if text else set())
        for wanted in self.params.require:
            if wanted not in has:
                return Fault(f"no_{wanted}", f"members: {', '.join(sorted(sample.names))}"[:300])
        if not has:
            return Fault("no_content", f"neither media nor text among {', '.join(sorted(sample.names))}"[:300])
        url = meta.pop("url") if is_text(meta.get("url")) else None
        if sample.unread:
            meta["__unread__"] = sample.unread
        return url, media_text(len(sample.parts), without_sentinels(text or "")), meta


@dataclass(slots=True)
class _Sample:
    """What has been read of one sample; `offset` is where its first member starts."""

    key: str
    offset: int
    size: int = 0
    names: set[str] = field(default_factory=set)
    parts: list[dict[str, Any]] = field(default_factory=list)
    texts: dict[str, bytes] = field(default_factory=dict)
    json: bytes | None = None
    unread: list[str] = field(default_factory=list)
    fault: Fault | None = None

    def add(self, ending: str, last: str, kind: str | None, data: bytes) -> None:
        """Files a member by what it is."""
        if last == "json" and self.json is None:
            self.json = data
        elif last in _TEXTS and last not in self.texts:
            self.texts[last] = data
        elif kind := kind or kind_of(sniff_mime(data)):
            self.parts.append(media_part(len(self.parts), data, kind))
        else:
            self.unread.append(ending)

    def excerpt(self) -> bytes:
        """Something of it for a person to see."""
        return next(iter(self.texts.values()), b"") or self.json or b""


def _archive(handle: BinaryIO, file: InputFile, start: int = 0) -> TarReader:
    plain = compression_of(file.path) is None
    return TarReader(SeekableBytes(handle, file.size, file.path, start) if plain else Bytes(chunks(handle, file)))


def _keys(handle: BinaryIO, file: InputFile, stop: int | None = None) -> Iterator[tuple[str, int]]:
    """Where the samples before `stop` begin; ends quietly where the archive is damaged, which reading reports."""
    current = None
    try:
        for member in _archive(handle, file):
            if stop is not None and member.offset >= stop:
                return
            key, _ = _split(member.name)
            if member.fault is None and key is not None and key != current:
                current = key
                yield key, member.offset
    except Damage:
        return


def _split(name: str) -> tuple[str | None, str]:
    """Key and ending of a member; no key for a hidden name (`.x`, `._x.jpg`), which is passed over."""
    folder, slash, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    return (folder + slash + stem if stem else None), ending
