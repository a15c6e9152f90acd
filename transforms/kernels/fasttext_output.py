"""fastText's output layers, to the last bit: hierarchical softmax, softmax, one-vs-all; and the k best of them.

The library works in float32 with a few steps in float64 (`Loss`, arXiv 1607.01759 section 2.1); every rounding is
repeated here, and `exp` and `log` are the C library's, as there. Its scores are exp(log(p + 0.00001)).
"""

# mypy: allow-untyped-defs, disable-error-code="assignment"
# The types of kernels' arguments are numba's to infer; docstrings give dtypes and shapes.
from __future__ import annotations

import math

import numpy as np

from transforms.kernels.compiled import entry_point, kernel

HIERARCHICAL_SOFTMAX, NEGATIVE_SAMPLING, SOFTMAX, ONE_VS_ALL = range(1, 5)

_SIGMOIDS = 512
_ONE = np.float32(1)
_MAX = np.float32(8)
_STEPS = np.float32(_SIGMOIDS)


@entry_point
def fill_sigmoids(table):
    """The library's table of the logistic function from -8 to 8, float32 [513]."""
    for at in range(len(table)):
        x = np.float32(at * 16) / _STEPS - _MAX
        table[at] = 1.0 / (1.0 + np.float64(math.exp(-x)))


@kernel
def best(hidden, weights, norms, loss, tree, sigmoids, labels, scores):
    """Fills `labels` and `scores`, [k], with the best ones first; what is beyond the last of them is left as it is."""
    k = len(labels)
    heap_scores = np.empty(k + 1, np.float32)
    heap_labels = np.empty(k + 1, np.int32)
    if loss == HIERARCHICAL_SOFTMAX:
        n = _search_tree(hidden, weights, norms, tree, k, heap_scores, heap_labels)
    else:
        outputs = _outputs(hidden, weights, norms)
        if loss == SOFTMAX:
            _softmax(outputs)
        else:
            for at in range(len(outputs)):
                outputs[at] = _sigmoid(outputs[at], sigmoids)
        n = 0
        for at in range(len(outputs)):
            if outputs[at] >= 0:
                n = _offer(_log(np.float64(outputs[at])), at, k, n, heap_scores, heap_labels)
    size = n
    while size > 1:
        _pop(heap_scores, heap_labels, size)
        size -= 1
    for at in range(n):
        labels[at] = heap_labels[at]
        scores[at] = math.exp(heap_scores[at])


@kernel
def _log(x):
    return np.float32(math.log(x + 1e-5))


@kernel
def _outputs(hidden, weights, norms):
    """The products of all labels' weights with `hidden`, each summed up in the order of the dimensions."""
    outputs = np.zeros(len(norms), np.float32)
    for k in range(len(hidden)):
        factor = hidden[k]
        row = weights[k]
        for at in range(len(outputs)):
            outputs[at] += row[at] * factor
    for at in range(len(outputs)):
        outputs[at] *= norms[at]
    return outputs


@kernel
def _softmax(outputs):
    most = outputs[0]
    for at in range(len(outputs)):
        most = max(outputs[at], most)
    total = np.float32(0)
    for at in range(len(outputs)):
        outputs[at] = math.exp(np.float64(outputs[at] - most))
        total += outputs[at]
    for at in range(len(outputs)):
        outputs[at] /= total


@kernel
def _sigmoid(x, sigmoids):
    if x > _MAX:
        return _ONE
    if x >= -_MAX:
        return sigmoids[np.int64((x + _MAX) * _STEPS / _MAX / np.float32(2))]
    return np.float32(0)


@kernel
def _search_tree(hidden, weights, norms, tree, k, heap_scores, heap_labels):
    """Walks the Huffman tree, left before right, past what cannot be among the k best; gives how many it found."""
    num_labels = len(norms)
    nodes = np.empty(num_labels + 1, np.int32)
    logs = np.empty(num_labels + 1, np.float32)
    nodes[0] = 2 * num_labels - 2
    logs[0] = 0
    pending = 1
    n = 0
    least = _log(0.0)
    while pending:
        pending -= 1
        node, score = nodes[pending], logs[pending]
        if not score >= least or (n == k and score < heap_scores[0]):
            continue
        if tree[node, 0] < 0:
            n = _offer(score, node, k, n, heap_scores, heap_labels)
            continue
        weight = weights[node - num_labels]
        total = np.float32(0)
        for at in range(len(hidden)):
            total += hidden[at] * weight[at]
        total *= norms[node - num_labels]
        right = np.float32(1.0 / np.float64(_ONE + math.exp(-total)))
        nodes[pending] = tree[node, 1]
        logs[pending] = score + _log(np.float64(right))
        nodes[pending + 1] = tree[node, 0]
        logs[pending + 1] = score + _log(np.float64(np.float32(1.0 - np.float64(right))))
        pending += 2
    return n


# A heap whose first is the least, moved as libstdc++ moves its own: which of equal scores stays depends on it.


@kernel
def _offer(score, label, k, n, scores, labels):
    """Adds a pair to a heap of n, and takes the least out of one of more than k; gives the number in it."""
    if n == k and score < scores[0]:
        return n
    _rise(scores, labels, n, score, label)
    if n < k:
        return n + 1
    _pop(scores, labels, n + 1)
    return n


@kernel
def _rise(scores, labels, hole, score, label):
    parent = (hole - 1) // 2
    while hole > 0 and scores[parent] > score:
        scores[hole], labels[hole] = scores[parent], labels[parent]
        hole, parent = parent, (parent - 1) // 2
    scores[hole], labels[hole] = score, label


@kernel
def _pop(scores, labels, size):
    """Moves the least of `size` pairs behind the others."""
    score, label = scores[size - 1], labels[size - 1]
    scores[size - 1], labels[size - 1] = scores[0], labels[0]
    size -= 1
    hole = child = 0
    while child < (size - 1) // 2:
        child = 2 * (child + 1)
        if scores[child] > scores[child - 1]:
            child -= 1
        scores[hole], labels[hole] = scores[child], labels[child]
        hole = child
    if size % 2 == 0 and size > 0 and child == (size - 2) // 2:
        child = 2 * (child + 1)
        scores[hole], labels[hole] = scores[child - 1], labels[child - 1]
        hole = child - 1
    _rise(scores, labels, hole, score, label)
