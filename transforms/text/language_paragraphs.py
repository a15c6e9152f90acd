"""The languages of a text's paragraphs, and how much of the text is in each."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from transforms.columns import utf8
from transforms.text.fasttext_model import FastText

_NEWLINE = ord("\n")


def by_paragraph(model: FastText, text: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(label of most characters or -1, its mean score by characters, its share of the characters), each [rows].

    A paragraph is a line; those without words or label do not count. Of equally many characters the label that the
    model has first wins.
    """
    num_rows = len(text)
    labels = np.full(num_rows, -1, np.int32)
    scores, shares = np.zeros(num_rows), np.zeros(num_rows)
    data, offsets = utf8(text)
    data = data[: offsets[-1]]
    newlines = np.flatnonzero(data[offsets[0] :] == _NEWLINE) + offsets[0]
    starts = np.union1d(offsets[:-1], newlines + 1)
    starts = starts[starts < offsets[-1]]
    if not len(starts):
        return labels, scores, shares
    found = model.predict_spans(data, starts, np.append(starts[1:], offsets[-1]), unicode_spaces=True)
    # A character is counted at its first byte.
    num_chars = np.add.reduceat((data & 0xC0 != 0x80) & (data != _NEWLINE), starts, dtype=np.int64)
    counts = (found.num_words > 0) & (found.labels[:, 0] >= 0)
    row = np.searchsorted(offsets, starts[counts], side="right") - 1
    label, num_chars = found.labels[counts, 0].astype(np.int64), num_chars[counts]
    score = np.minimum(found.scores[counts, 0].astype(np.float64), 1.0)
    groups, group = np.unique(row * len(model.labels) + label, return_inverse=True)
    chars = np.bincount(group, num_chars)
    rows, of_group = np.divmod(groups, len(model.labels))
    order = np.lexsort((of_group, -chars, rows))
    rows, first = np.unique(rows[order], return_index=True)
    best = order[first]
    labels[rows] = of_group[best]
    scores[rows] = (np.bincount(group, num_chars * score) / chars)[best]
    shares[rows] = chars[best] / np.bincount(row, num_chars, num_rows)[rows]
    return labels, scores, shares
