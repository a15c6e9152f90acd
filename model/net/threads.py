"""Compiled loops on tensors: what they see of a tensor, and how rows are spread over threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

#: values that make another thread worth its start
VALUES_A_THREAD = 1 << 18


def array(tensor: Tensor) -> np.ndarray:
    """The memory of a CPU tensor, bfloat16 as uint16."""
    tensor = tensor.detach()
    # not tensor.numpy(): it pins the storage for good, which sharded training frees between steps
    return np.from_dlpack(tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor)


def over_rows(kernel: Callable[..., None], rows: int, block: int, values: int, *arguments: object) -> None:
    """Calls `kernel(first, last, *arguments)` on all rows, on torch's number of threads when there is enough to do.

    `values` says how much that is; a thread gets whole blocks of so many rows.
    """
    threads = min(torch.get_num_threads(), values // VALUES_A_THREAD)
    if threads < 2:
        kernel(0, rows, *arguments)
        return
    blocks = -(-rows // block)
    ends = [min(rows, blocks * k // threads * block) for k in range(threads + 1)]
    ends[-1] = rows
    jobs = [_pool(os.getpid()).submit(kernel, *span, *arguments) for span in pairwise(ends[1:])]
    kernel(ends[0], ends[1], *arguments)
    for job in jobs:
        job.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of a process: a forked one has none of its parent's."""
    return ThreadPoolExecutor(max_workers=64, thread_name_prefix="rows")
