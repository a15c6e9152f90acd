"""The processes that share a run: who they are, on which device, and what they tell each other.

A run of one process is one rank without a process group, and everything here then costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from model.config import ParallelConfig
from schemas.errors import SluiceError

T = TypeVar("T")

#: what gloo and NCCL say when a peer is gone, in errors that have no class of their own
_SIGNS = ("gloo", "Gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")


@dataclass(frozen=True)
class Ranks:
    """This process is number `rank` of `count`; number 0 speaks, and writes what there is one of."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    config: ParallelConfig = field(default_factory=ParallelConfig)
    #: DeviceMesh ("expert", "data"): the ranks of a row hold the same experts, those of a column all of a layer's
    mesh: Any = None
    #: a process group of all ranks that checkpoints have to themselves, since they are written in the background
    background: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def sum(self, x: Tensor) -> Tensor:
        """The sum of `x` over all ranks, equal on all of them to the bit."""
        return self._reduced(x, dist.ReduceOp.SUM)

    def largest(self, x: Tensor) -> Tensor:
        """The element-wise maximum of `x` over all ranks."""
        return self._reduced(x, dist.ReduceOp.MAX)

    def _reduced(self, x: Tensor, operation: Any) -> Tensor:
        if self.count == 1:
            return x
        x = x.clone()
        dist.all_reduce(x, operation)
        return x

    def any(self, claim: bool) -> bool:
        """Whether `claim` holds on a rank."""
        return bool(self.largest(torch.tensor(claim, dtype=torch.uint8)))

    def union(self, things: Sequence[T]) -> list[T]:
        """What the ranks have, the first one's first, each thing once."""
        if self.count == 1:
            return list(things)
        said: list[Any] = [None] * self.count
        dist.all_gather_object(said, list(things))
        return list(dict.fromkeys(thing for own in said for thing in own))

    def on_first(self, act: Callable[[], T]) -> T:
        """What `act` returns on the first rank, on every rank; a SluiceError or OSError of it is raised on each."""
        if self.count == 1:
            return act()
        said: list[Any] = [_outcome(act) if self.is_first else None]
        dist.broadcast_object_list(said, src=0, device=torch.device("cpu"))
        return _unpacked(*said[0])

    def together(self, act: Callable[[], T]) -> T:
        """What `act` returns on this rank; when it fails on some, the first such rank's error is raised on every rank.

        So no rank waits for one that has given up. `act` must not talk to other ranks.
        """
        if self.count == 1:
            return act()
        value, error = _outcome(act)
        errors: list[Any] = [None] * self.count
        dist.all_gather_object(errors, error)
        return _unpacked(value, next((e for e in errors if e is not None), None))


def local(tensor: Tensor) -> Tensor:
    """What this rank holds of a tensor, as a view; of a plain one, all of it."""
    part: Any = getattr(tensor, "to_local", None)
    return tensor if part is None else part()


def exchange(rows: Tensor, sent: Sequence[int], received: Sequence[int], group: Any = None) -> Tensor:
    """Rows [sum(sent), …], the first sent[0] of them for rank 0 of the group and so on -> [sum(received), …]."""
    out = rows.new_empty((sum(received), *rows.shape[1:]))
    dist.all_to_all_single(out, rows.contiguous(), list(received), list(sent), group=group)
    return out


def _outcome(act: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return act(), None
    except (SluiceError, OSError) as error:
        return None, error


def _unpacked(value: Any, error: Exception | None) -> Any:
    if error is not None:
        raise error
    return value


@contextmanager
def joined_ranks(environment: Mapping[str, str], config: ParallelConfig) -> Iterator[Ranks]:
    """Joins the processes that torchrun started, as RANK, WORLD_SIZE and LOCAL_RANK in `environment` say.

    Ranks compute on their CUDA device and talk by NCCL where there is one, else on the CPU by gloo. Raises SluiceError
    when the ranks cannot be divided as `config` asks, and when one of them is lost while the run goes on.
    """
    count = int(environment.get("WORLD_SIZE", "1"))
    if config.expert < 1 or count % config.expert:
        raise SluiceError(
            f"training configuration: parallel.expert is {config.expert}, which does not divide the number of ranks, "
            f"{count}; start another number of them: torchrun --nproc-per-node"
        )
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(environment.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if count == 1:
        yield Ranks(device=device, config=config)
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        with _lost_ranks_named():
            yield _joined(device, config)
    finally:
        dist.destroy_process_group()


def _joined(device: torch.device, config: ParallelConfig) -> Ranks:
    from torch.distributed.device_mesh import DeviceMesh

    rank, count = dist.get_rank(), dist.get_world_size()
    # neighbours exchange tokens, so that they do so within a machine
    places = torch.arange(count).view(-1, config.expert).T
    return Ranks(
        rank=rank,
        count=count,
        device=device,
        config=config,
        mesh=DeviceMesh(device.type, places, mesh_dim_names=("expert", "data")),
        background=dist.new_group(backend="gloo"),
    )


@contextmanager
def _lost_ranks_named() -> Iterator[None]:
    """Turns what the ranks left behind see of a lost one into an error that says how to go on."""
    try:
        yield
    except RuntimeError as error:
        said = str(error)
        if not (isinstance(error, dist.DistError) or any(sign in said for sign in _SIGNS)):
            raise
        raise SluiceError(
            f"rank {dist.get_rank()} has lost another rank: it was killed, or its machine or the network failed. Start "
            f"the same command again to go on from the newest checkpoint. ({said.splitlines()[0][:200]})"
        ) from error
