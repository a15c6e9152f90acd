"""fastText's supervised classifier (Joulin et al. 2016, arXiv 1607.01759; fastText 0.9.2): features, training, scores.

A line is the mean of the vectors of its features, which are its words and hashed n-grams of them; a softmax over the
labels follows. Arithmetic is in float32, in order, so the same input gives the same bytes.
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import math

import numpy as np

from transforms.kernels.compiled import kernel
from transforms.kernels.fasttext_words import FNV, equal, step
from transforms.kernels.hashing import FACTOR, mixed

_GRAM_FACTOR = np.uint64(116049371)
_SPARE_BITS = np.uint64(40)  # a float32 holds 24


@kernel
def word_hash(data, start, stop):
    """The hash that fastText knows a word by."""
    code = FNV
    for at in range(start, stop):
        code = step(code, data[at])
    return code


@kernel
def _find(data, start, stop, hashed, pool, bounds, table):
    """(the word data[start:stop] or -1, the table's slot where it is or belongs)."""
    slot = np.int64(hashed) % len(table)
    while table[slot] >= 0:
        first = bounds[table[slot]]
        if equal(data, start, stop - start, pool, first, bounds[table[slot] + 1] - first):
            break
        slot = (slot + 1) % len(table)
    return table[slot], slot


@kernel
def word_table(pool, bounds, table):
    """Files the words pool[bounds[k]:bounds[k + 1]] in `table`, int32 of -1, more slots than words."""
    for word in range(len(bounds) - 1):
        hashed = word_hash(pool, bounds[word], bounds[word + 1])
        table[_find(pool, bounds[word], bounds[word + 1], hashed, pool, bounds, table)[1]] = word


@kernel
def _starts_with(data, start, stop, prefix):
    if stop - start < len(prefix):
        return False
    for k in range(len(prefix)):
        if data[start + k] != prefix[k]:
            return False
    return True


@kernel
def features(data, offsets, pool, bounds, table, word_ngrams, buckets, label_prefix, line_end):
    """(features of all rows int32, their bounds int64 [rows + 1], tokens int64 [rows]).

    data: uint8, offsets: int64 [rows + 1], one line a row; pool, bounds, table: the vocabulary; label_prefix and
    line_end: uint8, as fastText spells them. A word's feature is its number; that of an n-gram lies behind them. A
    token that looks like a label is no word, and one that looks like a line's end ends it. `tokens` are the words and
    the line's end.
    """
    made = np.empty(1 << 12, np.int32)
    ends = np.zeros(len(offsets), np.int64)
    tokens = np.zeros(len(offsets) - 1, np.int64)
    hashes = np.empty(1 << 10, np.uint64)
    num_words = len(bounds) - 1
    count = 0
    for row in range(len(offsets) - 1):
        at, stop = offsets[row], offsets[row + 1]
        most = (stop - at) // 2 + 2
        if most > len(hashes):
            hashes = np.empty(2 * most, np.uint64)
        if count + most * word_ngrams > len(made):
            grown = np.empty(2 * (count + most * word_ngrams), np.int32)
            grown[:count] = made[:count]
            made = grown
        n = 0
        done = False
        while not done:
            while at < stop and _separates(data[at]):
                at += 1
            end = at
            while end < stop and not _separates(data[end]):
                end += 1
            done = end == at or (end - at == len(line_end) and _starts_with(data, at, end, line_end))
            if done:
                hashed = word_hash(line_end, 0, len(line_end))
                word, _ = _find(line_end, 0, len(line_end), hashed, pool, bounds, table)
            else:
                hashed = word_hash(data, at, end)
                word, _ = _find(data, at, end, hashed, pool, bounds, table)
            if done or not _starts_with(data, at, end, label_prefix):
                # a hash is kept as int32, and widened with its sign
                hashes[n] = np.uint64(np.int64(np.int32(hashed)))
                n += 1
                if word >= 0:
                    made[count] = word
                    count += 1
            at = end
        if buckets > 0:
            for first in range(n):
                gram = hashes[first]
                for k in range(first + 1, min(n, first + word_ngrams)):
                    gram = gram * _GRAM_FACTOR + hashes[k]
                    made[count] = num_words + np.int64(gram % np.uint64(buckets))
                    count += 1
        ends[row + 1] = count
        tokens[row] = n
    return made[:count], ends, tokens


@kernel
def _separates(byte):
    """White space of ASCII, and NUL."""
    return byte == 0x20 or 0x09 <= byte <= 0x0D or byte == 0


@kernel
def uniform(seed, bound, out):
    """Fills `out`, float32, with numbers of [-bound, bound): the k-th depends on the seed and k alone."""
    for at in range(len(out)):
        drawn = mixed(np.uint64(seed) + np.uint64(at) * FACTOR) >> _SPARE_BITS
        out[at] = (np.float32(drawn) * np.float32(2.0**-23) - np.float32(1)) * bound


@kernel
def _forward(row_features, inputs, outputs, hidden, chances):
    """The mean of the features' vectors into `hidden`, the labels' probabilities into `chances`."""
    hidden[:] = 0
    for feature in row_features:
        for k in range(len(hidden)):
            hidden[k] += inputs[feature, k]
    share = np.float32(1) / np.float32(len(row_features))
    for k in range(len(hidden)):
        hidden[k] *= share
    top = np.float32(-np.inf)
    for label in range(len(outputs)):
        total = np.float32(0)
        for k in range(len(hidden)):
            total += outputs[label, k] * hidden[k]
        chances[label] = total
        top = max(top, total)
    total = np.float32(0)
    for label in range(len(outputs)):
        # in float64, as C reads `exp` of a float there; in float32 it is another number in the last bit
        chances[label] = np.float32(math.exp(np.float64(chances[label] - top)))
        total += chances[label]
    for label in range(len(outputs)):
        chances[label] /= total


@kernel
def train(features, bounds, labels, order, rates, inputs, outputs):
    """One step of gradient descent for each row of `order`.

    features: int32, bounds: int64 [rows + 1]; labels: int32 [rows]; order: int64 [steps]; rates: float32 [steps];
    inputs: float32 [words + buckets, dim] and outputs: float32 [labels, dim] are changed. As in fastText, a feature's
    vector gets the gradient of the mean divided by their number.
    """
    hidden = np.empty(inputs.shape[1], np.float32)
    gradient = np.empty(inputs.shape[1], np.float32)
    chances = np.empty(len(outputs), np.float32)
    for at in range(len(order)):
        row = order[at]
        mine = features[bounds[row] : bounds[row + 1]]
        if len(mine) == 0:
            continue
        _forward(mine, inputs, outputs, hidden, chances)
        gradient[:] = 0
        for label in range(len(outputs)):
            wanted = np.float32(1) if label == labels[row] else np.float32(0)
            alpha = rates[at] * (wanted - chances[label])
            for k in range(len(hidden)):
                gradient[k] += alpha * outputs[label, k]
                outputs[label, k] += alpha * hidden[k]
        share = np.float32(1) / np.float32(len(mine))
        for k in range(len(gradient)):
            gradient[k] *= share
        for feature in mine:
            for k in range(len(gradient)):
                inputs[feature, k] += gradient[k]


@kernel
def predict(features, bounds, rows, inputs, outputs, chances):
    """Fills `chances`, float32 [len(rows), labels], with the probabilities of these rows; NaN without features."""
    hidden = np.empty(inputs.shape[1], np.float32)
    for at in range(len(rows)):
        row = rows[at]
        if bounds[row + 1] > bounds[row]:
            _forward(features[bounds[row] : bounds[row + 1]], inputs, outputs, hidden, chances[at])
        else:
            chances[at] = np.nan
