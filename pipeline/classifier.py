"""A classifier from files: rows are drawn by hash(seed, id), as many of either label, and a tenth of them held out.

Files are read twice, whatever their size: once for the draw, once for the rows drawn. Those go to a temporary folder,
their features too (4 bytes a token and n-gram), and training maps these. So memory holds the table of vectors, the
words (MAX_WORDS of them at most) and about 50 bytes a row drawn.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

from pipeline.progress import Listener
from pipeline.reading import read_kept, unread_lines
from pipeline.sources.base import Source
from pipeline.storage import committed, map_arrow, write_arrow
from schemas.errors import SluiceError
from transforms.select.sample import draw
from transforms.text.classifier import ClassifierParams, Lines, train_classifier
from transforms.text.classifier_report import Report, report
from transforms.text.classifier_words import Vocabulary, WordCounts, one_line

#: of the rows drawn, one in so many is held out
_HELD_OUT = 10
_DRAWN = pa.schema([("line", pa.large_string()), ("draw", pa.uint64()), ("second_draw", pa.uint64())])


@dataclass(frozen=True, slots=True)
class Corpus:
    """Where the rows of a label are."""

    label: str
    source: Source


@dataclass(frozen=True, slots=True)
class Trained:
    """What held-out rows say of a new classifier, and by reason how many rows could not be read."""

    report: Report
    unread: dict[str, int]


def classifier_from_files(
    corpora: tuple[Corpus, Corpus],
    params: ClassifierParams,
    max_rows: int,
    out: Path,
    listener: Listener,
) -> Trained:
    """Trains on the rows of two labels, the positive one first, writes `out`, and reports on the rows held out.

    Of either label as many rows are drawn as the other has, at most `max_rows`; blank rows do not count. When every row
    has an id of its own, neither the order of files nor of rows changes anything. `listener` hears of the training.
    Raises SluiceError when a label has too few rows, the table of vectors does not fit memory, or training diverges.
    """
    unread: Counter[str] = Counter()
    limits = _limits(corpora, params.seed, max_rows, unread)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        counts = WordCounts()
        drawn = [Path(folder) / f"{number}.arrow" for number in range(len(corpora))]
        for path, corpus, limit in zip(drawn, corpora, limits, strict=True):
            write_arrow(path, _DRAWN, _drawn(corpus, params.seed, limit, counts))
        vocabulary = counts.vocabulary(params.min_count)
        _check_memory(params, len(vocabulary))
        lines = _lines(drawn, vocabulary, params, Path(folder) / "features")
        held_out = [_held_out(path) for path in drawn]
        learned = np.argsort(_column(drawn, "draw"), kind="stable")
        learned = learned[~np.concatenate(held_out)[learned]]
        labels = tuple(corpus.label for corpus in corpora)
        made = train_classifier(params, vocabulary, labels, lines, learned, partial(listener, "training"))
        rows = np.flatnonzero(np.concatenate(held_out))
        scores = made.scores(lines, rows)[:, 0]
    with committed(out) as temporary, temporary.open("wb") as file:
        for part in made.file():
            file.write(part)
    found = report(scores[lines.labels[rows] == 0], scores[lines.labels[rows] == 1])
    return Trained(found, dict(unread))


def _rows(source: Source, unread: Counter[str] | None = None) -> Iterator[tuple[list[str], list[str]]]:
    """(ids, lines) of the rows with text, batch by batch."""
    for batch in read_kept(source, unread):
        lines = [one_line(text) for text in batch.column("text").to_pylist()]
        rows = [(name, line) for name, line in zip(batch.column("id").to_pylist(), lines, strict=True) if line]
        if rows:
            yield [name for name, _ in rows], [line for _, line in rows]


def _limits(corpora: tuple[Corpus, Corpus], seed: int, max_rows: int, unread: Counter[str]) -> list[int]:
    """The greatest draw that is taken of either label, so that both have as many rows."""
    smallest = []
    for corpus in corpora:
        found = np.empty(0, np.uint64)
        unread_here: Counter[str] = Counter()
        for ids, _ in _rows(corpus.source, unread_here):
            found = np.concatenate([found, np.asarray([draw(name, seed) for name in ids], np.uint64)])
            if len(found) > 2 * max_rows:
                found = np.partition(found, max_rows)[:max_rows]
        smallest.append(np.sort(found)[:max_rows])
        unread.update(unread_here)
        if len(found) < 2:
            raise SluiceError(
                f"{len(found)} rows with text for label {corpus.label!r} in"
                f" {', '.join([*corpus.source.params.paths, *unread_lines(unread_here)])}; a classifier needs at least"
                " 2. Are the paths, --source and --column right?"
            )
    taken = min(map(len, smallest))
    return [int(found[taken - 1]) for found in smallest]


def _drawn(corpus: Corpus, seed: int, limit: int, counts: WordCounts) -> Iterator[pa.RecordBatch]:
    """The rows whose draw is within the limit, counted; the second draw says who is held out."""
    for ids, lines in _rows(corpus.source):
        taken = [
            (line, first, draw(name, seed + 1))
            for name, line in zip(ids, lines, strict=True)
            if (first := draw(name, seed)) <= limit
        ]
        if taken:
            counts.add(line for line, _, _ in taken)
            yield pa.record_batch([list(column) for column in zip(*taken, strict=True)], schema=_DRAWN)


def _column(drawn: list[Path], name: str) -> np.ndarray:
    return np.concatenate([batch.column(name).to_numpy() for path in drawn for batch in map_arrow(path)])


def _held_out(path: Path) -> np.ndarray:
    """Which rows of a label are held out, bool: a tenth, at least one."""
    draws = _column([path], "second_draw")
    held_out = np.zeros(len(draws), bool)
    held_out[np.argsort(draws, kind="stable")[: max(1, len(draws) // _HELD_OUT)]] = True
    return held_out


def _check_memory(params: ClassifierParams, num_words: int) -> None:
    needed, free = params.table_bytes(num_words), psutil.virtual_memory().available
    if needed > free:
        raise SluiceError(
            f"{needed // (4 * params.dim):,} vectors of {params.dim} numbers take {needed:,} bytes, and {free:,} are"
            " free; lower --dim or --buckets, or raise --min-count"
        )


def _lines(drawn: list[Path], vocabulary: Vocabulary, params: ClassifierParams, path: Path) -> Lines:
    """All drawn rows, label by label, as features in the file `path`, mapped."""
    sizes, tokens, labels = [np.zeros(1, np.int64)], [], []
    with path.open("wb") as file:
        for label, batches in enumerate(map(map_arrow, drawn)):
            for batch in batches:
                features, bounds, words = vocabulary.features(batch.column("line"), params.word_ngrams, params.buckets)
                file.write(features.data)
                sizes.append(np.diff(bounds))
                tokens.append(words)
                labels.append(np.full(len(words), label, np.int32))
    if not path.stat().st_size:
        raise SluiceError(f"no word was seen {params.min_count} times, so there is nothing to learn; lower --min-count")
    return Lines(
        np.asarray(np.memmap(path, np.int32, "r")),
        np.cumsum(np.concatenate(sizes)),
        np.concatenate(tokens),
        np.concatenate(labels),
    )
