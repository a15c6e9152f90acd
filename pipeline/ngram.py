"""An n-gram model from files: rows are drawn by hash(seed, id) when there is too much text.

Files are read twice, or three times when a tenth of the rows is held out for the cut-offs. Memory holds what training
takes (NgramParams.max_bytes) and 16 bytes a row of the files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.progress import Listener
from pipeline.reading import read_kept, unread_lines
from pipeline.sources.base import Source
from pipeline.storage import write_arrow
from schemas.errors import SluiceError
from transforms.select.sample import draw
from transforms.text.ngram_count import WordNumbers
from transforms.text.ngram_model import NgramModel, new_model
from transforms.text.ngram_train import NgramParams, train_ngrams

#: of the rows drawn, one in so many is held out when no others are given to take cut-offs of
_HELD_OUT = 10
_MIN_ROWS = 3
#: of training, for a byte of text
_MEMORY_PER_BYTE = 40


@dataclass(frozen=True, slots=True)
class Trained:
    """A new model, what it was made of, and by reason how many rows could not be read."""

    model: NgramModel
    cutoffs: tuple[float, float]
    num_tokens: int
    num_judged: int
    unread: dict[str, int]


def ngram_from_files(
    source: Source, judged: Source | None, lang: str, params: NgramParams, out: Path, listener: Listener
) -> Trained:
    """Trains on the rows of `source` and writes `out`. The cut-offs are the terciles of the perplexity of the rows of
    `judged`, or of those held out. Raises SluiceError when there is too little text for either.

    CCNet trains on Wikipedia and takes the terciles of crawled pages, so that a third of the pages is in each bucket.
    """
    unread: Counter[str] = Counter()
    limit = _limit(source, params, unread)

    def is_drawn(name: str) -> bool:
        return draw(name, params.seed) <= limit and (judged is not None or not _is_held_out(name, params.seed))

    def is_judged(name: str) -> bool:
        return judged is not None or (draw(name, params.seed) <= limit and _is_held_out(name, params.seed))

    listener("reading", 0, 1)
    numbers = WordNumbers()
    for texts in _chosen(source, is_drawn, params.max_bytes):
        numbers.add(texts)
    words, sequence = numbers.finish(params.min_word_count)
    listener("reading", 1, 1)
    if not words:
        where = ", ".join([*source.params.paths, *unread_lines(unread)])
        raise SluiceError(
            f"no word occurs {params.min_word_count} times in {where}; give more text, lower --min-word-count, or raise"
            " --max-bytes. Are the paths, --source and --column right?"
        )
    listener("counting", 0, 1)
    model = new_model(lang, words, train_ngrams(sequence, params))
    listener("counting", 1, 1)
    found = [model.perplexities(texts) for texts in _chosen(judged or source, is_judged, params.max_bytes)]
    perplexities = np.concatenate([np.empty(0), *found])
    perplexities = perplexities[~np.isnan(perplexities)]
    if len(perplexities) < _MIN_ROWS:
        raise SluiceError(
            f"{len(perplexities)} rows with text to take terciles of; give more rows, or others with --terciles-of"
        )
    head, middle = np.quantile(perplexities, (1 / 3, 2 / 3)).tolist()
    model = model.with_cutoffs(head, middle)
    table = model.table()
    write_arrow(out, table.schema, iter(table.to_batches()))
    return Trained(model, (head, middle), len(sequence), len(perplexities), dict(unread))


def _limit(source: Source, params: NgramParams, unread: Counter[str]) -> int:
    """The greatest draw that is taken: all rows when they fit `max_bytes`. Raises SluiceError when memory is short."""
    sizes = [np.empty((0, 2), np.uint64)]
    for batch in _fitting(read_kept(source, unread), params.max_bytes):
        drawn = [draw(name, params.seed) for name in batch.column("id").to_pylist()]
        lengths = pc.binary_length(batch.column("text")).to_numpy(zero_copy_only=False)
        sizes.append(np.stack([np.asarray(drawn, np.uint64), lengths.astype(np.uint64)], axis=1))
    rows = np.concatenate(sizes)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    total = np.cumsum(rows[:, 1])
    fit = int(np.searchsorted(total, params.max_bytes, side="right"))
    if not fit:
        return 0
    needed, free = _MEMORY_PER_BYTE * int(total[fit - 1]), psutil.virtual_memory().available
    if needed > free:
        raise SluiceError(
            f"training on {int(total[fit - 1]):,} bytes of text takes about {needed:,} bytes of memory, and {free:,}"
            f" are free; lower --max-bytes, to {free // _MEMORY_PER_BYTE:,} or less"
        )
    return int(rows[fit - 1, 0])


def _fitting(batches: Iterator[pa.RecordBatch], max_bytes: int) -> Iterator[pa.RecordBatch]:
    """The batches without rows that alone are longer than `max_bytes`."""
    for batch in batches:
        yield batch.filter(pc.less_equal(pc.binary_length(batch.column("text")), max_bytes))


def _is_held_out(name: str, seed: int) -> bool:
    return draw(name, seed + 1) % _HELD_OUT == 0


def _chosen(source: Source, wanted: Callable[[str], bool], max_bytes: int) -> Iterator[pa.Array]:
    """The texts of the rows whose id is wanted, batch by batch."""
    for batch in _fitting(read_kept(source), max_bytes):
        mask = pa.array([wanted(name) for name in batch.column("id").to_pylist()], pa.bool_())
        yield batch.column("text").filter(mask)
