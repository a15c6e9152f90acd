"""The batches every transform is tried on: empty, null, plain, unicode and control characters, good and bad media."""

from __future__ import annotations

import itertools
from typing import Any

import pyarrow as pa

from schemas.sample import SAMPLE, SAMPLE_COLUMNS, SENTINEL, is_part_field, part_field, sample_batch
from tests.fixtures import media_fixture
from transforms.base import append_columns, append_fields
from transforms.media import media_part
from transforms.signals import compute_signals, signal_field

_PLAIN = [
    "The harbour froze over in January, and for eleven days nothing moved but the gulls.",
    "Der Zug hielt auf freier Strecke. Niemand wusste warum, und niemand fragte.\n\nDann fuhr er weiter.",
    "今日は朝から雨が降っている。傘を持って行かなければならない。",
    "क्या तुमने कल रात का चाँद देखा था? वह बहुत बड़ा और लाल था।",
    "word word word word word word word word word word",
    "- one\n- two\n- three\n...\nRead more...",
    "The harbour froze over in January, and for eleven days nothing moved but the gulls.",
    " ".join(f"Sentence number {at} says that the river rose again and the bridge held." for at in range(60)),
]
_STRANGE = [
    "",
    " \t\n\r\v\f",
    "\x00\x01\x02 control \x7f\x80\x9f",
    "e\u0301 and \u00e9, \u212b and \u00c5, \ufb01 and fi",
    "\u202eright to left override\u202c \u200bzero\u200dwidth\ufeff",
    "👩‍👩‍👧‍👦🏳️‍🌈 \U0001f1e9\U0001f1ea 🫠",
    "\U0010ffff \ufffe \uffff \ufdd0",
    "a" * 5000,
    "ÃƒÂ© mojibake â€œquotesâ€\x9d",
    "\u0e01\u0e33\u0e25\u0e31\u0e07\u0e44\u0e1b\u0e42\u0e23\u0e07\u0e40\u0e23\u0e35\u0e22\u0e19",
    "a\u0300\u0301\u0302\u0303\u0304" * 50,
    "<b>javascript</b> {lorem ipsum} https://example.org/?q=1&r=2",
]
_GOOD_MEDIA = ["png", "jpeg_exif_rotated", "webp", "gif_animated", "png_1x1", "png_wide", "wav", "flac", "wav_silent"]
_BAD_MEDIA = [
    ("jpeg_truncated", "image"),
    ("jpeg_corrupt", "image"),
    ("jpeg_no_frame", "image"),
    ("text_as_jpg", "image"),
    ("empty_file", "image"),
    ("png_bomb", "image"),
    ("wav", "image"),
    ("wav_truncated", "audio"),
    ("wav_nan", "audio"),
    ("flac_corrupt", "audio"),
    ("text_as_wav", "audio"),
    ("empty_file", "audio"),
    ("png", "audio"),
]


def contract_batches() -> dict[str, pa.RecordBatch]:
    """SAMPLE batches by name; ids and sources are unique across a batch."""
    good = [media_row(f"{SENTINEL} {name}", [(name, None)]) for name in _GOOD_MEDIA]
    good.append(media_row(f"a {SENTINEL} b {SENTINEL} c {SENTINEL} d", [("png", None), ("wav", None), ("png", None)]))
    good.append({"text": "between the media rows, one without"})
    bad = [media_row(f"{name} as {kind}: {SENTINEL}", [(name, kind)]) for name, kind in _BAD_MEDIA]
    bad.append(media_row(f"{SENTINEL}{SENTINEL}{SENTINEL}", [("png_corrupt", None), ("png", None), ("wav_nan", None)]))
    bad.append({"text": ""})
    return {
        "empty": sample_batch([]),
        "nulls": numbered([{"text": "", "url": None}, {"text": "x", "url": None}, {"text": _PLAIN[0], "url": None}]),
        "plain": numbered([{"text": text, "url": f"https://example.org/{at}"} for at, text in enumerate(_PLAIN)]),
        "unicode": numbered([{"text": text} for text in _STRANGE]),
        "good media": numbered(good),
        "broken media": numbered(bad),
    }


def media_row(text: str, media: list[tuple[str, str | None]]) -> dict[str, Any]:
    """A row's text and media; `media` lists (fixture, kind or None to sniff it)."""
    return {"text": text, "media": [media_part(at, media_fixture(name), kind) for at, (name, kind) in enumerate(media)]}


def numbered(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """A SAMPLE batch of rows that lack id and source."""
    return sample_batch([{"id": f"row-{at}", "source": f"conformance#{at}"} | row for at, row in enumerate(rows)])


def prepare(batch: pa.RecordBatch, transform: Any, after: list[Any]) -> pa.RecordBatch:
    """The batch as `transform` would meet it in a recipe: through the steps `after`, with the signals it reads."""
    for step in [*after, transform]:
        signals = step.signals() if hasattr(step, "signals") else ()
        batch = compute_signals(batch, signals)
        if not batch.num_rows:
            # compute_signals types its columns from the values, so an empty batch is given the fields outright
            batch = pa.RecordBatch.from_pylist([], schema=append_fields(batch.schema, [*map(signal_field, signals)]))
        if step is not transform:
            batch = step.apply(batch).kept
    return batch


def nulled(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with every computed column null (part columns: null for every part), signals aside.

    A step may leave a column null, where it does not apply; whoever reads it must not fall over.
    """
    columns = []
    lengths = [len(media) for media in batch.column("media").to_pylist()]
    for field in batch.schema:
        if field.name in SAMPLE_COLUMNS or field.name.startswith("signal."):
            continue
        if is_part_field(field):
            columns.append((part_field(field.name, field.type.value_type), [[None] * count for count in lengths]))
        else:
            columns.append((field, pa.nulls(batch.num_rows, field.type)))
    return append_columns(batch, columns)


def with_columns(batch: pa.RecordBatch, rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """The batch with the columns that `rows` name beyond SAMPLE's, their values repeated as often as it takes.

    `image.*` and `audio.*` are part columns, of one value a media part. Columns without any value are float64.
    """
    columns = []
    lengths = [len(media) for media in batch.column("media").to_pylist()]
    for name in dict.fromkeys(name for row in rows for name in row if name not in SAMPLE.names):
        given = [row.get(name) for row in rows]
        is_part = name.startswith(("image.", "audio."))
        if is_part:
            given = [value for row in given for value in row or []] or [None]
        dtype = pa.array(given).type
        dtype = pa.float64() if pa.types.is_null(dtype) else dtype
        values = itertools.cycle(given)
        if is_part:
            column = [list(itertools.islice(values, count)) for count in lengths]
            columns.append((part_field(name, dtype), column))
        else:
            columns.append((pa.field(name, dtype), list(itertools.islice(values, batch.num_rows))))
    return append_columns(batch, columns)
