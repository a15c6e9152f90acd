"""Runs a function on several ranks, each a process of its own that joins the others as torchrun would have it join.

The processes are forked from one that has imported torch, which takes seconds, once for all tests.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any

import torch

from model.config import ParallelConfig
from model.train.ranks import joined_ranks

PRELOADED = ["model.train.loop", "model.train.parallel", "torch.distributed.checkpoint.hf_storage", "tests.model_data"]
TIMEOUT_S = 300


def start_ranks(
    count: int, function: Callable[..., Any], *arguments: Any, config: ParallelConfig | None = None
) -> list:
    """(process, connection) of each rank: function(ranks, *arguments) runs on it, what it returns or raises is sent."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = []
    for rank in range(count):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        ours, theirs = context.Pipe()
        environment = {name: str(value) for name, value in place.items()}
        process = context.Process(
            target=_work, args=(theirs, environment, config or ParallelConfig(), function, arguments), daemon=True
        )
        process.start()
        theirs.close()
        started.append((process, ours))
    return started


def results(started: list) -> list[Any]:
    """What each rank returned; raises what the first failing one raised."""
    found = []
    for process, connection in started:
        if not connection.poll(TIMEOUT_S):
            raise TimeoutError("a rank does not answer")
        found.append(connection.recv())
        process.join(TIMEOUT_S)
    for result in found:
        if isinstance(result, Exception):
            raise result
    return found


def run_ranks(count: int, function: Callable[..., Any], *arguments: Any, config: ParallelConfig | None = None) -> list:
    """What function(ranks, *arguments) returns on each of `count` ranks."""
    return results(start_ranks(count, function, *arguments, config=config))


def _work(
    connection: Any, environment: dict[str, str], config: ParallelConfig, function: Callable[..., Any], arguments: Any
) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    try:
        with joined_ranks(environment, config) as ranks:
            connection.send(function(ranks, *arguments))
    except Exception as error:
        connection.send(error)
        raise
